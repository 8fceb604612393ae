//! What clients ask for: executions of seven kinds, each request sent until it is answered.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use lazarus::proto::lazarus as v1;
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use tonic::Code;

use crate::{
    chance::Chance,
    client::structure,
    gates::Gates,
    ledger::{Ledger, Started, Told},
    workers::Finished,
};

/// How many executions are under way at once, at most.
const UNDER_WAY: usize = 112;
/// One start so often, at most.
const PACE: Duration = Duration::from_millis(12);
/// How long a client waits for an execution before it goes on with another one: those whose engine
/// died wait for a lease or a guard, and must not hold up the others.
const GIVEN_TIME: Duration = Duration::from_secs(3);
/// How long one that wants an id again waits until it is free.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a thousand starts, how many are sent again after they were answered.
const REPEATED_PER_MILLE: u64 = 100;
/// A request is sent until it is answered; this many tries are beyond any run.
const TRIES: u32 = 1_000;
/// How many executions are asked about at once.
const LOOKS_AT_ONCE: usize = 16;
/// The pause before a request that came too early is sent again.
const EARLY: Duration = Duration::from_millis(200);

/// A workflow: its name, how many of a hundred executions are of it, its steps.
type Workflow = (&'static str, u64, &'static [(&'static str, &'static [&'static str])]);

/// What each step does stands in `workers.rs`.
const WORKFLOWS: [Workflow; 7] = [
    ("single", 50, &[("last", &[])]),
    ("chain", 15, &[("first", &[]), ("last", &["first"])]),
    (
        "fan",
        8,
        &[
            ("split", &[]),
            ("left", &["split"]),
            ("right", &["split"]),
            ("last", &["left", "right"]),
        ],
    ),
    ("nap", 8, &[("doze", &[]), ("last", &["doze"])]),
    ("gate", 6, &[("ask", &[]), ("last", &["ask"])]),
    ("retry", 8, &[("flaky", &[]), ("last", &["flaky"])]),
    ("again", 5, &[("last", &[])]),
];

/// The step with which each of them ends.
pub const LAST_STEP: &str = "last";

/// The clients.
#[derive(Clone, Debug)]
pub struct Clients {
    pub gates: Gates,
    pub ledger: Arc<Ledger>,
    pub finished: Arc<Finished>,
}

impl Clients {
    /// Submits all workflows.
    pub async fn define(&self, chance: &Chance) {
        for (name, _, steps) in WORKFLOWS {
            let request = definition(name, steps);
            let put = self.gates.ask(chance, TRIES, |mut client| {
                let request = request.clone();
                async move { client.blueprints.put(request).await }
            });
            put.await.expect("a valid blueprint");
        }
    }

    /// Starts executions for `span`, and goes on until their clients have seen to them; how many.
    pub async fn start_all(&self, seed: u64, span: Duration) -> u64 {
        let (begun, under_way) = (Instant::now(), Arc::new(Semaphore::new(UNDER_WAY)));
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut clients = JoinSet::new();
        let mut number = 0;
        while begun.elapsed() < span {
            pace.tick().await;
            let permit = Arc::clone(&under_way).acquire_owned().await.expect("it is never closed");
            let this = self.clone();
            clients.spawn(async move {
                this.execute(seed, number).await;
                drop(permit);
            });
            number += 1;
            while clients.try_join_next().is_some() {}
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client does not panic");
        }
        number
    }

    /// One execution, from its start to its end.
    async fn execute(&self, seed: u64, number: u64) {
        let chance = Chance::new(seed, &format!("execution {number}"));
        let workflow = pick(&chance);
        // Half of them are given an id by the engine.
        let has_id = workflow == "again" || chance.happens(500);
        let request = v1::StartRequest {
            workflow: workflow.to_owned(),
            execution_id: if has_id { format!("{workflow}-{number}") } else { String::new() },
            request_id: format!("start-{number}"),
            input: Some(structure(json!({ "number": number }))),
            ..Default::default()
        };
        let Some(run) = self.start(&chance, &request).await else { return };
        if chance.happens(REPEATED_PER_MILLE) {
            self.start(&chance, &request).await;
        }
        self.wait(&run).await;
        if workflow == "again" {
            self.start_again(&chance, &request, number).await;
        }
    }

    /// Uses an id again, and sends the first request once more: it is that of the first run still.
    async fn start_again(&self, chance: &Chance, first: &v1::StartRequest, number: u64) {
        let next = v1::StartRequest { request_id: format!("again-{number}"), ..first.clone() };
        let begun = Instant::now();
        let run = loop {
            if let Some(run) = self.start(chance, &next).await {
                break run;
            }
            if begun.elapsed() > PATIENCE {
                return;
            }
            tokio::time::sleep(EARLY).await;
        };
        self.start(chance, first).await;
        self.wait(&run).await;
    }

    /// Starts; the run, none where the id is in use by another request.
    async fn start(&self, chance: &Chance, request: &v1::StartRequest) -> Option<String> {
        let asked = self.gates.ask(chance, TRIES, |mut client| {
            let request = request.clone();
            async move { client.executions.start(request).await }
        });
        let started = match asked.await {
            Ok(started) => started,
            Err(status) => {
                self.ledger.refuse(format!("{}: {status}", request.request_id));
                return None;
            }
        };
        if started.was_running {
            return None;
        }
        self.ledger.start(Started {
            execution: started.execution_id,
            request: request.request_id.clone(),
            generation: started.generation,
            run: started.run_id.clone(),
        });
        Some(started.run_id)
    }

    async fn wait(&self, run: &str) {
        // Not in time is no fault before all is healed.
        drop(tokio::time::timeout(GIVEN_TIME, self.finished.when(run)).await);
    }

    /// Approves each of `asked` once, as a person does who heard of it.
    pub async fn approve_all(self, seed: u64, mut asked: mpsc::UnboundedReceiver<String>) {
        let mut heard = std::collections::HashSet::new();
        let mut people = JoinSet::new();
        while let Some(execution) = asked.recv().await {
            if heard.insert(execution.clone()) {
                let this = self.clone();
                people.spawn(async move { this.approve(seed, execution).await });
            }
        }
    }

    async fn approve(&self, seed: u64, execution: String) {
        let chance = Chance::new(seed, &execution);
        let request = v1::ApproveRequest {
            execution_id: execution.clone(),
            step: "ask".to_owned(),
            by: "soak".to_owned(),
            request_id: format!("ok-{execution}"),
            ..Default::default()
        };
        loop {
            let asked = self.gates.ask(&chance, TRIES, |mut client| {
                let request = request.clone();
                async move { client.executions.approve(request).await }
            });
            match asked.await {
                Ok(_) => {
                    let request = request.request_id.clone();
                    return self.ledger.tell(Told::Approval { execution, request });
                }
                // The worker's request to be approved is not in the log yet.
                Err(status) if status.code() == Code::FailedPrecondition => {
                    tokio::time::sleep(EARLY).await;
                }
                Err(status) => return self.ledger.refuse(format!("{execution}: {status}")),
            }
        }
    }

    /// Waits until every run that was acknowledged is over, at most `within`; those that are not.
    pub async fn settle(&self, chance: &Chance, within: Duration) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let started = self.ledger.started();
            let missing = self.finished.missing(started.iter().map(|start| start.run.clone()));
            let open: Vec<_> =
                started.iter().filter(|start| missing.contains(&start.run)).collect();
            // A result that arrived and whose answer did not: only the engine knows.
            let looks =
                futures::stream::iter(&open).for_each_concurrent(LOOKS_AT_ONCE, async |start| {
                    if self.is_over(chance, start).await {
                        self.finished.finish(&start.run);
                    }
                });
            looks.await;
            if open.is_empty() {
                return vec![];
            }
            if begun.elapsed() > within {
                return open.iter().map(|start| start.execution.clone()).collect();
            }
            tokio::time::sleep(EARLY).await;
        }
    }

    async fn is_over(&self, chance: &Chance, start: &Started) -> bool {
        let request =
            v1::DescribeRequest { execution_id: start.execution.clone(), ..Default::default() };
        let described = self.gates.ask(chance, 3, |mut client| {
            let request = request.clone();
            async move { client.executions.describe(request).await }
        });
        let Ok(v1::DescribeResponse { execution: Some(found), .. }) = described.await else {
            return false;
        };
        // A later run of the id was begun only after this one had closed.
        found.run_id != start.run || found.closed_at.is_some()
    }
}

fn pick(chance: &Chance) -> &'static str {
    let mut lot = chance.from(0, 100);
    for (name, of_hundred, _) in WORKFLOWS {
        if lot < of_hundred {
            return name;
        }
        lot -= of_hundred;
    }
    unreachable!("the shares are a hundred")
}

fn definition(name: &str, steps: &[(&str, &[&str])]) -> v1::PutBlueprintRequest {
    let retry = v1::BlueprintRetry {
        initial_delay_ms: 100,
        factor_percent: 150,
        max_delay_ms: 1_000,
        ..Default::default()
    };
    let step = |(step, depends_on): &(&str, &[&str])| v1::BlueprintStep {
        name: (*step).to_owned(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        retry: (*step == "flaky").then_some(retry.clone()),
        ..Default::default()
    };
    v1::PutBlueprintRequest {
        name: name.to_owned(),
        steps: steps.iter().map(step).collect(),
        ..Default::default()
    }
}
