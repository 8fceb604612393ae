//! The instances: real engines, each with a clock, a way to the bucket and a life of its own.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lazarus::{
    engine::{Config, Engine, Error},
    log,
    store::Store,
    workflow::Policy,
};

use super::{
    broken::Broken,
    builds::Build,
    chance::Chance,
    clock,
    life::{Life, ProcessEnv},
    store::Way,
    world::World,
};

/// How an instance lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It stays up: memory, timers of its own, reservations, a background loop.
    Server,
    /// It remembers nothing, and a schedule ticks it each minute.
    Function,
    /// It remembers nothing, and does what it is asked.
    Command,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody is there, the connection broke, or the answer did not come in time.
    Silence,
    /// The engine says no.
    No(Error),
}

impl Unanswered {
    /// Whether asking again is useless.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Silence => false,
            Self::No(error) => error.is_final(),
        }
    }
}

/// A process.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) life: Arc<Life>,
    pub(super) engine: Engine,
    build: Build,
}

/// Where an instance is, or was, or will be.
pub(super) struct Place {
    pub(super) shape: Shape,
    /// Which build is installed there.
    pub(super) build: Build,
    pub(super) starts: u32,
    pub(super) node: Option<Node>,
    /// Whether it stays frozen until everybody else is done.
    pub(super) is_forgotten: bool,
}

/// All instances of one world.
pub struct Cluster {
    pub world: Arc<World>,
    places: Mutex<Vec<Place>>,
    chance: Chance,
    policy: Policy,
    /// How often, in a thousand, a request of a client or its answer is lost.
    loss: u64,
    pub(super) is_troubled: AtomicBool,
    /// Whether nobody is to start any more.
    is_over: AtomicBool,
}

/// How long an instance that is asked to go has to finish.
const GRACE: Duration = Duration::from_secs(20);

impl Cluster {
    /// The instances of the world's seed, all of them up.
    pub fn start(world: Arc<World>) -> Arc<Self> {
        let chance = Chance::new(world.seed, "cluster");
        let lease = Duration::from_secs(chance.pick(&[10, 30, 120]));
        let guard = Duration::from_secs(chance.pick(&[5, 20, 60]));
        let count = match chance.from(0, 10) {
            _ if world.is_exclusive => 1,
            0 => chance.from(5, 9),
            _ => chance.from(1, 5),
        };
        let count = count.min(world.crowd.instances);
        let place = |_| {
            let shape = if chance.happens(400) { Shape::Function } else { Shape::Server };
            let build = chance.pick(world.builds);
            Place { shape, build, starts: 0, node: None, is_forgotten: false }
        };
        let places: Vec<Place> = (0..count).map(place).collect();
        world.audit.expect_guards(guard);
        let cluster = Arc::new(Self {
            policy: Policy { lease, guard, ..Policy::default() },
            loss: chance.pick(&[0, 10, 50, 200]),
            places: Mutex::new(places),
            is_troubled: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            chance,
            world,
        });
        for place in 0..cluster.count() {
            cluster.begin(place);
        }
        cluster
    }

    /// What all instances have in common.
    pub fn in_words(&self) -> String {
        let Self { world, policy, loss, .. } = self;
        let Policy { lease, guard, .. } = policy;
        let order = if world.is_ordered { "in order" } else { "in no order" };
        let owned = if world.is_exclusive { ", owned by one" } else { "" };
        let shards = world.shards;
        format!(
            "{} places, builds {:?}, {shards} shards, leases of {lease:?}, guards of {guard:?}, {:?}, \
             {loss} in a thousand requests lost, lists {order}, {} a page{owned}",
            self.count(),
            world.builds,
            world.clocks,
            world.page
        )
    }

    /// How many places there are for instances.
    pub fn count(&self) -> usize {
        self.places().len()
    }

    /// One of them that a client may turn to.
    pub fn any(&self) -> usize {
        let places = self.places();
        let known: Vec<usize> =
            (0..places.len()).filter(|place| !places[*place].is_forgotten).collect();
        self.chance.pick(&known)
    }

    /// One of them whose build knows of resumptions, if any is up; else one that does not answer such
    /// a request.
    pub fn any_new(&self) -> Option<usize> {
        let place = self.any();
        let places = self.places();
        places[place].node.as_ref().is_some_and(|node| node.build.reads_all()).then_some(place)
    }

    /// Starts an instance where none is.
    pub fn begin(self: &Arc<Self>, place: usize) {
        if !self.is_over.load(Ordering::Relaxed) {
            self.start_at(place);
        }
    }

