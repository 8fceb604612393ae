//! Gives tasks to workers that poll.

use std::{sync::Arc, time::Duration};

use futures::future::{Either, select};

use super::{
    Engine, Error, PollRequest, TaskForWorker, WorkerRecord,
    cache::Loaded,
    cut_off::{InHand, Listening, Untold},
};
use crate::{
    dispatch::{Grant, Held, Match, Offer, Poller, Ready},
    workflow::{Answer, Call, Command, Handle, Namespace, Rejection, Task, TaskToken, Timestamp},
};

/// A waiting poll looks for itself at least this often, should it have missed a word.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much longer than it asked a poll waits for a commit that is to give it a task.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

impl Engine {
    /// Remembers a worker. Costs 1 PUT when its record says something new.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: remembered here, but not by other instances; register again.
    pub async fn register(&self, record: WorkerRecord) -> Result<(), Error> {
        Ok(self.inner.workers.register(record).await?)
    }

    /// Forgets a worker. Costs 1 DELETE.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: forgotten here, but its record is still in the store.
    pub async fn unregister(&self, namespace: &Namespace, worker: &str) -> Result<(), Error> {
        Ok(self.inner.workers.unregister(namespace, worker).await?)
    }

    /// The next task for a worker; none when its wait passed without one.
    ///
    /// The task's lease stands in the log before this answers. Cancel-safe: a task that was taken but
    /// not answered is handed out again, at the worker's next poll or when its lease ends. Costs
    /// nothing when the lease rode in another commit; else 1 PUT to claim, and 1 LIST a scan where
    /// instances share the store.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: by what the log says must be done; polling again is always right.
    pub async fn poll(&self, request: PollRequest) -> Result<Option<TaskForWorker>, Error> {
        self.poll_while(request, || true).await
    }

