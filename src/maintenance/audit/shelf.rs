//! Blueprints, each read once.

use std::collections::HashMap;

use super::finding::{Finding, LOST};
use crate::{
    log::{self, Blueprints, Key},
    store::Store,
    workflow::Version,
};

/// The hash of a blueprint and how many steps it has; none: it is missing; or what is wrong with it.
type Known = Result<Option<(String, usize)>, Finding>;

/// What was read so far.
#[derive(Debug)]
pub(super) struct Shelf {
    blueprints: Blueprints,
    known: tokio::sync::Mutex<HashMap<Key, Known>>,
}

impl Shelf {
    pub(super) fn new(store: Store) -> Self {
        Self { blueprints: Blueprints::new(store), known: tokio::sync::Mutex::default() }
    }

    /// The blueprint at `key`. Costs 1 GET the first time.
    pub(super) async fn hash(&self, key: &Key) -> Result<Known, log::Error> {
        let Key::Blueprint { namespace, name, version } = key else { return Ok(Ok(None)) };
        let mut known = self.known.lock().await;
        if let Some(known) = known.get(key) {
            return Ok(known.clone());
        }
        let found = match self.blueprints.get(namespace, name, *version).await {
            Ok(found) => Ok(found.map(|stored| {
                (stored.blueprint.hash().to_owned(), stored.blueprint.steps().len())
            })),
            Err(error) => Err(Finding::of_read(error)?),
        };
        known.insert(key.clone(), found.clone());
        Ok(found)
    }

    /// How many were read.
    pub(super) async fn len(&self) -> u64 {
        self.known.lock().await.len() as u64
    }
}

/// Which versions of a name are missing: the newest is found by asking for the next.
pub(super) fn gaps(keys: &[Key]) -> Vec<Finding> {
    let mut versions: HashMap<(&str, &str), Vec<Version>> = HashMap::new();
    for key in keys {
        if let Key::Blueprint { namespace, name, version } = key {
            versions.entry((namespace.as_str(), name)).or_default().push(*version);
        }
    }
    let mut findings = vec![];
    for ((namespace, name), mut versions) in versions {
        versions.sort_unstable();
        let mut next = 1;
        for version in versions {
            if version > next {
                let what = format!("versions {next} to {} of `{name}` are missing", version - 1);
                findings.push(Finding::fault(format!("blueprint/{namespace}"), what, LOST));
            }
            next = version.saturating_add(1);
        }
    }
    findings
}
