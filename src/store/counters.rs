//! Counts requests and bytes by operation and key family, as numbers for tests and as metrics.

use std::{
    fmt,
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering},
};

use metrics::Counter;
use object_store::path::Path;

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A read of one object, found or not; also of its metadata alone.
    Get,
    /// A write of one object, conditional or not.
    Put,
    /// One page of a listing, of up to 1,000 entries.
    List,
    /// A removal of one object.
    Delete,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Get, Self::Put, Self::List, Self::Delete];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// Which index or log a key belongs to: its first segment under the store's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the segments; docs/format.md \"Keys\" lists them")]
pub enum Family {
    Id,
    Run,
    Blob,
    Wake,
    Queue,
    Blueprint,
    Worker,
    Push,
    Feed,
    Dead,
    Sys,
    Probe,
    /// Any other key, and lists of the whole store.
    Other,
}

impl Family {
    const ALL: [Self; 13] = [
        Self::Id,
        Self::Run,
        Self::Blob,
        Self::Wake,
        Self::Queue,
        Self::Blueprint,
        Self::Worker,
        Self::Push,
        Self::Feed,
        Self::Dead,
        Self::Sys,
        Self::Probe,
        Self::Other,
    ];

    pub(super) fn of(key: &Path) -> Self {
        let first = key.as_ref().split('/').next().unwrap_or_default();
        Self::ALL.into_iter().find(|family| family.name() == first).unwrap_or(Self::Other)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Run => "run",
            Self::Blob => "blob",
            Self::Wake => "wake",
            Self::Queue => "queue",
            Self::Blueprint => "blueprint",
            Self::Worker => "worker",
            Self::Push => "push",
            Self::Feed => "feed",
            Self::Dead => "dead",
            Self::Sys => "sys",
            Self::Probe => "probe",
            Self::Other => "other",
        }
    }
}

/// One number, twice: as read by tests and as exported.
struct Count {
    value: AtomicU64,
    metric: Counter,
}

impl Count {
    fn of(metric: &'static str, operation: Operation, family: Family) -> Self {
        let metric = metrics::counter!(metric, "op" => operation.name(), "family" => family.name());
        Self { value: AtomicU64::new(0), metric }
    }

    fn add(&self, amount: u64) {
        self.value.fetch_add(amount, Ordering::Relaxed);
        self.metric.increment(amount);
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// The live counters of one store.
pub(super) struct Counters {
    requests: [[Count; 13]; 4],
    /// Only [`Operation::Get`] and [`Operation::Put`] move bytes that are counted.
    bytes: [[Count; 13]; 2],
}

impl Counters {
    /// Counters at zero, with their metric handles. Install the recorder of metrics before.
    pub(super) fn new() -> Self {
        let row =
            |metric, operation| Family::ALL.map(|family| Count::of(metric, operation, family));
        Self {
            requests: Operation::ALL
                .map(|operation| row("lazarus_store_requests_total", operation)),
            bytes: [Operation::Get, Operation::Put]
                .map(|operation| row("lazarus_store_bytes_total", operation)),
        }
    }

    pub(super) fn request(&self, operation: Operation, family: Family) {
        self.requests[operation as usize][family as usize].add(1);
    }

    pub(super) fn bytes_read(&self, family: Family, bytes: u64) {
        self.bytes[Operation::Get as usize][family as usize].add(bytes);
    }

    pub(super) fn bytes_written(&self, family: Family, bytes: u64) {
        self.bytes[Operation::Put as usize][family as usize].add(bytes);
    }

    pub(super) fn snapshot(&self) -> Requests {
        let values = |row: &[Count; 13]| std::array::from_fn(|family| row[family].get());
        Requests {
            requests: std::array::from_fn(|operation| values(&self.requests[operation])),
            bytes: std::array::from_fn(|direction| values(&self.bytes[direction])),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(out)
    }
}

/// What was asked of a store up to a moment; `after - before` is what happened in between.
///
/// Requests are counted when they are sent, whatever their outcome; bytes as bodies, without headers.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    requests: [[u64; 13]; 4],
    bytes: [[u64; 13]; 2],
}

impl Requests {
    /// How many requests of this kind, over all keys.
    pub fn of(&self, operation: Operation) -> u64 {
        self.requests[operation as usize].iter().sum()
    }

    /// How many requests of this kind went to keys of `family`.
    pub fn in_family(&self, operation: Operation, family: Family) -> u64 {
        self.requests[operation as usize][family as usize]
    }

    /// GETs, found or not.
    pub fn get(&self) -> u64 {
        self.of(Operation::Get)
    }

    /// PUTs, conditional or not, accepted or not.
    pub fn put(&self) -> u64 {
        self.of(Operation::Put)
    }

    /// Pages of lists.
    pub fn list(&self) -> u64 {
        self.of(Operation::List)
    }

    /// DELETEs, one per key.
    pub fn delete(&self) -> u64 {
        self.of(Operation::Delete)
    }

    /// Bytes of bodies read, over all keys.
    pub fn bytes_read(&self) -> u64 {
        self.bytes[Operation::Get as usize].iter().sum()
    }

    /// Bytes of bodies written, over all keys.
    pub fn bytes_written(&self) -> u64 {
        self.bytes[Operation::Put as usize].iter().sum()
    }

    /// Bytes of bodies written to keys of `family`.
    pub fn bytes_written_in(&self, family: Family) -> u64 {
        self.bytes[Operation::Put as usize][family as usize]
    }
}

impl Sub for Requests {
    type Output = Self;

    /// What happened after `earlier`, a snapshot of the same store.
    fn sub(self, earlier: Self) -> Self {
        let minus = |now: [u64; 13], then: [u64; 13]| {
            std::array::from_fn(|family| now[family].saturating_sub(then[family]))
        };
        Self {
            requests: std::array::from_fn(|i| minus(self.requests[i], earlier.requests[i])),
            bytes: std::array::from_fn(|i| minus(self.bytes[i], earlier.bytes[i])),
        }
    }
}

impl fmt::Display for Requests {
    /// `put 3 (run 2, id 1), get 0, list 0, delete 0; 812 B written, 0 B read`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = [Operation::Put, Operation::Get, Operation::List, Operation::Delete];
        for (index, operation) in order.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}{} {}", operation.name(), self.of(operation))?;
            let parts: Vec<String> = Family::ALL
                .into_iter()
                .map(|family| (family, self.in_family(operation, family)))
                .filter(|(_, count)| *count > 0)
                .map(|(family, count)| format!("{} {count}", family.name()))
                .collect();
            if !parts.is_empty() {
                write!(out, " ({})", parts.join(", "))?;
            }
        }
        write!(out, "; {} B written, {} B read", self.bytes_written(), self.bytes_read())
    }
}

impl fmt::Debug for Requests {
    /// As [`fmt::Display`], so that a failed assertion is readable.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
