//! What this instance knows of tasks and polls, in memory: who waits, what is ready, who holds what.
//!
//! Purely a matching structure: no I/O, no clock. All of it may be lost: a guard or the end of a
//! lease brings every task back. Invariants:
//! * a task stands at most once among the ready ones;
//! * a poll that waits is granted at most once, and a worker that runs one task at a time waits at
//!   most once: its newer poll says that nobody listens to the older one any more.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::{
    Match, Poller, RESERVATION, RESERVATION_PENALTY, Ready, Scope, WorkerRecord,
    fit::{fit, has_all},
};
use crate::workflow::{Handle, Namespace, RunId, Task, TaskToken, Timestamp};

/// A task in a worker's hands, or reserved for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The attempt, under a lease of this worker.
    pub token: TaskToken,
    /// How it came to be the worker's.
    pub how: Hold,
}

/// How a task is a worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It waits for the worker's next poll; given up then.
    Reserved(Timestamp),
    /// A poll or a stream of the worker has it from this instance.
    Delivered,
    /// The log says so: an instance before this one handed it out, or a claim is about to.
    Found,
    /// Its report is being committed: the log still says that the worker has it, and nobody works at it.
    Reported,
}

/// A worker chosen for a task, before the commit that gives it the lease.
#[derive(Debug)]
pub struct Candidate {
    /// The worker's id.
    pub worker: String,
    /// How well it fits.
    pub fit: Match,
    /// The poll that waits; none: the task is reserved for the worker's next poll.
    pub waiting: Option<Waiting>,
}

/// A poll that waits, taken off the board.
#[derive(Debug)]
pub struct Waiting {
    poller: Poller,
    grant: oneshot::Sender<Grant>,
}

/// A poll's side of its wait.
#[derive(Debug)]
pub struct Wait {
    number: u64,
    /// Resolves with what the poll is granted.
    pub granted: oneshot::Receiver<Grant>,
}

/// What a waiting poll is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The task is the worker's: its lease stands in the log.
    Task(TaskToken),
    /// Something may be ready: look again.
    Look,
    /// Nothing will come any more: a newer poll took over, or the instance is going down.
    Leave,
}

type Name = (Namespace, String);

#[derive(Debug, Default)]
struct Inner {
    ready: VecDeque<Ready>,
    waiting: VecDeque<(u64, Waiting)>,
    waits: u64,
    /// In order, so that reservations are given up in one order.
    held: BTreeMap<Name, VecDeque<Held>>,
    /// When each worker last polled here, on which connection, and since when it gets no reservation.
    polls: HashMap<Name, LastPoll>,
    closed: bool,
}

#[derive(Clone, Debug)]
struct LastPoll {
    at: Timestamp,
    record: Option<Arc<WorkerRecord>>,
    scope: Option<Scope>,
    connection: Option<String>,
    no_reservation_until: Timestamp,
    /// Whether it waits on the board while it reports: then nothing is reserved for its next poll.
    sits: bool,
}

/// How many ready tasks are remembered.
const READY_MAX: usize = 100_000;
/// How long a worker that stopped polling is remembered.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// The board of one instance.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    /// How long a worker that has every step is waited for before one that has only some gets a task.
    lease: Duration,
    reserved: Notify,
}

impl Board {
    /// An empty board; `lease` is the engine's default lease.
    pub fn new(lease: Duration) -> Self {
        Self { inner: Mutex::default(), lease, reserved: Notify::new() }
    }

