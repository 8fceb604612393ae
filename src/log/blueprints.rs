//! Blueprints by name and version: written once, never changed, never deleted while a run pins one.
//!
//! The numbers of a name have no gaps, because version n is only written by who has read n - 1; so
//! the newest is found from any older one by asking for the next.

use bytes::Bytes;
use futures::StreamExt;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Error, Key};
use crate::{
    store::Store,
    workflow::{Blueprint, Namespace, Timestamp, Version},
};

/// The newest version of the format that is read and written here; a blueprint is written in the
/// first that can say it.
const FORMAT_VERSION: u32 = 2;

/// A blueprint as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlueprint {
    /// Its version within its name; the first is 1.
    pub version: Version,
    /// When it was submitted.
    pub created: Timestamp,
    /// The language of the worker that submitted it.
    #[serde(default)]
    pub language: String,
    /// The graph.
    pub blueprint: Arc<Blueprint>,
}

#[derive(Serialize, Deserialize)]
struct Document<T> {
    v: u32,
    #[serde(flatten)]
    stored: T,
}

/// The blueprints of a store.
#[derive(Clone, Debug)]
pub struct Blueprints {
    store: Store,
}

impl Blueprints {
    /// The blueprints of `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// One version of a blueprint; none: there is no such version. 1 GET.
    ///
    /// # Errors
    ///
    /// * [`Error::Unavailable`], [`Error::Throttled`]: ask again later.
    /// * [`Error::Corrupt`], [`Error::TooNew`]: as of any read.
    pub async fn get(
        &self,
        namespace: &Namespace,
        name: &str,
        version: Version,
    ) -> Result<Option<StoredBlueprint>, Error> {
        let key = key(namespace, name, version);
        let unreadable = |source| Error::of_store("read", &key.to_string(), source);
        let bytes = match self.store.objects().get(&key.path()).await {
            Ok(found) => found.bytes().await.map_err(unreadable)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        };
        decode(&key, &bytes).map(Some)
    }

    /// The newest version of a blueprint; none: there is none of that name. With `known`, a version
    /// that exists: 1 GET that finds nothing, and 2 for each version since; without: 1 LIST, 1 GET.
    ///
    /// # Errors
    ///
    /// As [`Blueprints::get`].
    pub async fn newest(
        &self,
        namespace: &Namespace,
        name: &str,
        known: Option<Arc<StoredBlueprint>>,
    ) -> Result<Option<Arc<StoredBlueprint>>, Error> {
        let mut newest = match known {
            Some(known) => known,
            None => match self.any_version(namespace, name).await? {
                Some(found) => Arc::new(found),
                None => return Ok(None),
            },
        };
        while let Some(version) = newest.version.checked_add(1) {
            let Some(next) = self.get(namespace, name, version).await? else { break };
            newest = Arc::new(next);
        }
        Ok(Some(newest))
    }

    /// Writes the version after the newest; none: another writer took that number. 1 PUT.
    ///
    /// # Panics
    ///
    /// When a blueprint is no JSON, which is a bug.
    ///
    /// # Errors
    ///
    /// As [`Blueprints::get`]. The version may be in; sending the same blueprint again finds it.
    pub async fn put(
        &self,
        namespace: &Namespace,
        stored: &StoredBlueprint,
    ) -> Result<Option<()>, Error> {
        let key = key(namespace, stored.blueprint.name(), stored.version);
        let v = stored.blueprint.definition().layout();
        let body = serde_json::to_vec(&Document { v, stored })
            .expect("BUG: a blueprint does not serialize");
        let (path, body) = (key.path(), PutPayload::from(body));
        match self.store.objects().put_opts(&path, body, PutMode::Create.into()).await {
            Ok(_) => Ok(Some(())),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(None),
            Err(source) => Err(Error::of_store("write", &key.to_string(), source)),
        }
    }

    /// The names of all blueprints of a namespace, with the newest version of each.
    /// 1 LIST a 1,000 versions.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Throttled`]: ask again later.
    pub async fn names(&self, namespace: &Namespace) -> Result<Vec<(String, Version)>, Error> {
        let prefix = Key::blueprints_prefix(namespace);
        let mut newest = std::collections::BTreeMap::new();
        let mut listed = self.store.objects().list(Some(&prefix));
        while let Some(object) = listed.next().await {
            let object =
                object.map_err(|source| Error::of_store("list", prefix.as_ref(), source))?;
            if let Some(Key::Blueprint { name, version, .. }) = Key::parse(&object.location) {
                let newest = newest.entry(name).or_insert(version);
                *newest = version.max(*newest);
            }
        }
        Ok(newest.into_iter().collect())
    }