    fn start_at(self: &Arc<Self>, place: usize) {
        let (name, shape, build) = {
            let mut places = self.places();
            let at = &mut places[place];
            if at.node.as_ref().is_some_and(|node| !node.life.is_dead()) {
                return;
            }
            at.starts += 1;
            (format!("engine{place}.{}", at.starts), at.shape, at.build)
        };
        self.world.trace.note(|| format!("{name} starts as a {shape:?}, build {build:?}"));
        let clock = self.world.clocks.clock(&self.chance);
        let is_beyond = self.chance.happens(self.world.clocks.beyond)
            && self.world.trace.befalls("clock beyond the bound");
        if is_beyond {
            clock.set(clock::beyond(&self.chance));
        }
        if self.world.broken == Some(Broken::ClockAnHourAhead) && place == 0 {
            clock.move_by(3_600_000);
        }
        let life = Life::begin(clock);
        let engine = self.engine(&name, shape, build, &life);
        let node = Node { life, engine, build };
        self.places()[place].node = Some(node.clone());
        if is_beyond {
            let cluster = Arc::clone(self);
            tokio::spawn(async move {
                cluster.until_fit(&node, &Chance::new(cluster.world.seed, &name)).await;
                cluster.serve(node, shape);
            });
        } else {
            self.serve(node, shape);
        }
    }

    /// Lets an instance take requests, and do what it does by itself.
    fn serve(&self, node: Node, shape: Shape) {
        let Node { life, engine, .. } = node;
        life.serve();
        match shape {
            Shape::Server => drop(tokio::spawn(async move { engine.run_background().await })),
            Shape::Command => {}
            Shape::Function => {
                let timeline = self.world.timeline.clone();
                tokio::spawn(async move {
                    while !life.is_dead() {
                        timeline.wait(Duration::from_mins(1)).await;
                        life.gate().await;
                        let _progress = engine.tick().await;
                    }
                });
            }
        }
    }

    fn engine(&self, name: &str, shape: Shape, build: Build, life: &Arc<Life>) -> Engine {
        let world = &self.world;
        let env = ProcessEnv {
            timeline: world.timeline.clone(),
            life: Arc::clone(life),
            chance: Chance::new(world.seed, name),
        };
        let (world, life) = (Arc::clone(world), Arc::clone(life));
        let traits = world.traits();
        let way = Way { world, life, name: name.into(), build };
        let store = Store::wrap(Arc::new(way), traits, "sim:");
        let is_server = shape == Shape::Server;
        // With the smallest of them next to everything is forgotten at once.
        let cache_bytes = self.chance.pick(&[64 << 20, 64 << 20, 16 << 10, 2 << 10]);
        let config = Config {
            policy: self.policy,
            cache_bytes: if is_server { cache_bytes } else { 0 },
            near_timers: is_server,
            reservations: is_server || self.world.broken == Some(Broken::ReservationsStay),
            instance: format!("{name}/sim"),
        };
        Engine::of_build(store, Arc::new(env), self.world.shards, config, build.format())
    }

    /// Asks the instance at `place`; its handler is dropped when the caller does not wait any longer,
    /// or when it dies.
    pub async fn ask<T, Asked>(
        &self,
        place: usize,
        patience: Duration,
        ask: impl FnOnce(Engine) -> Asked,
    ) -> Result<T, Unanswered>
    where
        Asked: Future<Output = Result<T, Error>>,
    {
        let timeline = &self.world.timeline;
        timeline.wait(self.hop()).await;
        let node = self.places()[place].node.clone();
        let Some(node) = node.filter(|node| !node.life.is_dead() && node.life.serves()) else {
            return Err(Unanswered::Silence);
        };
        if self.is_lost() {
            timeline.wait(patience).await;
            return Err(Unanswered::Silence);
        }
        let Node { life, engine, .. } = node;
        let asked = async {
            life.gate().await;
            ask(engine).await
        };
        let answer = tokio::select! {
            biased;
            answer = Box::pin(asked) => answer,
            () = life.ended() => return Err(Unanswered::Silence),
            () = timeline.wait(patience) => return Err(Unanswered::Silence),
        };
        timeline.wait(self.hop()).await;
        if self.is_lost() {
            return Err(Unanswered::Silence);
        }
        if let Err(error) = &answer
            && matches!(error.whole(), Error::Log(log::Error::TooNew { .. }))
        {
            self.world.trace.count("request refused as its run is too new");
        }
        answer.map_err(Unanswered::No)
    }