    /// Notes that `poller` polls at `now`, and sends away an older poll of the same one-slot worker.
    pub fn polled(&self, poller: &Poller, now: Timestamp) {
        let mut inner = self.lock();
        let name = poller.name();
        inner.polls.retain(|_, poll| now.since(poll.at) < FORGET_AFTER);
        let before = inner.polls.get(&name);
        let poll = LastPoll {
            at: now,
            record: poller.record.clone(),
            scope: poller.scope.clone(),
            connection: poller.connection.clone(),
            no_reservation_until: before.map(|it| it.no_reservation_until).unwrap_or_default(),
            sits: before.is_some_and(|it| it.sits) && !poller.is_one_slot(),
        };
        inner.polls.insert(name, poll);
        if poller.is_one_slot() {
            inner.dismiss(|waiting| {
                waiting.poller.worker == poller.worker
                    && waiting.poller.namespace == poller.namespace
            });
        }
    }

    /// The next task that is `poller`'s already: reserved for it, or handed to it before and, as a
    /// worker that runs one task at a time polls again, dropped by it.
    pub fn take_held(&self, poller: &Poller) -> Option<Held> {
        let mut inner = self.lock();
        let held = inner.held.get_mut(&poller.name())?;
        let at = held.iter().position(|held| held.is_for_next_poll(poller))?;
        held.remove(at)
    }

    /// Notes that `worker` holds a task. A poll of its that waits is told to look again: the task is
    /// reserved for it, or, of a worker that runs one at a time, it does not work at it.
    pub fn hold(&self, namespace: &Namespace, worker: &str, held: Held) {
        let is_reserved = held.is_reserved();
        self.lock().hold(namespace, worker, held);
        if is_reserved {
            self.reserved.notify_one();
        }
    }

    /// Notes that `worker` holds a task that was claimed for it; false: it does already, so that whoever
    /// asks has found an offer that another poll of the worker has just claimed. `is_new`: the claim is
    /// what gave the worker its lease. Then what was only found in the log is this very claim, seen
    /// before it was noted here, and no other poll has the task.
    pub fn hold_claimed(
        &self,
        namespace: &Namespace,
        worker: &str,
        token: TaskToken,
        is_new: bool,
    ) -> bool {
        let mut inner = self.lock();
        let all = inner.held.entry((namespace.clone(), worker.to_owned())).or_default();
        match all.iter_mut().find(|held| held.is_of(&token)) {
            Some(held) if is_new && held.how == Hold::Found => held.how = Hold::Delivered,
            Some(_) => return false,
            None => all.push_back(Held::delivered(token)),
        }
        true
    }

    /// Notes that `worker` holds a task, says the log; nothing where more is known of it here. Of a
    /// worker that runs one at a time, a poll that waits is told to look again.
    pub fn hold_found(&self, namespace: &Namespace, worker: &str, token: TaskToken) {
        let mut inner = self.lock();
        if !inner.held.values().flatten().any(|held| held.is_of(&token)) {
            inner.hold(namespace, worker, Held { token, how: Hold::Found });
        }
    }

    /// Notes that what became of a task of `worker` is about to be committed. Until that is over
    /// nobody is handed the task, and the worker may be given another.
    pub fn report(&self, namespace: &Namespace, worker: &str, token: &TaskToken) {
        let mut inner = self.lock();
        let all = inner.held.entry((namespace.clone(), worker.to_owned())).or_default();
        all.retain(|held| !held.is_of(token));
        all.push_back(Held { token: token.clone(), how: Hold::Reported });
    }

    /// Notes that `worker` no longer holds the task.
    pub fn release(&self, namespace: &Namespace, worker: &str, run: RunId, task: &Task) {
        let mut inner = self.lock();
        let name = (namespace.clone(), worker.to_owned());
        let Some(held) = inner.held.get_mut(&name) else { return };
        held.retain(|held| held.token.handle.run != run || held.token.task != *task);
        if held.is_empty() {
            inner.held.remove(&name);
        }
    }

    /// Whether somebody here holds the task, or has it reserved.
    pub fn is_held(&self, run: RunId, task: &Task) -> bool {
        let inner = self.lock();
        let is_it = |held: &Held| held.token.handle.run == run && held.token.task == *task;
        inner.held.values().flatten().any(is_it)
    }

