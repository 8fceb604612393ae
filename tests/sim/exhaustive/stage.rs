//! Two instances on one bucket, their clients, and a third instance for the time after the scenario.

use std::{sync::Arc, time::Duration};

use lazarus::{
    engine::{Config, Engine},
    store::Store,
    workflow::{Policy, TaskToken},
};

use super::{
    super::{
        builds::Build,
        chance::Chance,
        clock::Clock,
        life::{Life, ProcessEnv},
        store::Way,
        world::World,
    },
    operation::{Operation, Said, polled},
    scenario::Act,
    schedule::Schedule,
};

/// How long a worker has a step to itself.
pub const LEASE: Duration = Duration::from_secs(30);
/// After how long a run that stopped moving is looked at.
pub const GUARD: Duration = Duration::from_secs(20);
/// What stands in a trace where the stage is set.
pub const BEGINS: &str = "the scenario begins";
/// How long a client waits before it asks again: no other time in a scenario is a multiple of it.
const PAUSE: Duration = Duration::from_millis(1_037);
/// How often a client asks before it is lost.
const ASKS_MAX: u32 = 20;

/// A process.
pub struct Instance {
    pub life: Arc<Life>,
    pub engine: Engine,
}

/// Everything that a scenario plays on.
pub struct Stage {
    pub world: Arc<World>,
    pub schedule: Arc<Schedule>,
    /// The first remembers what it has seen, the second nothing.
    pub instances: [Instance; 2],
    /// It begins when the others have ended, and remembers nothing.
    pub last: Instance,
}

impl Stage {
    /// The stage, empty.
    pub fn new(world: Arc<World>) -> Arc<Self> {
        let schedule = Arc::clone(world.schedule.as_ref().expect("a schedule"));
        let instances = [(0, true), (1, false)].map(|(place, remembers)| {
            instance(&world, &schedule, &format!("engine{place}"), remembers, true)
        });
        let last = instance(&world, &schedule, "engine2", false, false);
        Arc::new(Self { world, schedule, instances, last })
    }

    /// Plays `acts`, until everything that they lead to is over.
    pub async fn play(self: &Arc<Self>, acts: &[Act]) {
        self.world.trace.note(|| BEGINS.to_owned());
        let begun = self.world.timeline.now();
        self.schedule.begin(acts.iter().map(|act| begun + act.after).collect());
        let clients: Vec<_> = acts
            .iter()
            .map(|act| {
                let (stage, act) = (Arc::clone(self), act.clone());
                tokio::spawn(async move {
                    stage.world.timeline.wait(act.after).await;
                    stage.see_through(&act.operation, act.place).await;
                    stage.schedule.answered();
                })
            })
            .collect();
        self.schedule.ended().await;
        if let Some(act) = clients.iter().position(|client| !client.is_finished()) {
            let words = format!("nobody ever answered: {:?}", acts[act].operation);
            self.world.trace.fault(words);
        }
    }

    /// Asks until there is an answer: the instance at `place`, and each time the other one.
    async fn see_through(self: &Arc<Self>, operation: &Operation, place: usize) {
        for times in 0..ASKS_MAX {
            let instance = &self.instances[(place + times as usize) % 2];
            if !instance.life.is_dead() {
                let (asked, engine) = (operation.clone(), instance.engine.clone());
                let world = Arc::clone(&self.world);
                let asking = tokio::spawn(async move { asked.ask(&world, engine, times).await });
                let said = tokio::select! {
                    biased;
                    said = asking => said.expect("a request does not panic"),
                    () = instance.life.ended() => Said::Nothing,
                };
                self.world.trace.note(|| format!("    {operation:?}: {said:?}"));
                if said == Said::Everything {
                    return;
                }
            }
            self.world.timeline.wait(PAUSE).await;
        }
        self.world.trace.fault(format!("{operation:?} was never answered"));
    }

    /// Asks the first instance, before anything can go wrong.
    pub async fn ask(&self, operation: Operation) {
        let said = operation.ask(&self.world, self.instances[0].engine.clone(), 0).await;
        assert_eq!(said, Said::Everything, "{operation:?} while nothing can go wrong");
    }

    /// A task for `worker`, handed out by the first instance before anything can go wrong.
    pub async fn task(&self, worker: &str) -> TaskToken {
        for _ in 0..20 {
            let task = polled(&self.world, &self.instances[0].engine, worker).await;
            if let Some((token, _)) = task.expect("nothing can go wrong") {
                return token;
            }
        }
        panic!("no task for {worker}");
    }

    /// Lets time go by.
    pub async fn wait(&self, time: Duration) {
        self.world.timeline.wait(time).await;
    }
}

fn instance(
    world: &Arc<World>,
    schedule: &Schedule,
    name: &str,
    remembers: bool,
    may_die: bool,
) -> Instance {
    let life = Life::begin(Clock::right());
    schedule.join(name, &life, may_die);
    let env = ProcessEnv {
        timeline: world.timeline.clone(),
        life: Arc::clone(&life),
        chance: Chance::new(world.seed, name),
    };
    let traits = world.traits();
    let way = Way {
        world: Arc::clone(world),
        life: Arc::clone(&life),
        name: name.into(),
        build: Build::Usual,
    };
    let store = Store::wrap(Arc::new(way), traits, "sim:");
    let config = Config {
        policy: Policy { lease: LEASE, guard: GUARD, ..Policy::default() },
        cache_bytes: if remembers { 64 << 20 } else { 0 },
        near_timers: false,
        reservations: false,
        instance: format!("{name}/sim"),
    };
    Instance { life, engine: Engine::new(store, Arc::new(env), 1, config) }
}
