//! One world: a bucket, its weather, its time, and whoever watches that the promises are kept.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use object_store::{Error, Result};

use super::{
    audit::Audit,
    broken::Broken,
    bucket::{Bucket, Object},
    chance::Chance,
    life::EPOCH_MS,
    mercy::{Crowd, Mercy},
    timeline::Timeline,
    trace::Trace,
    weather::Weather,
};

/// Everything that instances, workers and clients share.
pub struct World {
    pub seed: u64,
    pub timeline: Timeline,
    pub trace: Trace,
    pub weather: Weather,
    pub audit: Audit,
    /// What is broken on purpose.
    pub broken: Option<Broken>,
    /// Whether one process at a time owns the bucket, as with the embedded store.
    pub is_exclusive: bool,
    /// Whether lists come in key order.
    pub is_ordered: bool,
    /// How many entries one page of a list has.
    pub page: usize,
    /// How far a clock is off at most.
    pub skew_ms: u64,
    /// How many there are of whom, at most.
    pub crowd: Crowd,
    bucket: Mutex<Bucket>,
}

impl World {
    /// The world of `seed`, empty, and what it is spared.
    pub fn new(seed: u64, broken: Option<Broken>, is_read: bool, mercy: Mercy) -> Arc<Self> {
        let timeline = Timeline::new(seed);
        let crowd = mercy.crowd;
        let trace = Trace::new(timeline.clone(), mercy, is_read);
        let chance = Chance::new(seed, "world");
        let skew_ms = chance.pick(&[0, 500, 30_000]);
        let is_exclusive = chance.happens(150);
        Arc::new(Self {
            seed,
            weather: Weather::new(seed, is_exclusive, timeline.clone(), trace.clone()),
            audit: Audit::new(trace.clone(), skew_ms),
            is_exclusive,
            is_ordered: is_exclusive || chance.happens(500),
            page: chance.pick(&[2, 3, 1000]),
            skew_ms,
            crowd,
            broken,
            timeline,
            trace,
            bucket: Mutex::default(),
        })
    }

    /// The true time, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.timeline.now().as_millis()).expect("not that long")
    }

    /// The objects. Not to be held while anything else is done.
    pub fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().expect("one thread")
    }

    /// Applies a put.
    ///
    /// # Errors
    ///
    /// The key is taken, and that was not wanted.
    pub fn put(&self, key: &str, bytes: &Bytes, only_if_free: bool) -> Result<Object> {
        let now_ms = self.now_ms();
        let (object, before) = {
            let mut bucket = self.bucket();
            if only_if_free && bucket.has(key) {
                let source = "it is there".into();
                return Err(Error::AlreadyExists { path: key.to_owned(), source });
            }
            bucket.put(key, bytes.clone(), now_ms)
        };
        self.audit.written(key, bytes, before.map(|before| before.bytes), now_ms);
        Ok(object)
    }

    /// Applies a delete.
    pub fn delete(&self, key: &str) {
        let was_there = self.bucket().delete(key);
        if was_there {
            self.audit.deleted(key, self.now_ms());
        }
    }
}
