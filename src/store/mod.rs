//! Opens a store by its URL, probes it and counts what is asked of it.
//!
//! Owns: the URL forms, the clients' retry policy, the embedded store, the conformance probe, the
//! store's layout record, the request counters, the measuring of a store. Must never know what an object means: keys and bodies
//! belong to the layers above; the first segment of a key is looked at only to name a counter.
//!
//! Invariants:
//! * every request of the process goes through one counting layer ([`Store::requests`]);
//! * a key is the same whatever the store: a prefix in the URL is added below the counting layer;
//! * deleting what is not there is `Ok` on every store;
//! * [`Store::commits`] never retries by itself (docs/fencing.md R1: the loop is the log's).

mod bench;
mod counted;
mod counters;
mod embedded;
mod latency;
mod layout;
mod open;
mod passed;
mod probe;
mod remote;
mod target;

use std::{fmt, sync::Arc};

use object_store::ObjectStore;

use crate::env::Env;

pub use bench::{BenchError, Figure, Measured, Plan, RequestsMax, bench};
pub use counters::{Family, Operation, Requests};
pub use embedded::{Along, Embedded, Full};
pub use latency::{Latency, LatencyError};
pub use layout::{LAYOUT_KEY, Layout, LayoutError, existing_layout, layout};
pub use open::OpenError;
pub use passed::{PASSED_KEY, has_passed, mark_passed};
pub use probe::{Check, ProbeError, ProbeReport, compare_clocks, probe};
pub use remote::install_tls;

/// What a kind of store promises beyond put-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// A flat list comes in key order, so that its first key is the smallest.
    pub ordered: bool,
    /// One process owns the store, so that what it remembers of it is the truth.
    pub exclusive: bool,
    /// A put may take a second object [`Along`], all or nothing.
    pub along: bool,
}

impl Traits {
    /// Of a store that promises no more than that.
    pub const NONE: Self = Self { ordered: false, exclusive: false, along: false };
}

/// A store, opened: what every layer above gets. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    commits: Arc<dyn ObjectStore>,
    counters: Arc<counters::Counters>,
    traits: Traits,
    url: Arc<str>,
    /// Where the store is ours, and may break.
    embedded: Option<Arc<Embedded>>,
}

impl Store {
    /// Opens the store that `url` names; no request is sent yet (`file:` and `embedded:` create their
    /// directory).
    ///
    /// `env` gives the embedded store the time of its objects' last modification.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: not worth a retry; each message says what to change. The exception is
    /// [`OpenError::Owned`], which ends when the process that it names does.
    pub async fn open(url: &str, env: Arc<dyn Env>) -> Result<Self, OpenError> {
        open::open(url, env).await
    }

    /// A store around `objects`, under `name` in messages: for tests and simulations.
    pub fn wrap(objects: Arc<dyn ObjectStore>, traits: Traits, name: &str) -> Self {
        Self::assemble(Arc::clone(&objects), objects, traits, name)
    }

    /// Puts the counting layer, with shared counters, around both clients.
    fn assemble(
        objects: Arc<dyn ObjectStore>,
        commits: Arc<dyn ObjectStore>,
        traits: Traits,
        url: &str,
    ) -> Self {
        let counters = Arc::new(counters::Counters::new());
        let count = |inner| Arc::new(counted::Counted::new(inner, Arc::clone(&counters)));
        Self {
            objects: count(objects),
            commits: count(commits),
            counters: Arc::clone(&counters),
            traits,
            url: url.into(),
            embedded: None,
        }
    }

    /// The same store, as slow as `latency` says, and one that others share: an engine saves requests on
    /// a store that it owns, and on a bucket it would not. For measuring only.
    #[must_use]
    pub fn slowed(mut self, latency: Latency, env: &Arc<dyn Env>) -> Self {
        let slow = |inner| latency::delayed(inner, latency, Arc::clone(env));
        (self.objects, self.commits) = (slow(self.objects), slow(self.commits));
        let ordered = self.traits.ordered && latency.is_ordered();
        self.traits = Traits { ordered, ..Traits::NONE };
        self
    }

    /// A store in a directory that this process owns.
    fn own(embedded: Embedded, url: &str) -> Self {
        let embedded = Arc::new(embedded);
        let objects = Arc::clone(&embedded);
        Self { embedded: Some(embedded), ..Self::wrap(objects, embedded::TRAITS, url) }
    }

    /// Resolves, with the cause, when no write succeeds any more until the store is opened again: the
    /// process should end. Never for a store that is not in this process.
    pub async fn broken(&self) -> String {
        match &self.embedded {
            Some(embedded) => embedded.broken().await,
            None => std::future::pending().await,
        }
    }

    /// The client for reads, lists, deletes and writes that may be repeated: it retries by itself.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The client for puts of commits: one try of at most 5 s each, no retry of its own.
    pub fn commits(&self) -> &Arc<dyn ObjectStore> {
        &self.commits
    }

    /// Whether a flat list comes in key order.
    pub fn is_ordered(&self) -> bool {
        self.traits.ordered
    }

    /// Whether this process alone can write to the store, so that a warm cache is authoritative.
    pub fn is_exclusive(&self) -> bool {
        self.traits.exclusive
    }

    /// Whether a put may take a second object [`Along`], all or nothing.
    pub fn takes_along(&self) -> bool {
        self.traits.along
    }

    /// What has been asked of the store since it was opened, by both clients together.
    pub fn requests(&self) -> Requests {
        self.counters.snapshot()
    }

    /// The URL as given, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Store {
    /// The URL and what was asked: the clients would print their credentials' providers.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, requests) = (&self.url, self.requests());
        out.debug_struct("Store")
            .field("url", url)
            .field("requests", &requests)
            .finish_non_exhaustive()
    }
}
