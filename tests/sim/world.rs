//! One world: a bucket, its weather, its time, and whoever watches that the promises are kept.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use lazarus::store::Traits;
use object_store::{Error, Result};

use super::{
    audit::Audit,
    broken::Broken,
    bucket::{Bucket, Object},
    builds::{self, Build},
    chance::Chance,
    clock::Clocks,
    exhaustive::schedule::Schedule,
    life::EPOCH_MS,
    mercy::{Crowd, Mercy},
    timeline::Timeline,
    trace::Trace,
    weather::Weather,
};

/// Everything that instances, workers and clients share.
#[expect(clippy::struct_excessive_bools, reason = "what a world is like, drawn by lot")]
pub struct World {
    pub seed: u64,
    pub timeline: Timeline,
    pub trace: Trace,
    pub weather: Weather,
    pub audit: Audit,
    /// What is broken on purpose.
    pub broken: Option<Broken>,
    /// Who decides what becomes of each request; none: the weather.
    pub schedule: Option<Arc<Schedule>>,
    /// Whether one process at a time owns the bucket, as with the embedded store.
    pub is_exclusive: bool,
    /// Whether lists come in key order.
    pub is_ordered: bool,
    /// How many entries one page of a list has.
    pub page: usize,
    /// How many there are of whom, at most.
    pub crowd: Crowd,
    /// How the clocks are.
    pub clocks: Clocks,
    /// The builds that serve, the last of which reads all that any of them writes.
    pub builds: &'static [Build],
    /// Whether who is forgotten stays frozen for days.
    pub lasts_days: bool,
    /// Over how many parts the indexes are spread.
    pub shards: u32,
    /// Whether somebody audits and mends the bucket beside the engines.
    pub is_kept: bool,
    /// Whether everything grows old enough to be deleted in the end.
    pub is_retained: bool,
    /// Whether it is audited at the end.
    pub is_audited: bool,
    bucket: Mutex<Bucket>,
}

impl World {
    /// What its bucket promises.
    pub fn traits(&self) -> Traits {
        let (ordered, exclusive) = (self.is_ordered, self.is_exclusive);
        Traits { ordered, exclusive, along: exclusive }
    }

    /// The world of `seed`, empty, and what it is spared.
    pub fn new(seed: u64, broken: Option<Broken>, is_read: bool, mercy: Mercy) -> Arc<Self> {
        let timeline = Timeline::new(seed);
        let crowd = mercy.crowd;
        let trace = Trace::new(timeline.clone(), mercy, is_read);
        let chance = Chance::new(seed, "world");
        let is_exclusive = chance.happens(150);
        let clocks = Clocks::of_world(&chance, is_exclusive);
        Arc::new(Self {
            seed,
            weather: Weather::new(seed, is_exclusive, timeline.clone(), trace.clone()),
            audit: Audit::new(trace.clone(), clocks.skew_ms()),
            is_exclusive,
            is_ordered: is_exclusive || chance.happens(500),
            page: chance.pick(&[2, 3, 1000]),
            crowd,
            clocks,
            builds: builds::of_world(&chance),
            lasts_days: chance.happens(30),
            shards: chance.pick(&[1, 1, 1, 2]),
            is_kept: !is_exclusive && chance.happens(130),
            is_audited: chance.happens(150),
            is_retained: chance.happens(200),
            broken,
            schedule: None,
            timeline,
            trace,
            bucket: Mutex::default(),
        })
    }

    /// A world in which nothing is left to chance: `schedule` decides everything.
    pub fn of_schedule(
        schedule: Arc<Schedule>,
        broken: Option<Broken>,
        is_read: bool,
    ) -> Arc<Self> {
        let timeline = Timeline::without_chance();
        let trace = Trace::new(timeline.clone(), Mercy::default(), is_read);
        Arc::new(Self {
            seed: 0,
            weather: Weather::new(0, false, timeline.clone(), trace.clone()),
            audit: Audit::new(trace.clone(), 0),
            is_exclusive: false,
            is_ordered: true,
            page: 1000,
            crowd: Mercy::default().crowd,
            clocks: Clocks::TRUE,
            builds: &[Build::Usual],
            lasts_days: false,
            shards: 1,
            is_kept: false,
            is_audited: false,
            is_retained: false,
            broken,
            schedule: Some(schedule),
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

    /// Applies a delete that was sent at `sent_ms`.
    pub fn delete_sent(&self, key: &str, sent_ms: u64) {
        let is_newer = self.bucket().get(key).is_ok_and(|object| object.modified_ms > sent_ms);
        if is_newer {
            self.trace.count("late delete of a key that was put again");
        }
        self.delete(key);
    }

    /// Applies a delete.
    pub fn delete(&self, key: &str) {
        let was_there = self.bucket().delete(key);
        if was_there {
            self.audit.deleted(key, self.now_ms());
        }
    }
}
