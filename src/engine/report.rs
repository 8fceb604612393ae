//! What workers say of the tasks that they have: results and signs of life.

use super::{Engine, Error};
use crate::{
    dispatch::{Board, PlaceNumber},
    workflow::{Answer, Command, Namespace, Outcome, Submission, TaskToken},
};

impl Engine {
    /// How an attempt ended. Answers once it is in the log; the same submission again gets the same
    /// answer. Costs 1 PUT, in which the lease of the worker's next task rides.
    ///
    /// # Errors
    ///
    /// * [`Error::Rejected`]: another attempt's result counts, or the execution is closed.
    /// * [`Error::NotFound`]: there is no such run.
    /// * [`Error::Log`]: `Unknown` and `Unavailable`: send the same submission again.
    pub async fn submit(
        &self,
        token: &TaskToken,
        worker: &str,
        submission: Submission,
    ) -> Result<Answer, Error> {
        self.submit_outcome(token, worker, Outcome::of(submission, &token.task.step)).await
    }

    /// As [`Engine::submit`], where the worker says what it means.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`].
    pub async fn submit_outcome(
        &self,
        token: &TaskToken,
        worker: &str,
        outcome: Outcome,
    ) -> Result<Answer, Error> {
        self.submit_at(None, token, worker, outcome).await
    }

    /// As [`Engine::submit_outcome`], from a [`Seat`](super::Seat) of the worker: what this makes ready
    /// goes there first.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`].
    pub async fn submit_at(
        &self,
        place: Option<PlaceNumber>,
        token: &TaskToken,
        worker: &str,
        outcome: Outcome,
    ) -> Result<Answer, Error> {
        let (task, by) = (token.task.clone(), worker.to_owned());
        let command = Command::SubmitResult { task, worker: by, outcome };
        self.report_at(place, worker, token, command).await
    }

    /// Commits what became of `worker`'s task. One whose report was not taken, and is not refused for
    /// good, is the worker's still: it sends the report again, or its next poll says that it does not.
    pub(super) async fn report(
        &self,
        worker: &str,
        token: &TaskToken,
        command: Command,
    ) -> Result<Answer, Error> {
        self.report_at(None, worker, token, command).await
    }

    async fn report_at(
        &self,
        place: Option<PlaceNumber>,
        worker: &str,
        token: &TaskToken,
        command: Command,
    ) -> Result<Answer, Error> {
        let reporting = Reporting::begin(&self.inner.board, worker, token);
        let reported = self.handle_from(place, &token.handle, command).await;
        let may_come_again = reported.as_ref().is_err_and(|error| !error.is_final());
        if !may_come_again {
            reporting.over();
        }
        Ok(reported?.0)
    }

    /// A worker's sign of life: extends the lease on `task`, or, without one, on all that it holds
    /// here, if it polls on `connection`. Costs 1 PUT for a lease of which under half is left.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: by what the log says must be done.
    pub async fn heartbeat(
        &self,
        namespace: &Namespace,
        worker: &str,
        task: Option<&TaskToken>,
        connection: Option<&str>,
    ) -> Result<(), Error> {
        let tokens = match task {
            Some(token) => vec![token.clone()],
            None => self.inner.board.held_by(namespace, worker, connection),
        };
        for token in tokens {
            let command =
                Command::ExtendLease { task: token.task.clone(), worker: worker.to_owned() };
            match self.handle(&token.handle, command).await {
                Ok(_) => {}
                // A lease that is gone can not be extended, and its worker can not help it.
                Err(error) if error.is_final() => self.let_go(namespace, worker, &token),
                Err(error) => return Err(Error::Shared(error)),
            }
        }
        Ok(())
    }
}

/// A report under way; one that is cut off leaves the task in its worker's hands.
struct Reporting<'a> {
    board: &'a Board,
    worker: &'a str,
    token: &'a TaskToken,
    is_over: bool,
}

impl<'a> Reporting<'a> {
    fn begin(board: &'a Board, worker: &'a str, token: &'a TaskToken) -> Self {
        board.report(&token.handle.namespace, worker, token);
        Self { board, worker, token, is_over: false }
    }

    /// The task is not the worker's any more.
    fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        let namespace = &self.token.handle.namespace;
        self.board.reported(namespace, self.worker, self.token, !self.is_over);
    }
}
