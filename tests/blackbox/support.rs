//! Engines and buckets for the tests; their clients and workers are in `tests/support/client.rs`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use lazarus::{
    engine::{Caller, Config, Engine, Format},
    env::{Env, SystemEnv},
    frontdoor::{Listeners, Tls, TlsListener, serve},
    store::{Store, Traits},
    workflow::Policy,
};
use object_store::{ObjectStore, memory::InMemory};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub use crate::client::*;

/// A bucket that any number of engines share.
#[derive(Clone, Debug)]
pub enum Bucket {
    /// In memory.
    Memory(Arc<dyn ObjectStore>),
    /// By URL.
    Url(String),
    /// An embedded store, opened once: its directory has one owner, which is this process.
    Embedded(Arc<OnceCell<Store>>),
}

impl Bucket {
    /// An empty one, where the variables say.
    pub fn new() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let chosen = variable("LAZARUS_TEST_STORE").or_else(|| variable("LAZARUS_TEST_S3_URL"));
        match chosen.as_deref().unwrap_or("memory") {
            "memory" => Self::in_memory(),
            "file" => Self::Url(format!("file://{}", folder("file").display())),
            "embedded" => Self::Embedded(Arc::default()),
            url if url.contains("://") => Self::Url(format!(
                "{}/{:032x}-{}",
                url.trim_end_matches('/'),
                SystemEnv.random(),
                number()
            )),
            other => panic!(
                "LAZARUS_TEST_STORE is {other:?}; it is memory, file, embedded or the URL of a bucket"
            ),
        }
    }

    /// An empty one in memory, whatever the variables say: for what is counted to the request over a time in
    /// which a slow store adds some, as a sleep is over or a pause between two scans.
    pub fn in_memory() -> Self {
        Self::Memory(Arc::new(InMemory::new()))
    }

    /// Over `objects`, such as a store with faults.
    pub fn over(objects: Arc<dyn ObjectStore>) -> Self {
        Self::Memory(objects)
    }

    /// The bucket as one engine of several sees it.
    pub async fn store(&self) -> Store {
        let shared = Traits { ordered: true, ..Traits::NONE };
        match self {
            Self::Memory(objects) => Store::wrap(Arc::clone(objects), shared, "memory (shared)"),
            Self::Url(url) => open(url).await,
            Self::Embedded(store) => {
                let owned = open_embedded(store).await;
                Store::wrap(Arc::clone(owned.objects()), shared, "embedded (shared)")
            }
        }
    }

    /// The bucket as one engine sees it that is alone on it: an embedded store says then that it is.
    pub async fn own(&self) -> Store {
        match self {
            Self::Memory(_) | Self::Url(_) => self.store().await,
            Self::Embedded(store) => open_embedded(store).await.clone(),
        }
    }
}

async fn open_embedded(store: &OnceCell<Store>) -> &Store {
    let make = || async { open(&format!("embedded:{}", folder("embedded").display())).await };
    store.get_or_init(make).await
}

async fn open(url: &str) -> Store {
    Store::open(url, SystemEnv::shared()).await.expect("the store opens")
}

/// A folder of its own for a bucket on the disk. It stays until the next run on this kind of store: an
/// engine that was killed may still be writing when its test ends.
fn folder(kind: &str) -> PathBuf {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    let home = HOME.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("blackbox").join(kind);
        drop(std::fs::remove_dir_all(&home));
        home
    });
    home.join(number().to_string())
}

/// A number that no other bucket of this process has.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A cluster's settings.
#[derive(Clone, Debug)]
pub struct Setup {
    pub policy: Policy,
    pub cache_bytes: u64,
    pub near_timers: bool,
    pub reservations: bool,
    pub background: bool,
    /// As a build of which version it reads and writes.
    pub format: Format,
}

impl Setup {
    /// What `serve` does by default, with times that suit a test; or a function's life, where the
    /// variable says so.
    pub fn new() -> Self {
        let is_function =
            std::env::var("LAZARUS_TEST_SHAPE").is_ok_and(|shape| shape == "function");
        let policy = Policy {
            lease: Duration::from_secs(20),
            guard: Duration::from_secs(2),
            ..Policy::default()
        };
        if is_function {
            return Self {
                policy,
                cache_bytes: 0,
                near_timers: false,
                reservations: false,
                background: true,
                format: Format::OURS,
            };
        }
        Self {
            policy,
            cache_bytes: 64 << 20,
            near_timers: true,
            reservations: true,
            background: true,
            format: Format::OURS,
        }
    }

    /// Warm and with nothing going on beside the requests, so that each of them can be counted.
    pub fn counted() -> Self {
        let policy = Policy::default();
        Self {
            policy,
            cache_bytes: 64 << 20,
            near_timers: true,
            reservations: true,
            background: false,
            format: Format::OURS,
        }
    }

    pub fn guard(mut self, guard: Duration) -> Self {
        self.policy.guard = guard;
        self
    }

    pub fn lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease;
        self
    }
}