    /// As [`Engine::poll`], while `is_wanted` says so: it is asked each second at least, and when the
    /// worker's polls are sent away ([`Engine::send_away`]). A task that is the worker's by then is
    /// given all the same.
    ///
    /// # Errors
    ///
    /// As [`Engine::poll`].
    pub async fn poll_while(
        &self,
        request: PollRequest,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<TaskForWorker>, Error> {
        let wait = request.wait;
        let poller = self.poller(request).await;
        if !self.inner.memory.is_on() {
            // What makes tasks ready is mostly another process, and this one may have stood still.
            self.inner.offers.look_now();
        }
        self.next_task_while(&poller, wait, is_wanted).await
    }

    /// Sends the polls of a worker away that wait, with nothing: it takes no more tasks.
    pub fn send_away(&self, namespace: &Namespace, worker: &str) {
        self.inner.board.send_away(namespace, worker);
    }

    /// Who polls, noted as one that does.
    pub(super) async fn poller(&self, request: PollRequest) -> Poller {
        let PollRequest { namespace, worker, wait: _, connection } = request;
        let now = self.inner.env.now();
        let record = self.inner.workers.polled(&namespace, &worker, now).await;
        let poller = Poller { namespace, worker, record, scope: None, connection };
        self.inner.board.polled(&poller, now);
        poller
    }

    /// The next task for a poller, while `is_wanted` says so: it is asked each second at least.
    pub(super) async fn next_task_while(
        &self,
        poller: &Poller,
        wait: Duration,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<TaskForWorker>, Error> {
        let until = self.inner.env.now().after(wait);
        loop {
            if !is_wanted() {
                return Ok(None);
            }
            if let Some(task) = self.take_back(poller).await? {
                return Ok(Some(task));
            }
            let now = self.inner.env.now();
            let wait = match self.inner.board.take_ready_or_wait(poller, now) {
                Ok((ready, fit)) => match Box::pin(self.claim(poller, ready, fit)).await? {
                    Some(task) => return Ok(Some(task)),
                    None => continue,
                },
                Err(wait) => wait,
            };
            let mut listening = Listening::new(self.clone(), poller.clone(), wait);
            let left = until.since(now);
            if left.is_zero() {
                return Ok(None);
            }
            self.scan_offers().await;
            let slice = left.min(LOOK_EVERY).min(self.scan_pause());
            let granted = &mut listening.wait.granted;
            let grant = match select(granted, self.inner.env.sleep(slice)).await {
                Either::Left((grant, _)) => grant.unwrap_or(Grant::Look),
                Either::Right(((), _)) => self.last_grant(&mut listening).await,
            };
            match grant {
                Grant::Task(token, call) => {
                    if let Some(task) = self.deliver_granted(poller, &token, *call).await? {
                        return Ok(Some(task));
                    }
                }
                Grant::Leave => return Ok(None),
                Grant::Look => {}
            }
        }
    }

    /// What a poll is granted that has waited long enough: something only if a commit that gives it a
    /// task is under way. If it left, the task would wait for a worker that is told of nothing.
    pub(super) async fn last_grant(&self, Listening { wait, .. }: &mut Listening) -> Grant {
        if let Ok(grant) = wait.granted.try_recv() {
            return grant;
        }
        if self.inner.board.withdraw(wait) {
            return Grant::Look;
        }
        match select(&mut wait.granted, self.inner.env.sleep(HAND_OVER_MAX)).await {
            Either::Left((grant, _)) => grant.unwrap_or(Grant::Look),
            Either::Right(((), _)) => {
                // Whatever was granted in this very moment still counts.
                wait.granted.close();
                wait.granted.try_recv().unwrap_or(Grant::Look)
            }
        }
    }

    /// How many polls wait here: so many steps that become ready are handed out at once.
    pub fn waiting_polls(&self) -> usize {
        self.inner.board.waiting()
    }

    /// A task that is the worker's already, under a lease that runs.
    async fn take_back(&self, poller: &Poller) -> Result<Option<TaskForWorker>, Error> {
        while let Some(held) = self.inner.board.take_held(poller) {
            let token = held.token.clone();
            // What was handed out before may have its result by now, through another instance or from
            // another poll; and a run that closed is not in memory.
            let anew = !held.is_reserved();
            // While it is read no other poll of the worker may take it; if this one is cut off, one may.
            let in_hand = InHand::new(&self.inner.board, poller, held);
            let delivered = self.deliver(poller, &token, anew).await;
            in_hand.let_go();
            if let Some(task) = delivered? {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// Claims a ready task for the poller; none: somebody else has it, or it is over.
    async fn claim(
        &self,
        poller: &Poller,
        ready: Ready,
        fit: Match,
    ) -> Result<Option<TaskForWorker>, Error> {
        let (ready, fit) = match ready.blueprint {
            Some(_) => (ready, fit),
            None => match self.judge(poller, ready).await? {
                Some(judged) => judged,
                None => return Ok(None),
            },
        };
        let engine = self.clone();
        let (namespace, worker) = (poller.namespace.clone(), poller.worker.clone());
        // The commit is finished, and the task noted as held, even if this poll is cut off.
        let claimed =
            self.finish(async move { engine.claim_whole(&namespace, &worker, ready, fit).await });
        let Some((token, is_new)) = claimed.await? else { return Ok(None) };
        // Another poll may have had it before this one, and reported it meanwhile.
        self.deliver(poller, &token, !is_new).await
    }

    /// The task under a token that is the poller's, noted as handed out. One that can not be read now
    /// is kept for the worker's next poll; one that is the worker's no more is let go.
    pub(super) async fn deliver(
        &self,
        poller: &Poller,
        token: &TaskToken,
        anew: bool,
    ) -> Result<Option<TaskForWorker>, Error> {
        let task = self.task_of(&poller.worker, token, anew).await;
        self.delivered(poller, token, task)
    }

    /// As [`Engine::deliver`], of a task that a commit has just given the poller.
    pub(super) async fn deliver_granted(
        &self,
        poller: &Poller,
        token: &TaskToken,
        call: Call,
    ) -> Result<Option<TaskForWorker>, Error> {
        let untold = Untold::new(self, poller, token);
        let task = self.task_under(token, call).await;
        untold.let_go();
        match task {
            // It is noted as handed out since that commit.
            Ok(Some(task)) => Ok(Some(task)),
            other => self.delivered(poller, token, other),
        }
    }

    fn delivered(
        &self,
        poller: &Poller,
        token: &TaskToken,
        task: Result<Option<TaskForWorker>, Error>,
    ) -> Result<Option<TaskForWorker>, Error> {
        let Poller { namespace, worker, .. } = poller;
        match task {
            Err(error) if error.is_of_one_run() => {
                self.let_go(namespace, worker, token);
                Ok(pass_over(&token.handle, &error))
            }
            Ok(Some(task)) => {
                self.inner.board.hold(namespace, worker, Held::delivered(token.clone()));
                Ok(Some(task))
            }
            Ok(None) => {
                self.let_go(namespace, worker, token);
                Ok(None)
            }
            Err(error) => {
                self.keep_for_next_poll(namespace, worker, token.clone(), self.inner.env.now());
                Err(error)
            }
        }
    }

    /// How well the poller fits a task of which only the offer was known: two workflows may both have
    /// a step of that name. None: not at all; the task is put back for others, or is over.
    async fn judge(&self, poller: &Poller, ready: Ready) -> Result<Option<(Ready, Match)>, Error> {
        let Offer { handle, task } = ready.offer.clone();
        let found = self.look_at(&handle, |loaded| {
            let open = loaded.state.open.get(&task.step);
            let without = open.map(|open| open.without.clone()).unwrap_or_default();
            (loaded.blueprint.blueprint.clone(), without)
        });
        let (blueprint, without) = match found.await {
            Ok(found) => found,
            Err(error) if error.is_final() => {
                self.inner.offers.delete(&ready.offer).await;
                return Ok(None);
            }
            Err(error) if error.is_of_one_run() => return Ok(pass_over(&handle, &error)),
            Err(error) => {
                self.inner.board.offer(ready, self.inner.env.now());
                return Err(error);
            }
        };
        let ready = Ready { blueprint: Some(blueprint), without, ..ready };
        let now = self.inner.env.now();
        let Some(fit) = self.inner.board.judge(poller, &ready, now) else {
            self.inner.board.offer(ready, now);
            return Ok(None);
        };
        Ok(Some((ready, fit)))
    }

    /// Puts the claim into the log: the task, and whether this claim is what gave the worker its lease.
    async fn claim_whole(
        &self,
        namespace: &Namespace,
        worker: &str,
        ready: Ready,
        fit: Match,
    ) -> Result<Option<(TaskToken, bool)>, Error> {
        let Offer { handle, task } = ready.offer.clone();
        let (task_of_command, worker_of_command) = (task.clone(), worker.to_owned());
        let partial = fit == Match::Partial;
        let command =
            Command::LeaseStep { task: task_of_command, worker: worker_of_command, partial };
        let claimed = self.handle(&handle, command).await;
        let outcome = match claimed {
            Ok((answer, handle)) => {
                let token = TaskToken { handle, task };
                let is_new = matches!(answer, Answer::Leased { .. });
                let board = &self.inner.board;
                let has_it = board.hold_claimed(namespace, worker, token.clone(), is_new);
                has_it.then_some((token, is_new))
            }
            Err(error) if error.is_final() => {
                if let Error::Rejected(Rejection::LacksStep { until, .. }) = error.whole() {
                    // An offer from the store does not say so, and others may have the step.
                    let mut without = ready.without.clone();
                    without.push((worker.to_owned(), *until));
                    self.inner.board.offer(Ready { without, ..ready }, self.inner.env.now());
                    return Ok(None);
                }
                if matches!(error.whole(), Error::Rejected(Rejection::NotYet { .. })) {
                    // Whoever offered it has a clock ahead of ours: it is found there again.
                    return Ok(None);
                }
                tracing::debug!(run = %handle.run, step = %task.step, %error, "an offer was stale");
                None
            }
            Err(error) if error.is_of_one_run() => return Ok(pass_over(&handle, &error)),
            Err(error) => {
                // It is still to be had, as far as anybody knows.
                self.inner.board.offer(ready, self.inner.env.now());
                return Err(Error::Shared(error));
            }
        };
        if ready.is_stored {
            let engine = self.clone();
            self.inner.tasks.spawn(async move { engine.inner.offers.delete(&ready.offer).await });
        }
        Ok(outcome)
    }

    /// Looks for offers of other instances, if a look is due.
    pub(super) async fn scan_offers(&self) {
        if self.stores_offers() {
            Box::pin(self.scan_offers_of_others()).await;
        }
    }

    async fn scan_offers_of_others(&self) {
        let now = self.inner.env.now();
        let wanted = |namespace: &Namespace| self.inner.board.has_poller_in(namespace);
        match self.inner.offers.scan(wanted, now).await {
            Ok(found) => {
                for offer in found {
                    let (namespace, step) = (&offer.handle.namespace, &offer.task.step);
                    if !self.inner.board.has_poller_for(namespace, step) {
                        continue;
                    }
                    let is_stored = true;
                    let ready = Ready { offer, blueprint: None, without: vec![], is_stored };
                    self.inner.board.offer(ready, now);
                }
            }
            Err(error) => tracing::warn!(%error, "offers could not be listed"),
        }
    }

    fn scan_pause(&self) -> Duration {
        if !self.stores_offers() {
            return LOOK_EVERY;
        }
        self.inner.offers.pause(self.inner.env.now()).max(Duration::from_millis(1))
    }

    /// The task under a token, if the worker's lease on it runs; with everything it is called with.
    async fn task_of(
        &self,
        worker: &str,
        token: &TaskToken,
        anew: bool,
    ) -> Result<Option<TaskForWorker>, Error> {
        let call = |loaded: &Loaded| loaded.call(&token.task, worker);
        match self.look(&token.handle, anew, call).await {
            Ok(Some(call)) => self.task_under(token, call).await,
            Ok(None) => Ok(None),
            Err(error) if error.is_final() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The task of a call, if its lease runs still.
    async fn task_under(
        &self,
        token: &TaskToken,
        call: Call,
    ) -> Result<Option<TaskForWorker>, Error> {
        let now = self.inner.env.now();
        if call.until <= now {
            return Ok(None);
        }
        let inputs = self.arguments_of(&token.handle, &call.arguments).await?;
        Ok(Some(TaskForWorker {
            token: token.clone(),
            execution: call.execution,
            workflow: call.workflow,
            inputs,
            lease_until: call.until,
            created: now,
        }))
    }

    /// Offers to all what was reserved for a worker that did not come for it.
    pub(super) fn give_up_reservations(&self, now: Timestamp) {
        for ((_, worker), held) in self.inner.board.expired_reservations(now) {
            tracing::debug!(%worker, step = %held.token.task.step, "a reserved task was not fetched");
            self.offer_again(held.token, now);
        }
    }

    /// Keeps a task for the worker that has the lease and was not told of it: for its next poll, while
    /// somebody here looks whether it comes. Else everybody may have it, at once.
    pub(super) fn keep_for_next_poll(
        &self,
        namespace: &Namespace,
        worker: &str,
        token: TaskToken,
        now: Timestamp,
    ) {
        if self.inner.config.reservations {
            self.inner.board.hold(namespace, worker, Held::reserved(token, now));
        } else {
            self.offer_again(token, now);
        }
    }

    /// Keeps what a poll was granted and has told nobody of.
    pub(super) fn hand_back(&self, Poller { namespace, worker, .. }: &Poller, token: TaskToken) {
        self.keep_for_next_poll(namespace, worker, token, self.inner.env.now());
    }

    /// Offers a leased task that its worker does not have: whoever claims it begins the next attempt.
    fn offer_again(&self, token: TaskToken, now: Timestamp) {
        let TaskToken { handle, task } = token;
        let attempt = task.attempt + 1;
        let offer = Offer { handle, task: Task { attempt, ..task } };
        let is_stored = self.stores_offers();
        let ready = Ready { offer, blueprint: None, without: vec![], is_stored };
        let stored = self.put_up(ready, now);
        self.offer_in_store(stored.into_iter().collect());
    }

    pub(super) fn let_go(&self, namespace: &Namespace, worker: &str, token: &TaskToken) {
        self.inner.board.release(namespace, worker, token.handle.run, &token.task);
    }
}

/// Leaves a task of a run that can not be read to the wakers: a poll asks for any work, and whoever
/// polls has nothing to do with that run.
fn pass_over<T>(handle: &Handle, error: &Error) -> Option<T> {
    tracing::warn!(run = %handle.run, %error, "a task was passed over");
    None
}

/// Shares an error among those who asked for one commit.
impl From<Arc<Error>> for Error {
    fn from(error: Arc<Error>) -> Self {
        Self::Shared(error)
    }
}