    /// As [`Self::ask`], for requests that a front door carries on with whoever is gone.
    pub async fn ask_shielded<T, Asked>(
        &self,
        place: usize,
        patience: Duration,
        ask: impl FnOnce(Engine) -> Asked,
    ) -> Result<T, Unanswered>
    where
        T: Send + 'static,
        Asked: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let shielded = |engine| {
            let running = tokio::spawn(ask(engine));
            async move { running.await.expect("a request does not panic") }
        };
        self.ask(place, patience, shielded).await
    }

    fn hop(&self) -> Duration {
        self.chance.spread(Duration::from_micros(100), Duration::from_millis(20))
    }

    fn is_lost(&self) -> bool {
        let is_due = self.is_troubled.load(Ordering::Relaxed) && self.chance.happens(self.loss);
        is_due && self.world.trace.befalls("request or answer of a client lost")
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().expect("one thread")
    }

    pub(super) fn node(&self, place: usize) -> Option<Node> {
        self.places()[place].node.clone()
    }
}

impl Cluster {
    /// Asks an instance to go, and waits until it did.
    pub(super) async fn retire(&self, place: usize) {
        let Some(Node { life, engine, .. }) = self.node(place) else { return };
        let go = async {
            life.gate().await;
            engine.begin_shutdown();
            engine.drain(GRACE).await;
        };
        tokio::select! {
            biased;
            () = go => {}
            () = life.ended() => {}
        }
        life.die();
    }

    /// Ends all trouble: what stands still goes on, what is down starts. The forgotten stay frozen.
    pub fn heal(self: &Arc<Self>) {
        self.is_troubled.store(false, Ordering::Relaxed);
        for place in 0..self.count() {
            if self.places()[place].is_forgotten {
                continue;
            }
            if let Some(node) = self.node(place) {
                node.life.thaw();
            }
            self.begin(place);
        }
        self.install_newest();
    }

    /// Sees to it that somebody can read whatever any build wrote.
    fn install_newest(self: &Arc<Self>) {
        let is_there = |place: &Place| !place.is_forgotten && place.build.reads_all();
        if !self.places().iter().any(is_there) {
            self.places()[0].build = newest(&self.world);
            self.kill(0);
            self.begin(0);
        }
    }

    /// Retires everybody but the forgotten, and leaves one behind that does what it is asked; its
    /// place.
    pub async fn retire_to_one_command(self: &Arc<Self>) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        for place in 0..self.count() {
            let is_frozen = self.node(place).is_some_and(|node| !node.life.is_running());
            if !(self.places()[place].is_forgotten && is_frozen) {
                self.retire(place).await;
            }
        }
        self.hire()
    }

    /// Starts one more that does what it is asked; its place.
    pub fn hire(self: &Arc<Self>) -> usize {
        self.places().push(Place {
            shape: Shape::Command,
            build: newest(&self.world),
            starts: 0,
            node: None,
            is_forgotten: false,
        });
        let place = self.count() - 1;
        self.start_at(place);
        place
    }

    /// Starts another one at `place` if the one there died, and thaws it if it stands still.
    pub fn hire_again(self: &Arc<Self>, place: usize) {
        if let Some(node) = self.node(place) {
            node.life.thaw();
        }
        self.start_at(place);
    }

    /// Whether anybody is still frozen and forgotten.
    pub fn has_forgotten(&self) -> bool {
        self.places().iter().any(|place| {
            let is_gone = place.node.as_ref().is_some_and(|node| node.life.is_dead());
            place.is_forgotten && !is_gone
        })
    }

    /// Thaws the forgotten, lets them have `time`, and retires them.
    pub async fn remember_forgotten(self: &Arc<Self>, time: Duration) {
        let is_forgotten = |place: &usize| self.places()[*place].is_forgotten;
        let forgotten: Vec<usize> = (0..self.count()).filter(is_forgotten).collect();
        if forgotten.is_empty() {
            return;
        }
        for &place in &forgotten {
            self.world.trace.note(|| format!("engine{place}: thaws at the end"));
            if let Some(node) = self.node(place) {
                node.life.thaw();
            }
        }
        self.world.timeline.wait(time).await;
        for place in forgotten {
            self.retire(place).await;
        }
    }
}

/// The build that reads all that any build of the world writes.
fn newest(world: &World) -> Build {
    *world.builds.last().expect("a build")
}
