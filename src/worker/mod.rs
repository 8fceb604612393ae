//! A worker in Rust: runs steps for an engine, over one stream.
//!
//! ```no_run
//! use lazarus::worker::{Call, Failed, Output, Worker};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let worker = Worker::new("http://127.0.0.1:50051", "shop-1")?
//!     .slots(32)
//!     .step("charge", async |call: Call| {
//!         let order: u64 = call.input("inputs").map(|it: serde_json::Value| it["order"].as_u64())?.unwrap_or(0);
//!         Ok(Output::value(serde_json::json!({ "charged": order })))
//!     })
//!     .step("settle", async |_: Call| Ok(Output::sleep(std::time::Duration::from_secs(20))));
//! worker.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Owns the connection: it is made again whenever it breaks, leases are kept while steps run, and what a
//! step came to is reported until an engine says that it is in the log. A step may run more than once
//! (its [`Call::idempotency_key`] is the same then); one result counts.

mod link;
mod step;
mod tasks;

pub use step::{Call, Failed, Output};

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use thiserror::Error;
use tonic::transport::Endpoint;

use self::{
    link::{Ended, Link},
    step::Step,
    tasks::Tasks,
};
use crate::env::{Env, SystemEnv};

/// The pause before the first try to connect again; it doubles from there.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why a worker can not go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The address of the engine is none.
    #[error("{address:?} is no address of an engine; give one such as http://127.0.0.1:50051")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// The engine does not take this worker; the same again will not be taken either.
    #[error("the engine refuses this worker: {what}")]
    Refused {
        /// The engine's words.
        what: String,
    },
}

/// A worker that is being set up.
pub struct Worker {
    endpoint: Endpoint,
    who: Who,
    steps: HashMap<String, Arc<dyn Step>>,
    env: Arc<dyn Env>,
}

/// How a worker is known to engines.
#[derive(Clone, Debug)]
struct Who {
    namespace: String,
    id: String,
    slots: u32,
}

impl fmt::Debug for Worker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&String> = self.steps.keys().collect();
        out.debug_struct("Worker")
            .field("who", &self.who)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker called `id`, which no other one that runs at the same time may be called, of the engine
    /// at `address`, such as `http://127.0.0.1:50051`.
    ///
    /// # Errors
    ///
    /// [`Error::Address`]: it is none.
    pub fn new(address: &str, id: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|source| Error::Address { address: address.to_owned(), source })?
            .tcp_nodelay(true);
        let who = Who { namespace: String::new(), id: id.to_owned(), slots: 1 };
        Ok(Self { endpoint, who, steps: HashMap::new(), env: SystemEnv::shared() })
    }

    /// The namespace that it works in; `default` where this is not called.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.who.namespace);
        self
    }

    /// How many steps it runs at once, 1 to 1,024; one where this is not called.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.who.slots = slots;
        self
    }

    /// Runs the step `name` by calling `run`. A panic counts as a failure of kind `panic`.
    #[must_use]
    pub fn step<F, R>(mut self, name: &str, run: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Output, Failed>> + Send + 'static,
    {
        self.steps.insert(name.to_owned(), Arc::new(run));
        self
    }

    /// Works until `stop` resolves; then finishes and reports what it has, and takes no more.
    ///
    /// Whenever the engine can not be reached it tries again, for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: by the engine, in its words.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let Self { endpoint, who, steps, env } = self;
        let mut tasks = Tasks::new(steps, Arc::clone(&env));
        let (mut stop, mut is_stopping) = (std::pin::pin!(stop), false);
        let mut pause = PAUSE_MIN;
        loop {
            let begun = env.now();
            let ended = match Link::open(&endpoint, &who, &tasks).await {
                Ok(link) => link.work(&mut tasks, &env, &mut stop, &mut is_stopping).await,
                Err(ended) => ended,
            };
            match ended {
                Ended::Done => return Ok(()),
                Ended::Refused(what) => return Err(Error::Refused { what }),
                Ended::Broken(why) => tracing::debug!(worker = %who.id, %why, "connecting again"),
            }
            if is_stopping && tasks.is_empty() {
                return Ok(());
            }
            if env.now().since(begun) > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            tokio::select! {
                () = env.sleep(pause) => {}
                () = &mut stop, if !is_stopping => is_stopping = true,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