    /// What `worker` holds and has not reported, if its last poll came on `connection` (none: on any).
    pub fn held_by(
        &self,
        namespace: &Namespace,
        worker: &str,
        connection: Option<&str>,
    ) -> Vec<TaskToken> {
        let inner = self.lock();
        let name = (namespace.clone(), worker.to_owned());
        let polls_here = inner
            .polls
            .get(&name)
            .is_some_and(|poll| connection.is_none() || poll.connection.as_deref() == connection);
        let held = inner.held.get(&name).filter(|_| polls_here);
        let unreported = held.into_iter().flatten().filter(|held| held.how != Hold::Reported);
        unreported.map(|held| held.token.clone()).collect()
    }

    /// The first ready task that `poller` may have.
    ///
    /// # Errors
    ///
    /// There is none: the poll waits until it is granted something or its wait is dropped.
    pub fn take_ready_or_wait(
        &self,
        poller: &Poller,
        now: Timestamp,
    ) -> Result<(Ready, Match), Wait> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(inner.wait(poller));
        }
        let fits: Vec<Option<Match>> =
            inner.ready.iter().map(|ready| inner.fit(poller, ready, now, self.lease)).collect();
        if let Some(at) = fits.iter().position(Option::is_some)
            && let (Some(ready), Some(fit)) = (inner.ready.remove(at), fits[at])
        {
            return Ok((ready, fit));
        }
        Err(inner.wait(poller))
    }

    /// Waits without a look at what is ready: for a worker that is about to report, whose place the
    /// commit of that report may fill. It is not reserved anything besides.
    pub fn sit(&self, poller: &Poller) -> Wait {
        let mut inner = self.lock();
        if let Some(poll) = inner.polls.get_mut(&poller.name()) {
            poll.sits = true;
        }
        inner.wait(poller)
    }

    /// Takes a poll that waits off the board. False: it is off already, and is granted something once
    /// the commit that chose it is in the log, or is not.
    pub fn withdraw(&self, wait: &Wait) -> bool {
        let mut inner = self.lock();
        let before = inner.waiting.len();
        inner.waiting.retain(|(number, _)| *number != wait.number);
        inner.waiting.len() < before
    }

    /// Whether, and how well, `poller` fits `ready`.
    pub fn judge(&self, poller: &Poller, ready: &Ready, now: Timestamp) -> Option<Match> {
        self.lock().fit(poller, ready, now, self.lease)
    }

    /// How many polls wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.iter().filter(|(_, waiting)| !waiting.grant.is_closed()).count()
    }

    /// Puts a task up for whoever polls, and tells the polls that wait and fit. What is known of
    /// workers that lack the step stays known.
    pub fn offer(&self, mut ready: Ready, now: Timestamp) {
        let mut inner = self.lock();
        let is_it = |other: &Ready| {
            other.offer.handle.run == ready.offer.handle.run && other.offer.task == ready.offer.task
        };
        let known = inner.ready.iter().position(is_it).and_then(|at| inner.ready.remove(at));
        if let Some(known) = known {
            // A bare offer says less than what was found out about its task before.
            ready.blueprint = ready.blueprint.or(known.blueprint);
            ready.without.extend(known.without.into_iter().filter(|(_, until)| *until > now));
        }
        if inner.ready.len() >= READY_MAX {
            // It is found again in the store, or by its guard.
            inner.ready.pop_front();
        }
        inner.ready.push_back(ready);
        inner.waiting.retain(|(_, waiting)| !waiting.grant.is_closed());
        let ready = inner.ready.back().cloned();
        let lease = self.lease;
        let fitting: Vec<u64> = inner
            .waiting
            .iter()
            .filter(|(_, waiting)| {
                ready
                    .as_ref()
                    .is_some_and(|ready| inner.fit(&waiting.poller, ready, now, lease).is_some())
            })
            .map(|(number, _)| *number)
            .take(1)
            .collect();
        inner.wake_numbers(&fitting);
    }

    /// Chooses a worker for a task that is about to become ready: `submitters` (whose next poll comes
    /// here soon) first, if reservations are made, then a poll that waits.
    ///
    /// Nobody once the board is closed: their next polls go elsewhere.
    pub fn choose(
        &self,
        ready: &Ready,
        submitters: &[Poller],
        now: Timestamp,
    ) -> Option<Candidate> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        inner.waiting.retain(|(_, waiting)| !waiting.grant.is_closed());
        for poller in submitters {
            // One that reports from a stream waits in its own place meanwhile.
            let is_its = |waiting: &Waiting| waiting.poller.worker == poller.worker;
            if let Some(candidate) = inner.take_waiting(ready, now, self.lease, is_its) {
                return Some(candidate);
            }
            let name = poller.name();
            let last = inner.polls.get(&name);
            let may_reserve =
                last.is_some_and(|poll| poll.no_reservation_until <= now && !poll.sits);
            let has_other = inner
                .held
                .get(&name)
                .is_some_and(|held| held.iter().any(|held| held.is_for_next_poll(poller)));
            let record = last.and_then(|poll| poll.record.clone());
            let scope = last.and_then(|poll| poll.scope.clone());
            let poller = Poller { record, scope, ..poller.clone() };
            if may_reserve
                && !has_other
                && let Some(fit) = inner.fit(&poller, ready, now, self.lease)
            {
                return Some(Candidate { worker: poller.worker, fit, waiting: None });
            }
        }
        inner.take_waiting(ready, now, self.lease, |_| true)
    }

    /// Gives up the reservations that nobody fetched by `now`: each is returned with its worker,
    /// which gets no other for a while.
    pub fn expired_reservations(&self, now: Timestamp) -> Vec<(Name, Held)> {
        let mut inner = self.lock();
        let mut expired = vec![];
        for (name, held) in &mut inner.held {
            let is_over = |held: &Held| held.reserved_until().is_some_and(|until| until <= now);
            while let Some(at) = held.iter().position(is_over) {
                expired.extend(held.remove(at).map(|held| (name.clone(), held)));
            }
        }
        for (name, _) in &expired {
            if let Some(poll) = inner.polls.get_mut(name) {
                poll.no_reservation_until = now.after(RESERVATION_PENALTY);
            }
        }
        inner.held.retain(|_, held| !held.is_empty());
        expired
    }

    /// When the next reservation is given up.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.lock().held.values().flatten().filter_map(Held::reserved_until).min()
    }

    /// Resolves once something was reserved since it was last asked.
    pub async fn reserved(&self) {
        self.reserved.notified().await;
    }

    /// Tells the polls that wait to look again: something may be on offer in the store.
    pub fn look(&self) {
        self.lock().wake(|_| true);
    }

    /// Whether anybody has polled here in `namespace` of late.
    pub fn has_poller_in(&self, namespace: &Namespace) -> bool {
        self.lock().polls.keys().any(|(polls_in, _)| polls_in == namespace)
    }

    /// Whether a worker that has `step`, as far as it said, has polled here of late.
    pub fn has_poller_for(&self, namespace: &Namespace, step: &str) -> bool {
        let inner = self.lock();
        inner.polls.iter().any(|((polls_in, _), poll)| {
            polls_in == namespace
                && match &poll.scope {
                    Some(scope) => scope.takes(None, step),
                    None => poll.record.as_ref().is_none_or(|record| record.announces(step)),
                }
        })
    }

    /// Forgets that `worker` polled here: it does not come back.
    pub fn gone(&self, namespace: &Namespace, worker: &str) {
        self.lock().polls.remove(&(namespace.clone(), worker.to_owned()));
    }

    /// Forgets whatever is known of a run that closed.
    pub fn forget(&self, run: RunId) {
        let mut inner = self.lock();
        inner.ready.retain(|ready| ready.offer.handle.run != run);
        for held in inner.held.values_mut() {
            held.retain(|held| held.token.handle.run != run);
        }
        inner.held.retain(|_, held| !held.is_empty());
    }

    /// Tells the polls of a worker that wait to leave.
    pub fn send_away(&self, namespace: &Namespace, worker: &str) {
        self.lock().dismiss(|waiting| {
            waiting.poller.worker == worker && waiting.poller.namespace == *namespace
        });
    }

    /// Tells every poll that waits to leave, and all that come after.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.dismiss(|_| true);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("BUG: a thread panicked while it held the board")
    }
}

