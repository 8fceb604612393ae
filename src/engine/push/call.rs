//! One call of a target with a task that is leased to it, and what becomes of the task.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};

use super::lane::Lane;
use crate::{
    engine::{Engine, Error, TaskForWorker},
    push::{Answer, Caller, Delivery, Pass, Undelivered},
    workflow::{Command, Namespace, Submission, TaskToken, Timestamp},
};

/// The pauses between tries to put down a result that the store did not take: each try is a minute
/// long by itself.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];

impl Engine {
    /// Calls the lane's target with `task`, and puts down what it answers; `until`: when the caller of
    /// this must be done. Costs 1 PUT for the result, as any submission does, or 1 to give the task back.
    pub(super) async fn call(
        &self,
        lane: &Lane,
        caller: &dyn Caller,
        task: TaskForWorker,
        pass: Pass,
        until: Option<Timestamp>,
    ) {
        let token = task.token;
        let now = self.inner.env.now();
        let lease = task.lease_until.since(now);
        // What was taken in the moment in which the breaker opened, or the instance began to go down.
        if self.inner.closing.is_cancelled() || !lane.is_wanted(pass) {
            self.give_back(lane, &token, "was not called: it is left alone for now").await;
            lane.unused(pass, now);
            return;
        }
        let delivery = Delivery {
            token: token.clone(),
            queue: lane.queue.name.clone(),
            worker: lane.poller.worker.clone(),
            execution: task.execution,
            workflow: task.workflow,
            inputs: task.inputs,
            lease_until: task.lease_until,
            sent: now,
        };
        let left = until.map_or(Duration::MAX, |until| until.since(now));
        let timeout = lane.queue.timeout().min(left);
        let in_flight = lane.begin();
        let call = caller.call(&lane.queue, &delivery, now, timeout);
        let answered = self.while_leased(lane, &token, lease, call).await;
        drop(in_flight);
        match answered {
            Ok(answer) => {
                lane.succeeded();
                match answer {
                    Answer::Ended(submission) => self.hand_in(lane, &token, submission).await,
                    Answer::Accepted => self.entrust(lane, &token).await,
                }
            }
            Err(Undelivered { reason, pause }) => {
                count("undelivered");
                let chance = self.random_u64();
                lane.failed(self.inner.env.now(), &reason, pause, |bound| chance % bound);
                self.give_back(lane, &token, &reason).await;
            }
        }
    }

    /// Waits for the answer, and shows signs of life in the worker's place meanwhile.
    async fn while_leased(
        &self,
        lane: &Lane,
        token: &TaskToken,
        lease: Duration,
        call: impl Future<Output = Result<Answer, Undelivered>>,
    ) -> Result<Answer, Undelivered> {
        let beat = (lease / 3).max(Duration::from_millis(100));
        let mut call = pin!(call);
        loop {
            match select(call.as_mut(), self.inner.env.sleep(beat)).await {
                Either::Left((answer, _)) => return answer,
                Either::Right(((), _)) => self.show_life(lane, token).await,
            }
        }
    }

    async fn show_life(&self, lane: &Lane, token: &TaskToken) {
        let (namespace, worker) = name(lane);
        if let Err(error) = self.heartbeat(namespace, worker, Some(token), None).await {
            tracing::debug!(%token, %error, "the lease of a push target was not extended");
        }
    }

    /// A worker has the task, and reports its result by the task's id.
    async fn entrust(&self, lane: &Lane, token: &TaskToken) {
        count("accepted");
        // It begins with at least half a lease.
        self.show_life(lane, token).await;
        let (namespace, worker) = name(lane);
        self.let_go(namespace, worker, token);
    }

    /// Puts a result down, for a target that can not send it again.
    async fn hand_in(&self, lane: &Lane, token: &TaskToken, submission: Submission) {
        let is_failure = matches!(submission, Submission::Failed(_));
        count(if is_failure { "failed" } else { "done" });
        let (_, worker) = name(lane);
        for pause in PAUSES {
            match self.submit(token, worker, submission.clone()).await {
                Ok(_) => return,
                Err(error) if error.is_final() => return too_late(token, &error),
                Err(error) => {
                    tracing::warn!(%token, %error, "a push target's result was not taken; it is sent again");
                    self.inner.env.sleep(pause).await;
                }
            }
        }
        if let Err(error) = self.submit(token, worker, submission).await {
            tracing::warn!(%token, %error, "a push target's result is lost; its step runs again");
        }
    }

    /// Gives a task back that no worker has taken.
    async fn give_back(&self, lane: &Lane, token: &TaskToken, reason: &str) {
        let (_, worker) = name(lane);
        let command = Command::ReturnTask {
            task: token.task.clone(),
            worker: worker.to_owned(),
            reason: reason.to_owned(),
        };
        match self.report(worker, token, command).await {
            Ok(_) => {}
            Err(error) if error.is_final() => too_late(token, &error),
            Err(error) => {
                tracing::warn!(%token, %error, "a task was not given back; the end of its lease does that");
            }
        }
    }
}

fn name(lane: &Lane) -> (&Namespace, &str) {
    (&lane.poller.namespace, &lane.poller.worker)
}

/// Somebody else's result counts, or the execution is over.
fn too_late(token: &TaskToken, error: &Error) {
    tracing::debug!(%token, %error, "a push target's attempt is over already");
}

fn count(outcome: &'static str) {
    metrics::counter!("lazarus_push_calls_total", "outcome" => outcome).increment(1);
}
