//! The engines: processes of the real binary, each between two proxies, and what befalls them.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::{
    ledger::count,
    misfortunes::{Blow, Misfortune},
    process::Process,
    proxy::{Proxy, Weather},
};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long until one that ended by itself is started again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an engine may take to serve: its probe asks the store 40 things, and the store may be cut.
const START_MAX: Duration = Duration::from_secs(20);
/// How long a graceful end may take.
const END_MAX: Duration = Duration::from_secs(15);

/// What the engines share.
#[derive(Clone, Debug)]
pub struct Setup {
    pub binary: PathBuf,
    /// The store's URL, and where its server listens.
    pub store: String,
    pub server: SocketAddr,
    /// Where their logs go.
    pub logs: PathBuf,
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub kills: AtomicU64,
    pub stops: AtomicU64,
    pub cuts: AtomicU64,
    pub starts: AtomicU64,
    /// Engines that ended by themselves, as a store that is cut fails their probe.
    pub ends: AtomicU64,
}

/// All engines.
#[derive(Debug)]
pub struct Fleet {
    engines: Vec<Engine>,
    pub tally: Arc<Tally>,
}

/// One engine, whatever process it is at present.
#[derive(Debug)]
struct Engine {
    /// Between its clients and it.
    front: Arc<Proxy>,
    /// Between it and the store.
    back: Arc<Proxy>,
    orders: mpsc::UnboundedSender<Order>,
    keeper: JoinHandle<()>,
}

/// What is done to a process.
#[derive(Clone, Debug)]
enum Order {
    Kill { down: Duration },
    Stop,
    GoOn,
    End,
}

impl Fleet {
    /// Starts `count` engines; does not wait for them.
    pub async fn start(setup: &Setup, count: usize) -> Self {
        let tally = Arc::new(Tally::default());
        let mut engines = vec![];
        for number in 0..count {
            engines.push(Engine::start(setup, number, Arc::clone(&tally)).await);
        }
        Self { engines, tally }
    }

    /// Where clients find each engine, whatever becomes of its process.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.engines.iter().map(|engine| engine.front.address).collect()
    }

    /// Lets everything of `blows` happen in its time; returns when the last is over.
    pub async fn suffer(&self, blows: &[Blow]) {
        let begun = Instant::now();
        let strikes = blows.iter().map(|blow| async move {
            tokio::time::sleep_until(begun + blow.at).await;
            self.engines[blow.engine].suffer(blow.what, &self.tally).await;
        });
        futures::future::join_all(strikes).await;
    }

    /// Requests that went to the store, and connections that were broken.
    pub fn traffic(&self) -> (u64, u64) {
        let requests = self.engines.iter().map(|engine| engine.back.requests()).sum();
        let broken = self.engines.iter().map(|it| it.back.broken() + it.front.broken()).sum();
        (requests, broken)
    }

    /// Ends all engines gracefully.
    pub async fn end(self) {
        self.engines.iter().for_each(|engine| engine.order(Order::End));
        for engine in self.engines {
            engine.keeper.await.expect("its keeper does not panic");
        }
    }
}

impl Engine {
    async fn start(setup: &Setup, number: usize, tally: Arc<Tally>) -> Self {
        let proxy = async || Arc::new(Proxy::start().await.expect("a free port"));
        let (front, back) = (proxy().await, proxy().await);
        back.lead_to(Some(setup.server));
        let (orders, received) = mpsc::unbounded_channel();
        let log = setup.logs.join(format!("engine-{number}.log"));
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let setup = setup.clone();
        let keeper =
            Keeper { setup, number, log, front: Arc::clone(&front), store: back.address, tally };
        Self { front, back, orders, keeper: tokio::spawn(keeper.keep(received)) }
    }

    fn order(&self, order: Order) {
        // A keeper that panicked is reported when it is waited for.
        drop(self.orders.send(order));
    }

    async fn suffer(&self, what: Misfortune, tally: &Tally) {
        match what {
            Misfortune::Kill { down } => self.order(Order::Kill { down }),
            Misfortune::Stop { during } => {
                self.order(Order::Stop);
                tokio::time::sleep(during).await;
                self.order(Order::GoOn);
            }
            Misfortune::CutStore { weather, during } => {
                cut(&self.back, weather, during, tally).await;
            }
            Misfortune::CutClients { weather, during } => {
                cut(&self.front, weather, during, tally).await;
            }
        }
    }
}

async fn cut(proxy: &Proxy, weather: Weather, during: Duration, tally: &Tally) {
    count(&tally.cuts);
    proxy.set(weather);
    tokio::time::sleep(during).await;
    proxy.set(Weather::Fair);
}

/// Starts an engine's process again and again, as a supervisor would, and does what is ordered.
struct Keeper {
    setup: Setup,
    number: usize,
    log: File,
    front: Arc<Proxy>,
    store: SocketAddr,
    tally: Arc<Tally>,
}

impl Keeper {
    async fn keep(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(pause) = self.live(&mut orders).await {
            tokio::time::sleep(pause).await;
        }
    }

    /// The life of one process; how long until the next, none when it was to end.
    async fn live(&self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Option<Duration> {
        let (mut process, mut address) = Process::serving(&mut self.command());
        let (begun, mut serves) = (Instant::now(), false);
        count(&self.tally.starts);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Kill { down }) => {
                        process.kill();
                        count(&self.tally.kills);
                        return Some(down);
                    }
                    Some(Order::Stop) => {
                        process.stop();
                        count(&self.tally.stops);
                    }
                    Some(Order::GoOn) => process.go_on(),
                    Some(Order::End) | None => {
                        self.end(process).await;
                        return None;
                    }
                },
                found = &mut address, if !serves => {
                    serves = true;
                    self.front.lead_to(found.ok());
                }
                () = tokio::time::sleep(LOOK) => {
                    let is_late = !serves && begun.elapsed() > START_MAX;
                    if process.ended().is_some() || is_late {
                        count(&self.tally.ends);
                        return Some(PAUSE);
                    }
                }
            }
        }
    }

    /// Ends a process as an operator does.
    async fn end(&self, mut process: Process) {
        process.go_on();
        process.terminate();
        let begun = Instant::now();
        while process.ended().is_none() {
            assert!(begun.elapsed() < END_MAX, "engine {} does not end on SIGTERM", self.number);
            tokio::time::sleep(LOOK).await;
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.setup.binary);
        command
            .args(["serve", "--store", &self.setup.store, "--grpc", "127.0.0.1:0"])
            .args(["--lease", "5s", "--guard-interval", "20s", "--log", "info"])
            .args(["--instance", &format!("engine-{}", self.number)])
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.store))
            .env("AWS_ENDPOINT", format!("http://{}", self.store))
            .stderr(self.log.try_clone().expect("a log"));
        command
    }
}
