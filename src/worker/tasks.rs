//! What a worker has in hand: calls that run, and reports that are not acknowledged.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::task::{Id, JoinError, JoinSet};

use super::step::{Call, Failed, Output, Step, missing, report};
use crate::{
    env::Env,
    proto::lazarus::{Report, WorkTask},
    workflow::Timestamp,
};

/// The kind of failure as which a result counts that the engine can not read.
const REFUSED: &str = "result_refused";

/// A call that runs.
#[derive(Debug)]
struct Running {
    token: String,
    /// How long its lease was when it came.
    lease: Duration,
    /// When the next sign of life is due.
    beat_at: Timestamp,
}

/// All of it. Survives the connection.
pub(super) struct Tasks {
    steps: HashMap<String, Arc<dyn Step>>,
    env: Arc<dyn Env>,
    calls: JoinSet<Result<Output, Failed>>,
    running: HashMap<Id, Running>,
    reported: HashMap<String, Report>,
}

impl Tasks {
    pub(super) fn new(steps: HashMap<String, Arc<dyn Step>>, env: Arc<dyn Env>) -> Self {
        Self {
            steps,
            env,
            calls: JoinSet::new(),
            running: HashMap::new(),
            reported: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.reported.is_empty()
    }

    /// The names of the steps.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.steps.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The tokens of everything in hand.
    pub(super) fn tokens(&self) -> Vec<String> {
        let running = self.running.values().map(|running| running.token.clone());
        running.chain(self.reported.keys().cloned()).collect()
    }

    /// The reports that nobody acknowledged.
    pub(super) fn reported(&self) -> Vec<Report> {
        self.reported.values().cloned().collect()
    }

    /// Begins `task`; gives a report at once where there is nothing to run. One that runs already is
    /// not begun again.
    pub(super) fn begin(&mut self, task: WorkTask) -> Option<Report> {
        if self.running.values().any(|running| running.token == task.token) {
            return None;
        }
        if let Some(report) = self.reported.get(&task.token) {
            return Some(report.clone());
        }
        let Some(step) = self.steps.get(&task.step) else {
            return Some(self.keep(missing(task.token)));
        };
        let call = match Call::of(&task) {
            Ok(call) => call,
            Err(failed) => return Some(self.keep(report(task.token, Err(failed)))),
        };
        let now = self.env.now();
        let until = task.lease_until.map_or(0, |it| it.seconds * 1_000);
        let lease = Timestamp::from_millis(u64::try_from(until).unwrap_or(0)).since(now);
        let id = self.calls.spawn(step.call(call)).id();
        let running = Running { token: task.token, lease, beat_at: now.after(lease / 3) };
        self.running.insert(id, running);
        None
    }

    /// The report of the next call that ends; waits for ever where none runs.
    pub(super) async fn next(&mut self) -> Report {
        let (id, outcome) = match self.calls.join_next_with_id().await {
            Some(Ok((id, outcome))) => (id, outcome),
            Some(Err(error)) => (error.id(), Err(panicked(error))),
            None => std::future::pending().await,
        };
        let running = self.running.remove(&id).expect("BUG: a call that nobody began");
        self.keep(report(running.token, outcome))
    }

    fn keep(&mut self, report: Report) -> Report {
        self.reported.insert(report.token.clone(), report.clone());
        report
    }

    /// An engine has answered a report for good.
    pub(super) fn acknowledged(&mut self, token: &str) {
        self.reported.remove(token);
    }

    /// Turns the report under `token`, which the engine can not read, into a failure; false where that
    /// was done before.
    pub(super) fn fail_instead(&mut self, token: &str, why: &str) -> bool {
        let Some(before) = self.reported.get(token) else { return false };
        let failed = report(token.to_owned(), Err(Failed::of(REFUSED, why)));
        if before.outcome == failed.outcome {
            return false;
        }
        self.keep(failed);
        true
    }

    /// The report under `token`, if it is still to be acknowledged.
    pub(super) fn report_of(&self, token: &str) -> Option<Report> {
        self.reported.get(token).cloned()
    }

    /// The tokens of calls whose engine should hear that they still run: each once in a third of its
    /// lease.
    pub(super) fn beats(&mut self) -> Vec<String> {
        let now = self.env.now();
        let due = self.running.values_mut().filter(|running| running.beat_at <= now);
        let beat = |running: &mut Running| {
            running.beat_at = now.after(running.lease / 3);
            running.token.clone()
        };
        due.map(beat).collect()
    }
}

fn panicked(error: JoinError) -> Failed {
    let payload = error.try_into_panic().ok();
    let text = payload.as_ref().and_then(|it| {
        it.downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| it.downcast_ref::<&str>().copied())
    });
    Failed::of("panic", text.unwrap_or("the step panicked"))
}
