//! Workers: they poll any instance, work for a while, and send what came of it; or die before, or
//! after, or come back with it hours later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lazarus::{
    engine::{PollRequest, TaskForWorker, WorkerRecord},
    workflow::{Namespace, Task, TaskToken, Timestamp},
};

use super::{
    broken::Broken,
    chance::Chance,
    cluster::{Cluster, Unanswered},
    graphs::ASIDE,
    workload::{Work, Workload},
};

/// All workers of one world.
pub struct Workers {
    pub cluster: Arc<Cluster>,
    pub workload: Arc<Workload>,
    chance: Chance,
    /// How often, in a thousand, each of these happens to a worker.
    dies: u64,
    repeats: u64,
    leaves: u64,
    /// How often a worker lacks a step.
    lacks: u64,
    is_troubled: AtomicBool,
    has_ended: AtomicBool,
    /// Results that come hours late and are still to come.
    zombies: AtomicUsize,
}

impl Workers {
    /// Starts the workers of the world's seed.
    pub fn start(cluster: Arc<Cluster>, workload: Arc<Workload>) -> Arc<Self> {
        let chance = Chance::new(cluster.world.seed, "workers");
        let workers = Arc::new(Self {
            dies: chance.pick(&[0, 20, 100, 300]),
            repeats: chance.pick(&[0, 50, 300]),
            leaves: chance.pick(&[0, 50, 300]),
            lacks: chance.pick(&[0, 0, 200, 500]),
            is_troubled: AtomicBool::new(true),
            has_ended: AtomicBool::new(false),
            zombies: AtomicUsize::new(0),
            cluster,
            workload,
            chance,
        });
        let is_registered = workers.chance.happens(500);
        let crowd = workers.cluster.world.crowd;
        for number in 0..workers.chance.from(1, 5).min(crowd.workers) {
            let name = format!("worker{number}");
            tokio::spawn(Arc::clone(&workers).live(name, is_registered));
        }
        workers
    }

    /// From now on no worker dies and nothing is sent twice.
    pub fn heal(&self) {
        self.is_troubled.store(false, Ordering::Relaxed);
    }

    /// Sends them home. Results that are late still come.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// How many results are still to come, hours late.
    pub fn zombies(&self) -> usize {
        self.zombies.load(Ordering::Relaxed)
    }

    fn happens(&self, what: &'static str, rate: u64) -> bool {
        let is_due = self.is_troubled.load(Ordering::Relaxed) && self.chance.happens(rate);
        is_due && self.cluster.world.trace.befalls(what)
    }

    async fn live(self: Arc<Self>, name: String, is_registered: bool) {
        let timeline = &self.cluster.world.timeline;
        let (mut place, mut held) = (self.cluster.any(), vec![]);
        let mut idle_since = self.cluster.world.now_ms();
        if is_registered {
            self.register(place, &name).await;
        }
        while !self.has_ended.load(Ordering::Relaxed) {
            if self.chance.happens(100) {
                place = self.cluster.any();
            }
            if self.cluster.world.broken == Some(Broken::PollExtendsLease) {
                for token in held.clone() {
                    self.beat(place, &name, token).await;
                }
            }
            match self.poll(place, &name).await {
                Ok(Some(task)) => {
                    held.push(task.token.clone());
                    self.work(&name, place, task).await;
                    idle_since = self.cluster.world.now_ms();
                }
                Ok(None) if name == FIRST && !self.has_ended.load(Ordering::Relaxed) => {
                    let world = &self.cluster.world;
                    // An older build gives nothing of what it can not read.
                    if world.builds.iter().all(|build| build.reads_all()) {
                        world.audit.idled(&name, idle_since, world.now_ms());
                    }
                }
                Ok(None) => {}
                Err(_) => {
                    timeline.wait(self.pause()).await;
                    place = self.cluster.any();
                    // An instance may be up that does not serve yet.
                    idle_since = self.cluster.world.now_ms();
                }
            }
        }
    }

    /// Whether a worker has a step. The first one has them all.
    fn has(&self, name: &str, step: &str) -> bool {
        let chance = Chance::new(self.cluster.world.seed, &format!("{name} has {step}"));
        name == FIRST || !chance.happens(self.lacks)
    }

    async fn register(&self, place: usize, name: &str) {
        let steps = self.workload.definitions.iter().flat_map(|it| &it.steps);
        let steps = steps.map(|step| step.name.clone()).chain([ASIDE.into()]);
        let steps = steps.filter(|step| self.has(name, step));
        let record = WorkerRecord {
            namespace: Namespace::default(),
            worker: name.to_owned(),
            language: "python".to_owned(),
            version: "1".to_owned(),
            steps: steps.collect(),
            slots: self.chance.pick(&[None, Some(1), Some(2)]),
            seen: Timestamp::default(),
        };
        let register =
            |engine: lazarus::engine::Engine| async move { engine.register(record).await };
        let _hint = self.cluster.ask_shielded(place, PATIENCE, register).await;
    }

