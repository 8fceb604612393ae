//! Places of a worker on a stream: the commit of its report fills the place that the report leaves.
//!
//! A worker that polls is reserved its next task until its next poll; one on a stream has many tasks
//! at once, so each report waits on the board in its own place. No task is claimed by a commit of its
//! own while a report could have brought it.

use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;

use super::{Engine, Error, PollRequest, TaskForWorker};
use crate::{
    dispatch::{Grant, Poller, Wait},
    workflow::{Answer, Namespace, Outcome, TaskToken},
};

/// A place that waits for a task while its report is committed.
#[derive(Debug)]
pub struct Seat {
    poller: Poller,
    wait: Wait,
}

/// What became of a place once its report is committed.
#[derive(Debug)]
pub enum Place {
    /// That commit gave it a task.
    Filled(Box<TaskForWorker>),
    /// It is still to be polled from.
    Free(Seat),
}

impl Engine {
    /// Takes a place for the worker of `request`, before its report is submitted. Looks at nothing that
    /// is ready; costs nothing.
    pub async fn sit(&self, request: PollRequest) -> Seat {
        let poller = self.poller(request).await;
        self.seat(poller)
    }

    /// As [`Engine::submit_outcome`], for a worker that waits in `seat` for what this makes ready; gives
    /// what became of that place too. The latter is an error where the arguments of its task could not be
    /// read; the task is kept for the worker's next poll then.
    pub async fn submit_from(
        &self,
        seat: Seat,
        token: &TaskToken,
        outcome: Outcome,
    ) -> (Result<Answer, Error>, Result<Place, Error>) {
        let place = Some(seat.wait.number);
        let submitted = self.submit_at(place, token, &seat.poller.worker, outcome).await;
        (submitted, self.filled(seat).await)
    }

    /// Whether the commit of the report, which is over, has filled the place.
    async fn filled(&self, seat: Seat) -> Result<Place, Error> {
        let Seat { poller, mut wait } = seat;
        match wait.granted.try_recv() {
            Ok(Grant::Task(token, call)) => {
                match self.deliver_granted(&poller, &token, *call).await? {
                    Some(task) => Ok(Place::Filled(Box::new(task))),
                    // What was granted is over: the next look takes another place.
                    None => Ok(Place::Free(self.seat(poller))),
                }
            }
            Ok(Grant::Look | Grant::Leave) => Ok(Place::Free(self.seat(poller))),
            Err(TryRecvError::Empty | TryRecvError::Closed) => {
                Ok(Place::Free(Seat { poller, wait }))
            }
        }
    }

    fn seat(&self, poller: Poller) -> Seat {
        let wait = self.inner.board.sit(&poller);
        Seat { poller, wait }
    }

    /// The task that the place was granted, or else the next one, as [`Engine::poll_while`] gives it
    /// within `wait`. Cancel-safe; costs what a poll costs.
    ///
    /// # Errors
    ///
    /// As [`Engine::poll`].
    pub async fn poll_from(
        &self,
        seat: Seat,
        wait: Duration,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<TaskForWorker>, Error> {
        let Seat { poller, wait: seated } = seat;
        match self.last_grant(seated).await {
            Grant::Task(token, call) => {
                if let Some(task) = self.deliver_granted(&poller, &token, *call).await? {
                    return Ok(Some(task));
                }
            }
            Grant::Leave => return Ok(None),
            Grant::Look => {}
        }
        self.next_task_while(&poller, wait, is_wanted).await
    }

    /// Takes back what this instance, or one before it, has handed to `worker`, but for what it is still
    /// at: for its next polls. For a worker that comes back and has forgotten the rest, or never heard
    /// of it. What is found in logs later on is taken back as well.
    pub fn take_back_all_but(&self, namespace: &Namespace, worker: &str, running: &[TaskToken]) {
        let now = self.inner.env.now();
        for token in self.inner.board.came(namespace, worker, running, now) {
            self.keep_for_next_poll(namespace, worker, token, now);
        }
    }

    /// Resolves when this instance begins to go down.
    pub async fn shutting_down(&self) {
        self.inner.closing.cancelled().await;
    }
}