impl Inner {
    fn hold(&mut self, namespace: &Namespace, worker: &str, held: Held) {
        let is_reserved = held.is_reserved();
        let all = self.held.entry((namespace.clone(), worker.to_owned())).or_default();
        all.retain(|other| !other.is_of(&held.token));
        all.push_back(held);
        self.wake(|waiting| {
            waiting.poller.worker == worker
                && waiting.poller.namespace == *namespace
                && (is_reserved || waiting.poller.is_one_slot())
        });
    }

    /// Puts `poller` among those that wait; on a board that is closed it is told to leave.
    fn wait(&mut self, poller: &Poller) -> Wait {
        let (grant, granted) = oneshot::channel();
        self.waits += 1;
        let number = self.waits;
        if self.closed {
            drop(grant.send(Grant::Leave));
        } else {
            self.waiting.retain(|(_, waiting)| !waiting.grant.is_closed());
            self.waiting.push_back((number, Waiting { poller: poller.clone(), grant }));
        }
        Wait { number, granted }
    }

    /// Takes the first poll that waits, fits and is `wanted` off the board.
    fn take_waiting(
        &mut self,
        ready: &Ready,
        now: Timestamp,
        lease: Duration,
        wanted: impl Fn(&Waiting) -> bool,
    ) -> Option<Candidate> {
        let fit_of = |(_, waiting): &(u64, Waiting)| {
            wanted(waiting).then(|| self.fit(&waiting.poller, ready, now, lease)).flatten()
        };
        let (at, fit) =
            self.waiting.iter().enumerate().find_map(|(at, it)| Some((at, fit_of(it)?)))?;
        let (_, waiting) = self.waiting.remove(at)?;
        Some(Candidate { worker: waiting.poller.worker.clone(), fit, waiting: Some(waiting) })
    }

