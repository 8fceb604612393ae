//! Which blueprint a name means, and what its steps' calls have taught.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use super::{BlueprintPut, Engine, Error, StoredBlueprint, cache::Loaded};
use crate::{
    log,
    workflow::{Blueprint, BlueprintRef, Definition, Event, Namespace, State, StepName, Version},
};

/// A name in a namespace.
type Name = (Namespace, String);

/// How many blueprints, names and lessons are remembered each.
const REMEMBERED_MAX: usize = 1000;
/// How often a submission takes the next number after others took it.
const TRIES_MAX: u32 = 16;

/// The blueprints that this instance has seen; they never change, so they never have to be read again.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Shelved>);

#[derive(Debug, Default)]
struct Shelved {
    versions: HashMap<(Name, Version), Arc<StoredBlueprint>>,
    newest: HashMap<Name, Arc<StoredBlueprint>>,
    /// By content hash.
    calls: HashMap<String, Calls>,
}

/// How the calls of a blueprint's steps were corrected.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// Whether a step is sent `inputs`.
    pub(super) with_inputs: BTreeMap<StepName, bool>,
    /// What a step is sent of which only the name is known.
    pub(super) arguments: BTreeMap<StepName, Vec<StepName>>,
}

impl Calls {
    /// What the run of `state` knows.
    pub(super) fn of(state: &State) -> Self {
        let State { with_inputs, arguments, .. } = state;
        Self { with_inputs: with_inputs.clone(), arguments: arguments.clone() }
    }
}

impl Shelf {
    fn lock(&self) -> std::sync::MutexGuard<'_, Shelved> {
        self.0.lock().expect("BUG: a thread panicked at the shelf")
    }
}

/// Makes room for one more in a map that need not remember anything.
fn make_room<K: Clone + Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() >= REMEMBERED_MAX {
        map.clear();
    }
}

