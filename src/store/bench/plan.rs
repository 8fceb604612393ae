//! What is measured, and how much at most.

use std::time::Duration;

use bytes::Bytes;

/// How many objects the lists show: an idle engine's show none, a busy one's a few.
pub(super) const LISTED: u64 = 10;
/// How often the folder is listed to be emptied: once to find what is there, once to see that it is
/// gone, and once more for a put whose answer was lost and that landed late.
pub(super) const CLEAN_UPS_MAX: u64 = 3;
/// How many entries a page of a list holds on every network store.
const PAGE_ENTRIES: u64 = 1_000;

/// A request that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// A put-if-absent of a new key: what a commit costs.
    PutIfAbsent,
    /// A read of an object that was put before: what a load costs.
    GetHit,
    /// A read of a key that is not there: what a look beyond the tail costs.
    GetMiss,
    /// A list of a folder of ten objects: what a scan costs.
    List,
}

impl Measured {
    /// In the order in which they are measured: what is read was put before.
    pub(super) const ALL: [Self; 4] = [Self::PutIfAbsent, Self::GetHit, Self::GetMiss, Self::List];

    /// What it is called: `put-if-absent`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PutIfAbsent => "put-if-absent",
            Self::GetHit => "GET hit",
            Self::GetMiss => "GET miss",
            Self::List => "LIST",
        }
    }
}

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many clients send requests at once, one measurement after the other.
    pub clients: Vec<u32>,
    /// How many requests one measurement sends at most, by all clients together.
    pub count: u64,
    /// How long one measurement takes at most, and whatever is under way then.
    pub within: Duration,
    /// How large an object is, in bytes.
    pub object_bytes: usize,
}

/// How many requests are sent at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the requests")]
pub struct RequestsMax {
    pub put: u64,
    pub get: u64,
    pub list: u64,
    /// One for each key; S3 takes 1,000 keys in one request.
    pub delete: u64,
}

impl Plan {
    /// How many requests it takes at most, the deletion of all that was put included.
    pub fn requests_max(&self) -> RequestsMax {
        let each = self.count.saturating_mul(self.clients.len() as u64);
        let put = each.saturating_add(LISTED);
        RequestsMax {
            put,
            get: each.saturating_mul(2),
            list: each.saturating_add(CLEAN_UPS_MAX * (1 + put / PAGE_ENTRIES)),
            delete: put,
        }
    }

    /// The body of each object that is put.
    pub(super) fn body(&self) -> Bytes {
        vec![b'x'; self.object_bytes].into()
    }
}