    /// Whether, and how well, `poller` fits `ready`.
    fn fit(
        &self,
        poller: &Poller,
        ready: &Ready,
        now: Timestamp,
        lease: Duration,
    ) -> Option<Match> {
        fit(poller, ready, now, |blueprint| {
            self.polls.iter().any(|((namespace, _), poll)| {
                *namespace == poller.namespace
                    && now.since(poll.at) < lease
                    && poll.record.as_ref().is_some_and(|record| has_all(record, blueprint))
            })
        })
    }

    fn wake(&mut self, fits: impl Fn(&Waiting) -> bool) {
        let numbers: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| fits(waiting))
            .map(|(number, _)| *number)
            .collect();
        self.wake_numbers(&numbers);
    }

    fn wake_numbers(&mut self, numbers: &[u64]) {
        self.send(&Grant::Look, |number, _| numbers.contains(&number));
    }

    fn dismiss(&mut self, fits: impl Fn(&Waiting) -> bool) {
        self.send(&Grant::Leave, |_, waiting| fits(waiting));
    }

    fn send(&mut self, grant: &Grant, fits: impl Fn(u64, &Waiting) -> bool) {
        for (number, waiting) in std::mem::take(&mut self.waiting) {
            if fits(number, &waiting) {
                drop(waiting.grant.send(grant.clone()));
            } else {
                self.waiting.push_back((number, waiting));
            }
        }
    }
}

