//! The bucket itself: objects by key, and nothing that ever goes wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use object_store::{Error, ObjectMeta, Result, path::Path};

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    pub bytes: Bytes,
    /// By the store's clock, which is the true one.
    pub modified_ms: u64,
    version: u64,
}

impl Object {
    pub fn meta(&self, key: &str) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(key),
            last_modified: (UNIX_EPOCH + Duration::from_millis(self.modified_ms)).into(),
            size: self.bytes.len() as u64,
            e_tag: Some(self.version.to_string()),
            version: None,
        }
    }
}

/// All objects.
#[derive(Debug, Default)]
pub struct Bucket {
    objects: BTreeMap<String, Object>,
    versions: u64,
    changes: u64,
}

impl Bucket {
    /// How often anything was put or deleted.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts an object, whatever stands there; what stood there.
    pub fn put(&mut self, key: &str, bytes: Bytes, now_ms: u64) -> (Object, Option<Object>) {
        self.versions += 1;
        self.changes += 1;
        let object = Object { bytes, modified_ms: now_ms, version: self.versions };
        let before = self.objects.insert(key.to_owned(), object.clone());
        (object, before)
    }

    /// Whether an object stands at `key`.
    pub fn has(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    /// # Errors
    ///
    /// Nothing stands there.
    pub fn get(&self, key: &str) -> Result<Object> {
        let missing = || Error::NotFound { path: key.to_owned(), source: "no such object".into() };
        self.objects.get(key).cloned().ok_or_else(missing)
    }

    /// Whether there was one.
    pub fn delete(&mut self, key: &str) -> bool {
        self.changes += 1;
        self.objects.remove(key).is_some()
    }

    /// The objects below the folder `prefix` (all: an empty one) after the key `after`, in order.
    pub fn below<'a>(
        &'a self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a String, &'a Object)> {
        let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let first = after.filter(|after| *after >= folder.as_str()).unwrap_or(&folder).to_owned();
        let is_after = after.map(ToOwned::to_owned);
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.starts_with(&folder))
            .filter(move |(key, _)| is_after.as_ref().is_none_or(|after| *key > after))
    }

    /// The objects and the folders right below the folder `prefix`.
    pub fn children(&self, prefix: &str) -> (Vec<ObjectMeta>, Vec<Path>) {
        let skip = if prefix.is_empty() { 0 } else { prefix.len() + 1 };
        let (mut objects, mut folders) = (vec![], BTreeSet::new());
        for (key, object) in self.below(prefix, None) {
            match key[skip..].find('/') {
                Some(end) => drop(folders.insert(key[..skip + end].to_owned())),
                None => objects.push(object.meta(key)),
            }
        }
        (objects, folders.into_iter().map(Path::from).collect())
    }
}
