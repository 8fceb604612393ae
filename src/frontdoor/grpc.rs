//! What every gRPC service here shares: the engine, the shield, and what stands beside a message.

use std::time::Duration;

use tokio_util::task::TaskTracker;
use tonic::{Request, Status, metadata::MetadataMap};

use super::status;
use crate::{
    engine::{Engine, Error},
    workflow::{Namespace, Timestamp},
};

/// The metadata key under which a Cerebelum client may name its namespace.
pub const NAMESPACE_KEY: &str = "lazarus-namespace";

/// The engine behind every service, and the requests on it that are under way; cheap to clone.
#[derive(Clone, Debug)]
pub struct FrontDoor {
    engine: Engine,
    changes: TaskTracker,
}

/// When a request must be answered, in its extensions: set by who is cut off then, as a function is.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(
    /// By the engine's clock. What only waits ends at it; every other request is as long as it is.
    pub Timestamp,
);

impl FrontDoor {
    /// The front door of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine, changes: TaskTracker::new() }
    }

    /// For requests that change nothing, or that may be given up at any point.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs a request that changes something to its end, whether or not its client waits for it: a
    /// commit must not be abandoned between its put and its effects.
    ///
    /// # Errors
    ///
    /// What `change` gives; `INTERNAL` when it panics.
    pub(super) async fn shielded<T, E, Change>(
        &self,
        change: impl FnOnce(Engine) -> Change,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        E: Into<Status> + Send + 'static,
        Change: Future<Output = Result<T, E>> + Send + 'static,
    {
        match self.changes.spawn(change(self.engine.clone())).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(status::crashed()),
        }
    }

    /// How long a request that would wait for `asked` may: it is answered by its [`Deadline`].
    pub(super) fn may_wait<T>(&self, request: &Request<T>, asked: Duration) -> Duration {
        match request.extensions().get() {
            Some(Deadline(until)) => asked.min(until.since(self.engine.env().now())),
            None => asked,
        }
    }

    /// Resolves once every request that changes something, whether or not its client still waits for
    /// it, is finished. May be called again; new requests are taken all the same.
    pub async fn finished(&self) {
        self.changes.close();
        self.changes.wait().await;
    }

    /// A request's own id: the client's, or one that no other request has.
    ///
    /// An empty one would make a second, different request look like a repetition of the first.
    pub(super) fn request_id(&self, given: String) -> String {
        if given.is_empty() { format!("{:032x}", self.engine.env().random()) } else { given }
    }
}

/// The namespace that the metadata names.
pub(super) fn namespace(metadata: &MetadataMap) -> Result<Namespace, Error> {
    let Some(name) = metadata.get(NAMESPACE_KEY) else { return Ok(Namespace::default()) };
    Ok(Namespace::new(&String::from_utf8_lossy(name.as_bytes()))?)
}

/// The connection that a request came on: both its ends, as several listeners may serve at once.
pub(super) fn connection<T>(request: &Request<T>) -> Option<String> {
    let (local, remote) = (request.local_addr()?, request.remote_addr()?);
    Some(format!("{remote}>{local}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_stands_in_the_metadata() {
        let mut metadata = MetadataMap::new();
        assert_eq!(namespace(&metadata).unwrap(), Namespace::default());
        metadata.insert(NAMESPACE_KEY, "team-a".parse().unwrap());
        assert_eq!(namespace(&metadata).unwrap().as_str(), "team-a");
        metadata.insert(NAMESPACE_KEY, "Team A".parse().unwrap());
        assert_eq!(
            namespace(&metadata).unwrap_err().to_string(),
            "namespace \"Team A\" is not 1 to 40 of a-z, 0-9 and '-'"
        );
    }
}
