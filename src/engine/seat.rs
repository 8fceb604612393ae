//! Places of a worker on a stream: the commit of its report fills the place that the report leaves.
//!
//! A worker that polls is reserved its next task until its next poll; one on a stream has many tasks
//! at once, so each report waits on the board in its own place. No task is claimed by a commit of its
//! own while a report could have brought it.

use std::time::Duration;

use super::{Engine, Error, PollRequest, TaskForWorker, cut_off::Listening};
use crate::{
    dispatch::{Grant, PlaceNumber},
    workflow::{Namespace, TaskToken},
};

/// A place that waits for a task while its report is committed. Who leaves it while a task comes gives
/// that task back.
#[derive(Debug)]
pub struct Seat(Listening);

impl Seat {
    /// Which place on the board it is: the next task goes there with the report that names it.
    pub fn place(&self) -> PlaceNumber {
        self.0.place()
    }
}

impl Engine {
    /// Takes a place for the worker of `request`, before its report is submitted. Looks at nothing that
    /// is ready; costs nothing.
    pub async fn sit(&self, request: PollRequest) -> Seat {
        let poller = self.poller(request).await;
        let wait = self.inner.board.sit(&poller);
        Seat(Listening::new(self.clone(), poller, wait))
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
        let Seat(mut listening) = seat;
        match self.last_grant(&mut listening).await {
            Grant::Task(token, call) => {
                if let Some(task) = self.deliver_granted(listening.poller(), &token, *call).await? {
                    return Ok(Some(task));
                }
            }
            Grant::Leave => return Ok(None),
            Grant::Look => {}
        }
        self.next_task_while(listening.poller(), wait, is_wanted).await
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