/// A free port of the loopback, to be listened on in whichever runtime.
fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// An engine that is served; its own threads, so that it can be killed whole.
#[derive(Debug)]
pub struct Instance {
    pub engine: Engine,
    pub address: SocketAddr,
    /// Where it serves HTTP: health, and results of tasks that were pushed.
    pub http_address: SocketAddr,
    /// Where it serves with TLS, if it does.
    pub tls_address: Option<SocketAddr>,
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
}

impl Instance {
    /// Starts an engine on `store`.
    pub async fn start(store: Store, setup: &Setup) -> Self {
        Self::start_in(store, setup, SystemEnv::shared()).await
    }

    /// As [`Self::start`], with a clock of the test's own.
    pub async fn start_in(store: Store, setup: &Setup, env: Arc<dyn Env>) -> Self {
        Self::start_with(store, setup, env, None).await
    }

    /// As [`Self::start_in`], on a second listener with TLS too.
    pub async fn start_with(
        store: Store,
        setup: &Setup,
        env: Arc<dyn Env>,
        tls: Option<Tls>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let config = Config {
            policy: setup.policy,
            cache_bytes: setup.cache_bytes,
            near_timers: setup.near_timers,
            reservations: setup.reservations,
            instance: format!("instance-{number}/test"),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let engine = Engine::of_build(store, env, 1, config, setup.format);
        let (listener, address) = listen();
        let (http, http_address) = listen();
        let secured = tls.map(|tls| (listen(), tls));
        let tls_address = secured.as_ref().map(|((_, address), _)| *address);
        let stop = CancellationToken::new();
        let (served, stopped) = (engine.clone(), stop.clone());
        runtime.spawn(async move {
            let on = |listener| tokio::net::TcpListener::from_std(listener).expect("a listener");
            let grpc_tls =
                secured.map(|((listener, _), tls)| TlsListener { listener: on(listener), tls });
            let listeners = Listeners { grpc: vec![on(listener)], grpc_tls, http: Some(on(http)) };
            serve(served, listeners, None, stopped.cancelled_owned()).await.expect("it serves");
        });
        if setup.background {
            let engine = engine.clone();
            runtime.spawn(async move { engine.run_background().await });
        }
        Self { engine, address, http_address, tls_address, runtime: Some(runtime), stop }
    }

    /// Serves push queues from now on, through `caller`.
    pub fn push_through(&self, caller: Arc<dyn Caller>) {
        let engine = self.engine.clone();
        let runtime = self.runtime.as_ref().expect("it runs");
        runtime.spawn(async move { engine.run_push(caller).await });
    }

    /// Ends everything in it at whatever await it has got to, as a crash does.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Ends as an operator ends it: it answers what it was asked, finishes, and goes.
    pub async fn end(self) {
        self.engine.begin_shutdown();
        self.settle().await;
        self.stop.cancel();
    }

    /// Waits until nothing is in flight: effects that run beside the answers are over.
    pub async fn settle(&self) {
        let engine = self.engine.clone();
        let handle = self.runtime.as_ref().expect("it runs").handle();
        let settled = handle.spawn(async move { engine.drain(PATIENCE).await });
        assert!(settled.await.expect("it drains"), "effects did not come to an end");
    }

    /// Waits until so many polls and free slots wait for a task.
    pub async fn until_polling(&self, polls: usize) {
        let begun = Instant::now();
        while self.engine.waiting_polls() < polls {
            assert!(begun.elapsed() < PATIENCE, "the polls did not arrive");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Wakes what is due 20 times a second from now on, as a schedule does for functions.
    pub fn tick_often(&self) {
        let engine = self.engine.clone();
        self.runtime.as_ref().expect("it runs").spawn(async move {
            loop {
                let _progress = engine.tick().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// The objects under `prefix`, and how long they are.
    pub async fn objects(&self, prefix: &str) -> Vec<(String, u64)> {
        let prefix = object_store::path::Path::from(prefix);
        let listed = self.engine.store().objects().list(Some(&prefix));
        let listed: Vec<_> = listed.try_collect().await.expect("a list");
        listed.into_iter().map(|it| (it.location.to_string(), it.size)).collect()
    }

    /// A client of it.
    pub async fn client(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One engine on a bucket of its own.
pub async fn lone_instance() -> Instance {
    Instance::start(Bucket::new().own().await, &Setup::new()).await
}

/// An address that leads to whatever the sender says at the time of a connection: a load balancer.
pub async fn forwarder(first: SocketAddr) -> (SocketAddr, tokio::sync::watch::Sender<SocketAddr>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, backend) = tokio::sync::watch::channel(first);
    tokio::spawn(async move {
        while let Ok((mut inbound, _)) = listener.accept().await {
            let to = *backend.borrow();
            tokio::spawn(async move {
                if let Ok(mut outbound) = tokio::net::TcpStream::connect(to).await {
                    // A connection that breaks is what this is for.
                    drop(tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await);
                }
            });
        }
    });
    (address, sender)
}