impl Engine {
    /// Submits a blueprint; the same content as the newest version makes no new one and writes
    /// nothing. With `keeps_settings`, who submits has no words for times, retries and bounds, and
    /// a graph that is that of the newest version leaves its settings as they are. Costs 1 PUT for a
    /// new version, and what finding the newest costs.
    ///
    /// # Errors
    ///
    /// * [`Error::InvalidBlueprint`]: every fault, named.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn put_blueprint(
        &self,
        namespace: &Namespace,
        definition: Definition,
        language: &str,
        keeps_settings: bool,
    ) -> Result<BlueprintPut, Error> {
        self.refuse_when_closing()?;
        let mut warnings = definition.warnings();
        let blueprint = Arc::new(Blueprint::new(definition)?);
        let hash = blueprint.hash().to_owned();
        for _ in 0..TRIES_MAX {
            let newest = self.newest_blueprint(namespace, blueprint.name()).await?;
            let is_same = |it: &&Arc<StoredBlueprint>| {
                let (known, given) = (it.blueprint.definition(), blueprint.definition());
                known == given || (keeps_settings && known.bare() == *given)
            };
            if let Some(same) = newest.as_ref().filter(is_same) {
                let hash = same.blueprint.hash().to_owned();
                return Ok(BlueprintPut { version: same.version, hash, is_new: false, warnings });
            }
            if let Some(known) = newest.as_ref().filter(|_| !keeps_settings) {
                warnings.extend(taken_back(known, blueprint.definition(), language));
            }
            let newest = newest.map_or(0, |newest| newest.version);
            let version = newest.checked_add(1).ok_or_else(|| Error::InvalidInput {
                what: format!("version {newest} of it is the last; take another name"),
            })?;
            let stored = StoredBlueprint {
                version,
                created: self.inner.env.now(),
                language: language.to_owned(),
                blueprint: blueprint.clone(),
            };
            if self.inner.blueprints.put(namespace, &stored).await?.is_some() {
                self.shelve(namespace, Arc::new(stored), true);
                return Ok(BlueprintPut { version, hash, is_new: true, warnings });
            }
            // Somebody took this number: what they wrote is not known here yet.
            let taken = self.inner.blueprints.get(namespace, blueprint.name(), version).await?;
            if let Some(taken) = taken {
                self.shelve(namespace, Arc::new(taken), true);
            }
        }
        Err(log::Error::Throttled { after: std::time::Duration::from_secs(1) }.into())
    }

    /// A blueprint by name and version; none: the newest.
    ///
    /// # Errors
    ///
    /// * [`Error::NotFound`]: there is none of that name or version.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn blueprint(
        &self,
        namespace: &Namespace,
        name: &str,
        version: Option<Version>,
    ) -> Result<StoredBlueprint, Error> {
        let stored = self.stored_blueprint(namespace, name, version).await?;
        Ok((*stored).clone())
    }

    /// The newest version of each blueprint of a namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: by what the log says must be done.
    pub async fn blueprints(&self, namespace: &Namespace) -> Result<Vec<StoredBlueprint>, Error> {
        let mut found = vec![];
        for (name, version) in self.inner.blueprints.names(namespace).await? {
            let stored = self.stored_blueprint(namespace, &name, Some(version)).await?;
            found.push((*stored).clone());
        }
        Ok(found)
    }

    pub(super) async fn stored_blueprint(
        &self,
        namespace: &Namespace,
        name: &str,
        version: Option<Version>,
    ) -> Result<Arc<StoredBlueprint>, Error> {
        let Some(version) = version else {
            let newest = self.newest_blueprint(namespace, name).await?;
            return newest.ok_or_else(|| unknown(namespace, name, None));
        };
        let shelf_key = ((namespace.clone(), name.to_owned()), version);
        if let Some(known) = self.known_blueprint(&shelf_key) {
            return Ok(known);
        }
        let found = self.inner.blueprints.get(namespace, name, version).await?;
        let found = Arc::new(found.ok_or_else(|| unknown(namespace, name, Some(version)))?);
        self.shelve(namespace, found.clone(), false);
        Ok(found)
    }

    /// The blueprint that the run of `state` is pinned to.
    pub(super) async fn pinned_blueprint(
        &self,
        state: &State,
    ) -> Result<Arc<StoredBlueprint>, Error> {
        let BlueprintRef { name, version, hash } = &state.blueprint;
        let stored = self.stored_blueprint(&state.namespace, name, Some(*version)).await?;
        if stored.blueprint.hash() == hash {
            return Ok(stored);
        }
        // Deciding by another graph than the one that the run was started with would be a guess.
        let key = format!("version {version} of blueprint `{name}`");
        let fault = format!("the run {} is pinned to another content of it", state.run);
        Err(log::Error::Corrupt { key, fault }.into())
    }

    fn known_blueprint(&self, key: &(Name, Version)) -> Option<Arc<StoredBlueprint>> {
        if !self.inner.memory.is_on() {
            return None;
        }
        self.inner.shelf.lock().versions.get(key).cloned()
    }

    async fn newest_blueprint(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<Arc<StoredBlueprint>>, Error> {
        let known =
            self.inner.shelf.lock().newest.get(&(namespace.clone(), name.to_owned())).cloned();
        let known = known.filter(|_| self.inner.memory.is_on());
        if known.is_some() && self.inner.store.is_exclusive() {
            return Ok(known);
        }
        let newest = self.inner.blueprints.newest(namespace, name, known).await?;
        if let Some(newest) = &newest {
            self.shelve(namespace, newest.clone(), true);
        }
        Ok(newest)
    }

    fn shelve(&self, namespace: &Namespace, stored: Arc<StoredBlueprint>, is_newest: bool) {
        let name = (namespace.clone(), stored.blueprint.name().to_owned());
        let mut known = self.inner.shelf.lock();
        make_room(&mut known.versions);
        known.versions.insert((name.clone(), stored.version), stored.clone());
        let is_newer = known.newest.get(&name).is_none_or(|newest| newest.version < stored.version);
        if is_newest && is_newer {
            make_room(&mut known.newest);
            known.newest.insert(name, stored);
        }
    }

    /// Remembers how the calls of a blueprint's steps were corrected, for the runs that start later.
    pub(super) fn learn_calls(&self, loaded: &Loaded, events: &[Event]) {
        let corrected = |event: &Event| {
            matches!(event, Event::InputsAdapted { .. } | Event::ArgumentsAdapted { .. })
        };
        if !events.iter().any(corrected) {
            return;
        }
        let mut known = self.inner.shelf.lock();
        make_room(&mut known.calls);
        let hash = loaded.blueprint.blueprint.hash().to_owned();
        known.calls.insert(hash, Calls::of(&loaded.state));
    }

    /// What earlier runs of the blueprint with this content hash taught about its calls.
    pub(super) fn learnt_calls(&self, hash: &str) -> Calls {
        self.inner.shelf.lock().calls.get(hash).cloned().unwrap_or_default()
    }
}

/// Who puts another graph by hand than a worker has should hear that the worker puts its own again.
fn taken_back(known: &StoredBlueprint, given: &Definition, language: &str) -> Option<String> {
    let is_same = known.blueprint.definition().bare() == given.bare();
    (!is_same && known.language != language).then(|| {
        format!(
            "version {} came from a worker ({}), which submits its own graph again when it connects: \
             change steps and rules in its code too, or they and the settings of this version are gone \
             by then",
            known.version, known.language
        )
    })
}

fn unknown(namespace: &Namespace, name: &str, version: Option<Version>) -> Error {
    let what = match version {
        Some(version) => {
            format!("workflow `{name}` has no version {version} in namespace `{namespace}`")
        }
        None => format!(
            "there is no workflow `{name}` in namespace `{namespace}`; start a worker that has it, \
             or submit its blueprint"
        ),
    };
    Error::NotFound { what }
}