    /// Polls once, perhaps without waiting for the answer.
    pub async fn poll(
        &self,
        place: usize,
        name: &str,
    ) -> Result<Option<TaskForWorker>, Unanswered> {
        let wait = self.chance.spread(Duration::from_millis(1), Duration::from_secs(10));
        let leaves = self.happens("poller gone before its answer", self.leaves);
        let patience = if leaves {
            self.chance.spread(Duration::from_millis(1), Duration::from_secs(2))
        } else {
            wait + PATIENCE
        };
        let (namespace, worker) = (Namespace::default(), name.to_owned());
        let connection = Some(format!("{name}>{place}"));
        let request = PollRequest { namespace, worker, wait, connection };
        let polled = self
            .cluster
            .ask(place, patience, |engine| async move { engine.poll(request).await })
            .await;
        let world = &self.cluster.world;
        if let Ok(Some(task)) = &polled {
            let Task { step, attempt, .. } = &task.token.task;
            world.trace.note(|| format!("{name} gets {step} #{attempt}"));
            world.audit.delivered(&task.token, name);
        }
        polled
    }

    /// A sign of life for a task.
    async fn beat(&self, place: usize, name: &str, token: TaskToken) {
        let worker = name.to_owned();
        let beat = |engine: lazarus::engine::Engine| async move {
            engine.heartbeat(&Namespace::default(), &worker, Some(&token), None).await
        };
        let _hint = self.cluster.ask_shielded(place, PATIENCE, beat).await;
    }

    async fn work(self: &Arc<Self>, name: &str, place: usize, task: TaskForWorker) {
        let timeline = &self.cluster.world.timeline;
        let token = task.token;
        let step = &token.task.step;
        let work = self.workload.work(&task.workflow, step);
        let work = if self.has(name, step) { work } else { Work::Missing };
        if self.happens("worker dead before its work", self.dies) {
            return timeline.wait(self.absence()).await;
        }
        timeline.wait(self.workload.duration(&task.workflow, step, &self.chance)).await;
        if self.chance.happens(100) {
            self.beat(place, name, token.clone()).await;
        }
        let is_late = self.cluster.world.now_ms() > task.lease_until.as_millis();
        match self.cluster.world.broken.filter(|_| is_late) {
            Some(Broken::LateResultRefused) => {
                return self.cluster.world.audit.refused(&token, "its lease is over");
            }
            Some(Broken::LateFailureIgnored) if work == Work::Failure => return,
            _ => {}
        }
        if self.happens("worker dead after its work", self.dies) {
            return timeline.wait(self.absence()).await;
        }
        if self.happens("result comes hours later", self.dies) {
            self.zombies.fetch_add(1, Ordering::Relaxed);
            let (workers, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move {
                let hours = workers.chance.spread(Duration::from_mins(10), Duration::from_hours(3));
                workers.cluster.world.timeline.wait(hours).await;
                workers.submit(workers.cluster.count() - 1, &name, &token, work).await;
                workers.zombies.fetch_sub(1, Ordering::Relaxed);
            });
            return timeline.wait(self.absence()).await;
        }
        if self.happens("result sent twice at once", self.repeats) {
            let (workers, name, token) = (Arc::clone(self), name.to_owned(), token.clone());
            let other = self.cluster.any();
            tokio::spawn(async move { workers.submit(other, &name, &token, work).await });
        }
        self.submit(place, name, &token, work).await;
    }

    /// Sends a result until it is answered, or the worker gives up.
    async fn submit(&self, mut place: usize, name: &str, token: &TaskToken, work: Work) {
        for _ in 0..20 {
            let (worker, sent) = (name.to_owned(), token.clone());
            let submit = |engine: lazarus::engine::Engine| async move {
                engine.submit(&sent, &worker, work.submission(sent.task.iteration)).await
            };
            let answer = self.cluster.ask_shielded(place, Duration::from_secs(65), submit).await;
            self.cluster.world.trace.note(|| {
                let task = &token.task;
                let (step, attempt) = (&task.step, task.attempt);
                format!("{name} sends {step} #{attempt} ({work:?}) to {place}: {answer:?}")
            });
            match answer {
                // That an attempt which is lost by now lacks the step changes nothing.
                Ok(_) if work == Work::Missing => return,
                Ok(_) => {
                    let is_success = matches!(work, Work::Result(_));
                    return self.cluster.world.audit.acknowledged(token, is_success);
                }
                Err(Unanswered::No(error)) if error.is_final() => {
                    if work != Work::Missing {
                        self.cluster.world.audit.refused(token, &error.to_string());
                    }
                    return;
                }
                Err(_) => {
                    self.cluster.world.timeline.wait(self.pause()).await;
                    place = self.cluster.any();
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        self.chance.spread(Duration::from_millis(20), Duration::from_secs(2))
    }

    fn absence(&self) -> Duration {
        self.chance.spread(Duration::from_millis(100), Duration::from_mins(2))
    }
}

const FIRST: &str = "worker0";
/// How long a worker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
