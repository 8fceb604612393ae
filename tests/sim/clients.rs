//! Clients: they start executions, look how they stand, approve what waits for them; each request is
//! sent until it is answered, through whichever instance, and perhaps twice at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lazarus::{
    engine::{Description, Engine, StartRequest, Started},
    workflow::{Answer, ExecutionId, Namespace, Phase, StepName},
};
use serde_json::json;

use super::{
    broken::Broken,
    chance::Chance,
    cluster::{Cluster, Unanswered},
    workload::Workload,
};

/// All clients of one world.
pub struct Clients {
    pub(super) cluster: Arc<Cluster>,
    pub(super) workload: Arc<Workload>,
    pub(super) chance: Chance,
    repeats: u64,
    pub(super) is_troubled: AtomicBool,
    /// Executions that are not seen closed yet.
    pub(super) open: AtomicUsize,
}

/// How long a client waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

impl Clients {
    /// Begins the executions of the world's seed.
    pub fn start(cluster: Arc<Cluster>, workload: Arc<Workload>) -> Arc<Self> {
        let chance = Chance::new(cluster.world.seed, "clients");
        let count = chance.from(2, 6).min(cluster.world.crowd.clients);
        let clients = Arc::new(Self {
            repeats: chance.pick(&[0, 100, 500]),
            is_troubled: AtomicBool::new(true),
            open: AtomicUsize::new(usize::try_from(count).expect("few")),
            cluster,
            workload,
            chance,
        });
        for number in 0..count {
            let clients = Arc::clone(&clients);
            tokio::spawn(async move {
                clients.execute(number).await;
                clients.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
        clients
    }

    /// From now on nothing is sent twice.
    pub fn heal(&self) {
        self.is_troubled.store(false, Ordering::Relaxed);
    }

    /// How many executions are not seen closed.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// One client: an execution after the other, with one id if it chose one.
    async fn execute(self: &Arc<Self>, number: u64) {
        let timeline = &self.cluster.world.timeline;
        timeline.wait(self.chance.spread(Duration::from_millis(10), Duration::from_mins(2))).await;
        let is_chosen = self.chance.happens(500);
        // A repeated start is recognised for a day, where its id was used again since.
        let lasts_days = self.cluster.world.lasts_days;
        let uses = if is_chosen && !lasts_days { self.chance.from(1, 3) } else { 1 };
        for turn in 0..uses {
            let workflow =
                &self.workload.definitions[self.chance.index(self.workload.definitions.len())];
            let chosen = || ExecutionId::chosen(&format!("order-{number}")).expect("an id");
            let request = StartRequest {
                version: self.chance.happens(500).then_some(1),
                execution: is_chosen.then(chosen),
                input: self.input(number),
                request: format!("start-{number}-{turn}"),
                timeout: self
                    .chance
                    .happens(100)
                    .then(|| self.chance.pick(&[Duration::from_secs(40), Duration::from_mins(5)])),
                ..StartRequest::of(&workflow.name)
            };
            let started = self.begin(&request).await;
            self.see_to_the_end(&started, &request.request).await;
            if !lasts_days {
                self.go_on(&request, &started.execution).await;
            }
        }
    }

    /// A workflow's input, some of which are too large for a commit.
    fn input(&self, number: u64) -> serde_json::Value {
        let bytes = if self.chance.happens(100) { 40_000 } else { 10 };
        json!({"order": number, "text": "x".repeat(bytes)})
    }

    pub(super) async fn begin(self: &Arc<Self>, request: &StartRequest) -> Started {
        let intent = request.request.clone();
        let send = |times: u64| {
            let (clients, mut request) = (Arc::clone(self), request.clone());
            if self.cluster.world.broken == Some(Broken::RequestsForgotten) {
                request.request = format!("{}-{times}", request.request);
            }
            async move {
                let place = clients.cluster.any();
                let start = |engine: Engine| async move { engine.start(request).await };
                clients.cluster.ask_shielded(place, PATIENCE, start).await
            }
        };
        if self.is_repeated("start sent twice at once") {
            let (again, clients, intent) = (send(0), Arc::clone(self), intent.clone());
            tokio::spawn(async move {
                let asked_ms = clients.cluster.world.now_ms();
                if let Ok(started) = again.await {
                    clients.cluster.world.audit.started(&intent, &started, asked_ms);
                }
            });
        }
        let mut times = 0;
        loop {
            times += 1;
            let asked_ms = self.cluster.world.now_ms();
            let answer = send(times).await;
            self.cluster.world.trace.note(|| match &answer {
                Ok(started) => format!("{intent} is run {}", started.run),
                Err(error) => format!("{intent}: {error:?}"),
            });
            match answer {
                Ok(started) => {
                    self.cluster.world.audit.started(&intent, &started, asked_ms);
                    return started;
                }
                // Somebody else's execution of that id is open; it closes.
                Err(error) if error.is_final() => {
                    let execution = request.execution.as_ref();
                    self.cluster.world.audit.not_started(
                        execution,
                        asked_ms,
                        &format!("{error:?}"),
                    );
                }
                Err(_) => {}
            }
            self.pause().await;
        }
    }

    /// Looks at the execution until it is closed, and approves what it waits for.
    pub(super) async fn see_to_the_end(self: &Arc<Self>, started: &Started, intent: &str) {
        let cancels = self.chance.happens(50);
        let mut looks = 0_u64;
        loop {
            self.pause().await;
            looks += 1;
            let Some(seen) = self.describe(&started.execution).await else { continue };
            if seen.state.run != started.run || seen.state.is_closed() {
                return;
            }
            if cancels && looks == 3 {
                self.cancel(&seen, &format!("cancel-{intent}")).await;
            }
            for (step, open) in &seen.state.open {
                if let Phase::Approval { since, .. } = open.phase
                    && self.chance.happens(500)
                {
                    let asked = format!("answer-{intent}-{step}-{since}");
                    self.answer(&seen, (step, open.iteration), &asked).await;
                }
            }
        }
    }

    async fn describe(&self, execution: &ExecutionId) -> Option<Description> {
        let audit = &self.cluster.world.audit;
        let before = audit.newest(execution.as_str());
        let asked = execution.clone();
        let describe =
            |engine: Engine| async move { engine.describe(&Namespace::default(), &asked).await };
        let seen = self.cluster.ask(self.cluster.any(), PATIENCE, describe).await;
        match seen {
            Ok(seen) => {
                audit.described(&seen.state, before);
                Some(seen)
            }
            Err(error) => {
                if error.is_final() {
                    let words = format!("{execution} is not described: {error:?}");
                    self.cluster.world.trace.fault(words);
                }
                None
            }
        }
    }

    /// Approves or rejects what waits.
    async fn answer(
        self: &Arc<Self>,
        seen: &Description,
        (step, iteration): (&str, u32),
        request: &str,
    ) {
        let approves = !self.chance.happens(100);
        let runs_again = approves && self.chance.happens(200);
        let response = if self.chance.happens(50) { "x".repeat(40_000) } else { String::new() };
        let response = json!({"approved": true, "text": response});
        let send = || {
            let clients = Arc::clone(self);
            let (execution, step) = (seen.state.execution.clone(), StepName::from(step));
            let request = request.to_owned();
            let place = if runs_again { self.cluster.any_new() } else { Some(self.cluster.any()) };
            let (run, response) = (seen.state.run, response.clone());
            async move {
                let Some(place) = place else { return Err(Unanswered::Silence) };
                let (asked, step_asked) = (request.clone(), step.clone());
                let answer = |engine: Engine| async move {
                    let (namespace, step) = (Namespace::default(), Some(step_asked));
                    if approves {
                        let yes = (response, runs_again);
                        engine.approve(&namespace, &execution, step, "ann", &asked, yes).await
                    } else {
                        engine.reject(&namespace, &execution, step, "ann", &asked, "no").await
                    }
                };
                let answer = clients.cluster.ask_shielded(place, PATIENCE, answer).await;
                let audit = &clients.cluster.world.audit;
                clients.cluster.world.trace.note(|| format!("{request}: {answer:?}"));
                match &answer {
                    Ok(_) => audit.applied(&request),
                    Err(Unanswered::No(error)) if error.is_final() => {
                        audit.does_not_wait(run, (&step, iteration), &error.to_string());
                    }
                    Err(_) => {}
                }
                answer
            }
        };
        if self.is_repeated("answer to an approval sent twice at once") {
            tokio::spawn(send());
        }
        for _ in 0..20 {
            match send().await {
                Ok(_) => return,
                Err(error) if error.is_final() => return,
                Err(_) => self.pause().await,
            }
        }
    }

    async fn cancel(self: &Arc<Self>, seen: &Description, request: &str) {
        let (execution, asked) = (seen.state.execution.clone(), request.to_owned());
        let cancel = |engine: Engine| async move {
            engine.cancel(&Namespace::default(), &execution, "bob", &asked, "enough").await
        };
        let answer = self.cluster.ask_shielded(self.cluster.any(), PATIENCE, cancel).await;
        let audit = &self.cluster.world.audit;
        match answer {
            Ok(Answer::Applied) => audit.applied(request),
            Err(Unanswered::No(error)) if error.is_final() => {
                audit.not_cancelled(seen.state.run, &error.to_string());
            }
            Ok(_) | Err(_) => {}
        }
    }

    pub(super) fn is_repeated(&self, what: &'static str) -> bool {
        let is_due = self.is_troubled.load(Ordering::Relaxed) && self.chance.happens(self.repeats);
        is_due && self.cluster.world.trace.befalls(what)
    }

    pub(super) async fn pause(&self) {
        let pause = self.chance.spread(Duration::from_millis(300), Duration::from_secs(20));
        self.cluster.world.timeline.wait(pause).await;
    }
}