    async fn any_version(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<StoredBlueprint>, Error> {
        let prefix = Key::blueprint_prefix(namespace, name);
        let first = self.store.objects().list(Some(&prefix)).next().await;
        let Some(object) = first else { return Ok(None) };
        let object = object.map_err(|source| Error::of_store("list", prefix.as_ref(), source))?;
        match Key::parse(&object.location) {
            Some(Key::Blueprint { version, .. }) => self.get(namespace, name, version).await,
            Some(_) | None => Ok(None),
        }
    }
}

fn key(namespace: &Namespace, name: &str, version: Version) -> Key {
    Key::Blueprint { namespace: namespace.clone(), name: name.to_owned(), version }
}

fn decode(at: &Key, bytes: &Bytes) -> Result<StoredBlueprint, Error> {
    let key = at.to_string();
    let corrupt =
        |fault: serde_json::Error| Error::Corrupt { key: key.clone(), fault: fault.to_string() };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(corrupt)?;
    let version = value.get("v").and_then(serde_json::Value::as_u64).unwrap_or_default();
    if version > u64::from(FORMAT_VERSION) {
        let fault = format!("its format is version {version}, we read {FORMAT_VERSION}");
        return Err(Error::TooNew { key, fault });
    }
    // What has a meaning that we do not know (a field, a function of a condition) is never guessed at.
    let unknown =
        |fault: serde_json::Error| Error::TooNew { key: key.clone(), fault: fault.to_string() };
    let document: Document<StoredBlueprint> = serde_json::from_value(value).map_err(unknown)?;
    let stored = document.stored;
    let (name, version) = (stored.blueprint.name(), stored.version);
    let belongs =
        matches!(at, Key::Blueprint { name: n, version: v, .. } if *n == name && *v == version);
    if !belongs {
        // Whoever asks for the version after the newest would get the same one for ever.
        let fault = format!("version {version} of `{name}` does not belong here");
        return Err(Error::Corrupt { key, fault });
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        env::SystemEnv,
        workflow::{Definition, Step},
    };

    async fn blueprints() -> Blueprints {
        Blueprints::new(Store::open("memory:", SystemEnv::shared()).await.expect("a store"))
    }

    fn version(number: Version, step: &str) -> StoredBlueprint {
        let step = Step { name: step.into(), ..Step::default() };
        let definition = Definition {
            name: "Orders v2/ö".to_owned(),
            steps: vec![step],
            ..Definition::default()
        };
        let blueprint = Arc::new(Blueprint::new(definition).expect("valid"));
        let created = Timestamp::from_millis(1_764_000_000_000);
        StoredBlueprint { version: number, created, language: "python".to_owned(), blueprint }
    }

    #[tokio::test]
    async fn the_newest_is_found_from_any_older_one_or_from_none() {
        let (blueprints, namespace) = (blueprints().await, Namespace::default());
        let name = "Orders v2/ö";
        assert_eq!(blueprints.newest(&namespace, name, None).await.expect("read"), None);
        for number in 1..=3 {
            let stored = version(number, &format!("step{number}"));
            assert_eq!(blueprints.put(&namespace, &stored).await.expect("put"), Some(()));
        }
        let newest = Arc::new(version(3, "step3"));
        for known in [None, Some(Arc::new(version(1, "step1"))), Some(newest.clone())] {
            let found = blueprints.newest(&namespace, name, known).await.expect("read");
            assert_eq!(found, Some(newest.clone()));
        }
        assert_eq!(blueprints.names(&namespace).await.expect("list"), [(name.to_owned(), 3)]);
    }

    #[tokio::test]
    async fn a_version_is_never_written_over() {
        let (blueprints, namespace) = (blueprints().await, Namespace::default());
        blueprints.put(&namespace, &version(1, "first")).await.expect("put");
        assert_eq!(blueprints.put(&namespace, &version(1, "second")).await.expect("put"), None);
        let kept = blueprints.get(&namespace, "Orders v2/ö", 1).await.expect("read");
        assert_eq!(kept, Some(version(1, "first")));
    }

    #[tokio::test]
    async fn a_copy_under_another_number_or_name_is_corrupt_and_not_asked_for_for_ever() {
        let (blueprints, namespace) = (blueprints().await, Namespace::default());
        blueprints.put(&namespace, &version(1, "a")).await.expect("put");
        let bytes = async |key: &Key| {
            let found = blueprints.store.objects().get(&key.path()).await.expect("found");
            found.bytes().await.expect("bytes")
        };
        let name = "Orders v2/ö";
        let copy = bytes(&key(&namespace, name, 1)).await;
        for (name, number) in [(name, 2), ("other", 1)] {
            let wrong = key(&namespace, name, number);
            blueprints.store.objects().put(&wrong.path(), copy.clone().into()).await.expect("put");
            let refused = blueprints.newest(&namespace, name, None).await.expect_err("a copy");
            let Error::Corrupt { key, fault } = refused else { panic!("{refused}") };
            assert_eq!(key, wrong.to_string());
            assert!(fault.contains("does not belong here"), "{fault}");
        }
    }

    #[tokio::test]
    async fn what_an_older_build_would_leave_out_is_written_so_that_it_refuses() {
        let plain = version(1, "a").blueprint.definition().clone();
        assert_eq!(plain.layout(), 1);
        let patient = Step { heartbeat_ms: Some(7), ..plain.steps[0].clone() };
        let patient = Definition { steps: vec![patient], ..plain.clone() };
        let rule = crate::workflow::Rule::diverge("a".into(), [("_".to_owned(), "b".into())]);
        let ruled = Definition { rules: vec![rule], ..plain.clone() };
        let bounded = Definition { iterations_max: Some(3), ..plain };
        assert_eq!([patient, ruled, bounded].map(|it| it.layout()), [2, 2, 2]);
    }

    #[test]
    fn a_field_of_a_newer_build_is_refused_and_not_left_out() {
        let stored = serde_json::to_string(&Document { v: 2, stored: version(1, "a") });
        let text = stored.expect("JSON").replace(r#"{"name":"a"}"#, r#"{"name":"a","quota":3}"#);
        let key = key(&Namespace::default(), "Orders v2/ö", 1);
        let refused = decode(&key, &Bytes::from(text)).expect_err("a refusal");
        assert!(matches!(refused, Error::TooNew { .. }), "{refused}");
    }
}