impl Waiting {
    /// Tells the poll what became of it; false when it has gone.
    pub fn grant(self, grant: Grant) -> bool {
        self.grant.send(grant).is_ok()
    }
}

impl Held {
    /// A task that waits for the worker's next poll.
    pub fn reserved(token: TaskToken, now: Timestamp) -> Self {
        Self { token, how: Hold::Reserved(now.after(RESERVATION)) }
    }

    /// A task that was handed to the worker.
    pub fn delivered(token: TaskToken) -> Self {
        Self { token, how: Hold::Delivered }
    }

    /// Whether it waits for the worker's next poll.
    pub fn is_reserved(&self) -> bool {
        self.reserved_until().is_some()
    }

    fn reserved_until(&self) -> Option<Timestamp> {
        match self.how {
            Hold::Reserved(until) => Some(until),
            Hold::Delivered | Hold::Found | Hold::Reported => None,
        }
    }

    /// Whether the next poll of its worker gets it: a worker that runs one task at a time and polls
    /// has dropped the one before.
    fn is_for_next_poll(&self, poller: &Poller) -> bool {
        match self.how {
            Hold::Reserved(_) => true,
            Hold::Delivered | Hold::Found => poller.is_one_slot(),
            Hold::Reported => false,
        }
    }

    fn is_of(&self, token: &TaskToken) -> bool {
        self.token.handle.run == token.handle.run && self.token.task == token.task
    }

    /// The run and its commit that the token names.
    pub fn handle(&self) -> &Handle {
        &self.token.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::ExecutionId;

    fn token(run: u128) -> TaskToken {
        let execution = ExecutionId::known("e").expect("an id").key();
        let run = RunId::from_random(run);
        let handle =
            Handle { namespace: Namespace::default(), execution, generation: 0, run, seq: 1 };
        TaskToken { handle, task: Task { step: "a".into(), iteration: 1, attempt: 1 } }
    }

    fn board() -> (Board, Namespace) {
        (Board::new(Duration::from_mins(5)), Namespace::default())
    }

    #[test]
    fn of_two_polls_that_find_one_lease_one_has_the_task() {
        for is_new in [[true, false], [false, true], [false, false]] {
            let (board, namespace) = board();
            let has = is_new.map(|is_new| board.hold_claimed(&namespace, "w", token(1), is_new));
            assert_eq!(has, [true, false]);
        }
    }

    #[test]
    fn a_claim_that_was_seen_in_the_log_before_it_was_noted_has_the_task() {
        let (board, namespace) = board();
        board.hold_found(&namespace, "w", token(1));
        assert!(board.hold_claimed(&namespace, "w", token(1), true), "nobody else has it");
        assert!(!board.hold_claimed(&namespace, "w", token(1), false));
        board.hold_found(&namespace, "w", token(1));
        assert!(!board.hold_claimed(&namespace, "w", token(1), true), "it was handed out");
    }

    #[test]
    fn what_is_being_reported_is_handed_to_nobody() {
        let (board, namespace) = board();
        board.hold_claimed(&namespace, "w", token(1), true);
        board.report(&namespace, "w", &token(1));
        assert!(
            !board.hold_claimed(&namespace, "w", token(1), false),
            "the log does not say so yet"
        );
        let poller = Poller {
            namespace: namespace.clone(),
            worker: "w".to_owned(),
            record: None,
            scope: None,
            connection: None,
        };
        board.polled(&poller, Timestamp::default());
        assert_eq!(board.take_held(&poller), None);
        assert_eq!(board.held_by(&namespace, "w", None), []);
    }

    #[test]
    fn what_an_instance_before_this_one_handed_out_is_not_handed_out_through_an_old_offer() {
        let (board, namespace) = board();
        board.hold_found(&namespace, "w", token(1));
        assert!(!board.hold_claimed(&namespace, "w", token(1), false));
        assert!(board.hold_claimed(&namespace, "w", token(2), false), "another run");
    }
}
