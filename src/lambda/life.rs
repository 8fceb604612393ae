//! An engine with everything that it begins, on threads of its own, so that it can be cut off whole.
//!
//! A function that is frozen in the middle of something goes on with it whenever it is thawed, hours
//! later, beside another request. That is safe (docs/fencing.md), but nothing here relies on it: what
//! does not end in time dies at whatever await it has reached, as in a process that is killed, and the
//! next event begins with a new engine.

use std::{
    io, panic,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use axum::Router;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

use super::Settings;
use crate::{
    engine::{self, Caller, Engine, HttpCaller, Secrets},
    env::Env,
    frontdoor::FrontDoor,
    store::{self, LayoutError, OpenError, ProbeError, Store},
    workflow::Timestamp,
};

/// How many threads do the work: a function has up to six cores, and mostly a part of one.
const THREADS: usize = 2;

/// Why there is no engine; the messages of the causes say what to do.
#[derive(Debug, Error)]
pub(super) enum NoLife {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("{url} does not answer; try again")]
    Store {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no threads can be started")]
    Threads(#[from] io::Error),
    #[error("the store was not opened in time; try again")]
    Late,
}

/// An engine and its threads; dropping it cuts off everything that is under way.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) engine: Engine,
    pub(super) door: FrontDoor,
    pub(super) router: Router,
    push_secrets: Option<PathBuf>,
    /// Made when a waker needs it: setting up TLS takes time that a request need not wait for. Its
    /// connections are of these threads.
    caller: OnceLock<Arc<dyn Caller>>,
    threads: Threads,
}

/// Ends its tasks at their next await when it is dropped, and waits for none of them.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Life {
    /// Opens the store, by `until` at the latest. Costs 2 GET; on a store that nobody has probed, a
    /// probe and 1 PUT more.
    pub(super) async fn begin(
        settings: &Settings,
        env: &Arc<dyn Env>,
        until: Timestamp,
    ) -> Result<Self, NoLife> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
        let threads = Threads(Some(runtime));
        let push_secrets = settings.push_secrets.clone();
        let (settings, of_engine) = (settings.clone(), Arc::clone(env));
        let opened = threads.run(env, until, async move { open(&settings, of_engine).await });
        let engine = opened.await.ok_or(NoLife::Late)??;
        let door = FrontDoor::new(engine.clone());
        let router = door.router();
        Ok(Self { engine, door, router, push_secrets, caller: OnceLock::new(), threads })
    }

    /// What calls the targets of push queues.
    ///
    /// # Errors
    ///
    /// Why this process can not speak TLS.
    pub(super) fn caller(&self) -> Result<Arc<dyn Caller>, String> {
        if let Some(caller) = self.caller.get() {
            return Ok(Arc::clone(caller));
        }
        let caller: Arc<dyn Caller> =
            Arc::new(HttpCaller::new(Secrets::new(self.push_secrets.clone()))?);
        Ok(Arc::clone(self.caller.get_or_init(|| caller)))
    }

    /// Does `work` on the threads of this life; none: it was not over by `until`, and still goes on.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        until: Timestamp,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.threads.run(self.engine.env(), until, work).await
    }

    /// Waits until nothing is under way any more, neither requests nor what follows them; false: it was
    /// not over by `until`.
    pub(super) async fn rest(&self, until: Timestamp) -> bool {
        let (door, engine) = (self.door.clone(), self.engine.clone());
        let within = until.since(engine.env().now());
        let resting = async move {
            door.finished().await;
            engine.drain(within).await
        };
        self.run(until, resting).await.unwrap_or_default()
    }
}

impl Threads {
    async fn run<T: Send + 'static>(
        &self,
        env: &Arc<dyn Env>,
        until: Timestamp,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = self.0.as_ref().expect("BUG: threads are taken only by their end");
        let running = runtime.spawn(work);
        tokio::select! {
            biased;
            done = running => match done {
                Ok(done) => Some(done),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => panic::resume_unwind(panic),
                    Err(_) => None,
                },
            },
            () = env.sleep(until.since(env.now())) => None,
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn open(settings: &Settings, env: Arc<dyn Env>) -> Result<Engine, NoLife> {
    let store = Store::open(&settings.store, Arc::clone(&env)).await?;
    let (layout, has_passed) =
        tokio::join!(store::layout(&store, settings.shards), store::has_passed(&store));
    let layout = layout?;
    let silent = |source: Box<dyn std::error::Error + Send + Sync>| NoLife::Store {
        url: store.url().to_owned(),
        source,
    };
    if !has_passed.map_err(|error| silent(error.into()))? && !store.is_exclusive() {
        tracing::info!(store = store.url(), "nobody has probed this store yet; it is probed now");
        store::probe(&store, env.as_ref()).await?;
        let marked = store::mark_passed(&store, env.as_ref()).await;
        marked.map_err(|error| silent(error.into()))?;
    }
    let config = engine::Config {
        // Whatever was remembered here would be as old as the last event when the next one comes.
        cache_bytes: 0,
        near_timers: false,
        // The next poll may come to another process, and nobody would give the reservation up.
        reservations: false,
        ..settings.engine.clone()
    };
    Ok(Engine::new(store, env, layout.shards, config))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        engine::{Keep, RetentionPolicy},
        env::SystemEnv,
    };

    async fn life() -> Life {
        let settings = Settings {
            store: "memory:".to_owned(),
            shards: None,
            engine: engine::Config::of("lambda/test"),
            retention: RetentionPolicy::new(Keep::Forever, BTreeMap::new()),
            push_secrets: None,
            wake_parts: 1,
        };
        let env = SystemEnv::shared();
        let until = env.now().after(Duration::from_secs(10));
        Life::begin(&settings, &env, until).await.unwrap()
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_dies_with_its_life() {
        let life = life().await;
        let (gone, goes) = oneshot::channel::<()>();
        let went_on = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&went_on);
        let work = async move {
            let _held = gone;
            SystemEnv.sleep(Duration::from_millis(300)).await;
            sees.store(true, Ordering::SeqCst);
        };
        let until = SystemEnv.now().after(Duration::from_millis(20));
        assert_eq!(life.run(until, work).await, None);
        drop(life);
        // What the work held is dropped: it stopped where it was.
        assert!(goes.await.is_err());
        assert!(!went_on.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_life_at_rest_goes_on() {
        let life = life().await;
        let until = SystemEnv.now().after(Duration::from_secs(10));
        assert_eq!(life.run(until, async { 7 }).await, Some(7));
        assert!(life.rest(until).await);
        assert_eq!(life.run(until, async { 8 }).await, Some(8));
        assert!(life.rest(until).await);
    }
}
