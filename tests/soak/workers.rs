//! The workers: they poll any engine, do what a step is named after, and send what it came to.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lazarus::proto::cerebelum as wire;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::{
    chance::Chance,
    client::{Done, structure},
    gates::Gates,
    ledger::{Ledger, Told, count},
    workload::LAST_STEP,
};

/// How long a poll is held.
const POLL: Duration = Duration::from_millis(1_500);
/// How long a worker waits for a poll's answer.
const POLL_MAX: Duration = Duration::from_secs(4);
/// How often a result is sent before its worker lets it go: the step then runs again.
const TRIES: u32 = 8;
/// Of a thousand steps, how many take longer than their lease.
const LATE_PER_MILLE: u64 = 2;
const LATE: Duration = Duration::from_secs(6);
/// Of a thousand runs of `flaky`, how many fail.
const FLAKY_PER_MILLE: u64 = 400;

/// What workers share.
#[derive(Clone, Debug)]
pub struct Shop {
    pub gates: Gates,
    pub ledger: Arc<Ledger>,
    pub finished: Arc<Finished>,
    /// Executions whose `ask` waits for a person, or soon will; each at least once.
    pub asked: mpsc::UnboundedSender<String>,
}

/// Runs of which the last step's result was acknowledged.
#[derive(Debug, Default)]
pub struct Finished(Mutex<HashMap<String, Option<oneshot::Sender<()>>>>);

impl Finished {
    pub fn finish(&self, run: &str) {
        let waiting = self.runs().insert(run.to_owned(), None).flatten();
        // Whoever waited may have given up.
        if let Some(waiting) = waiting {
            _ = waiting.send(());
        }
    }

    /// Resolves when the run is finished.
    pub fn when(&self, run: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut runs = self.runs();
        if let Some(None) = runs.get(run) {
            _ = sender.send(());
        } else {
            runs.insert(run.to_owned(), Some(sender));
        }
        receiver
    }

    /// Those of `runs` that are not.
    pub fn missing(&self, runs: impl Iterator<Item = String>) -> BTreeSet<String> {
        let finished = self.runs();
        runs.filter(|run| !matches!(finished.get(run), Some(None))).collect()
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<oneshot::Sender<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until it is aborted.
pub async fn work(shop: Shop, seed: u64, number: usize) {
    let chance = Chance::new(seed, &format!("worker {number}"));
    let worker = format!("worker-{number}");
    let mut gate = shop.gates.any(&chance);
    loop {
        let timeout_ms = i32::try_from(POLL.as_millis()).expect("short");
        let request = wire::PollRequest { worker_id: worker.clone(), timeout_ms };
        let polled =
            tokio::time::timeout(POLL_MAX, gate.client.worker.poll_for_task(request)).await;
        match polled {
            Ok(Ok(task)) if !task.get_ref().task_id.is_empty() => {
                shop.run(&chance, &worker, task.into_inner()).await;
            }
            Ok(Ok(_)) => gate = shop.gates.any(&chance),
            Ok(Err(_)) | Err(_) => {
                shop.gates.shun(&gate);
                gate = shop.gates.any(&chance);
                tokio::time::sleep(Duration::from_millis(chance.from(5, 100))).await;
            }
        }
    }
}

impl Shop {
    /// Does a task, and sends what it came to until that is answered.
    async fn run(&self, chance: &Chance, worker: &str, task: wire::Task) {
        count(&self.ledger.steps);
        let mark = format!("mark-{:016x}", chance.bits());
        let done = self.done(chance, &task, &mark);
        let is_failure = matches!(done, Done::Failure(_));
        let mut result = done.result(worker, &task);
        if let Some(error) = &mut result.error {
            error.message.clone_from(&mark);
        }
        if let Some(asked) = &mut result.approval_request {
            asked.data = Some(structure(json!({ "mark": mark })));
        }
        if chance.happens(LATE_PER_MILLE) {
            tokio::time::sleep(LATE).await;
        }
        self.ledger.send(&task.task_id, &mark);
        let sent = self.gates.ask(chance, TRIES, |mut client| {
            let result = result.clone();
            async move { client.worker.submit_result(result).await }
        });
        match sent.await {
            Ok(ack) if ack.success => self.tell(&task, is_failure),
            Ok(_) => count(&self.ledger.superseded),
            Err(status) if crate::gates::is_worth_a_retry(&status) => {}
            Err(status) => self.ledger.refuse(format!("{}: {status}", task.task_id)),
        }
    }

    fn done(&self, chance: &Chance, task: &wire::Task, mark: &str) -> Done {
        match task.step_name.as_str() {
            "doze" => {
                let millis = i64::try_from(chance.from(200, 3_000)).expect("short");
                Done::Sleep { millis, data: json!({ "mark": mark }) }
            }
            "ask" => {
                // Before it is sent: the answer may be lost, and the request not.
                drop(self.asked.send(task.execution_id.clone()));
                Done::Approval { timeout_ms: 0 }
            }
            "flaky" if chance.happens(FLAKY_PER_MILLE) => Done::Failure("busy"),
            _ => Done::Success(json!({ "mark": mark })),
        }
    }

    fn tell(&self, task: &wire::Task, is_failure: bool) {
        let Some(run) = run_of(task) else {
            return self.ledger.refuse(format!("{}: no idempotency key", task.task_id));
        };
        let (step, token) = (task.step_name.clone(), task.task_id.clone());
        if step == LAST_STEP {
            self.finished.finish(&run);
        }
        self.ledger.tell(if is_failure {
            Told::Failure { run, step, token }
        } else {
            Told::Report { run, step, token }
        });
    }
}

/// The run of a task: the first part of its idempotency key.
fn run_of(task: &wire::Task) -> Option<String> {
    let context = crate::client::json(task.context.as_ref()?);
    Some(context["idempotency_key"].as_str()?.split('/').next()?.to_owned())
}
