//! How tasks and polls of this instance find each other: one lock over what is ready, who polls, who waits
//! (`waits.rs`) and who holds what (`hands.rs`).
//!
//! Purely a matching structure: no I/O, no clock. All of it may be lost: a guard or the end of a
//! lease brings every task back. Invariants:
//! * a task stands at most once among the ready ones;
//! * a poll that waits is granted at most once, and a worker that runs one task at a time waits at
//!   most once: its newer poll says that nobody listens to the older one any more.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    Match, Poller, RESERVATION_PENALTY, Ready, Scope, WorkerRecord,
    fit::{Fits, fit},
    hands::{Hands, Held, Hold, Name},
    waits::{Grant, PlaceNumber, Wait, Waiting, Waits},
};
use crate::workflow::{Namespace, RunId, Task, TaskToken, Timestamp};

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

/// A worker whose report is in the commit that makes a task ready.
#[derive(Debug)]
pub struct Submitter {
    /// The worker; its record need not be known.
    pub poller: Poller,
    /// The place from which it reports, if it has one.
    pub place: Option<PlaceNumber>,
}

#[derive(Debug, Default)]
struct Inner {
    ready: VecDeque<Ready>,
    waits: Waits,
    held: Hands,
    fits: RefCell<Fits>,
    /// When each worker last polled here, on which connection, and since when it gets no reservation.
    polls: HashMap<Name, LastPoll>,
    /// When those were last cleared away that have not polled for long.
    polls_swept: Timestamp,
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
/// How often it is looked for such workers, at most.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

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
        if now.since(inner.polls_swept) >= SWEEP_EVERY {
            inner.polls_swept = now;
            let Inner { polls, held, .. } = &mut *inner;
            polls.retain(|_, poll| now.since(poll.at) < FORGET_AFTER);
            // Who came a moment ago has not polled yet.
            let is_fresh = |at: Timestamp| now.since(at) < FORGET_AFTER;
            held.forget_who_came(|name, at| is_fresh(at) || polls.contains_key(name));
        }
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
            inner.waits.send(&Grant::Leave, |waiting| {
                waiting.worker == poller.worker && waiting.namespace == poller.namespace
            });
        }
    }

    /// The next task that is `poller`'s already: reserved for it, or handed to it before and, as a
    /// worker that runs one task at a time polls again, dropped by it.
    pub fn take_held(&self, poller: &Poller) -> Option<Held> {
        let mut inner = self.lock();
        if !inner.held.has_reserved() && !poller.is_one_slot() {
            return None;
        }
        inner.held.take_first(&poller.name(), |held| held.is_for_next_poll(poller))
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
        let name = (namespace.clone(), worker.to_owned());
        let how = inner.held.how(&name, token.handle.run, &token.task);
        let has_it = how.is_none() || (is_new && how == Some(Hold::Found));
        if has_it {
            inner.held.put(&name, Held::delivered(token));
        }
        has_it
    }

    /// Notes that `worker` holds a task, says the log; nothing where more is known of it here. Of a
    /// worker that runs one at a time, a poll that waits is told to look again. False: the worker came
    /// on a stream and is not at it, so that nobody is; it is for its next poll.
    pub fn hold_found(&self, namespace: &Namespace, worker: &str, token: &TaskToken) -> bool {
        let mut inner = self.lock();
        let (run, task) = (token.handle.run, &token.task);
        if inner.held.holds(run, task) {
            return true;
        }
        if inner.held.came_without(&(namespace.clone(), worker.to_owned()), run, task) {
            return false;
        }
        inner.hold(namespace, worker, Held { token: token.clone(), how: Hold::Found });
        true
    }

    /// Notes that `worker` comes on a stream and is at `running` and at nothing else; gives what else it
    /// was handed here, or has by what was found in the log, and has not reported.
    pub fn came(
        &self,
        namespace: &Namespace,
        worker: &str,
        running: &[TaskToken],
        now: Timestamp,
    ) -> Vec<TaskToken> {
        let mut inner = self.lock();
        let name = (namespace.clone(), worker.to_owned());
        inner.held.came(&name, running, now);
        let unreported = inner.held.by(&name).filter(|held| held.how != Hold::Reported);
        let is_dropped =
            |token: &&TaskToken| inner.held.came_without(&name, token.handle.run, &token.task);
        unreported.map(|held| &held.token).filter(is_dropped).cloned().collect()
    }

    /// Notes that what became of a task of `worker` is about to be committed. Until that is over
    /// nobody is handed the task, and the worker may be given another.
    pub fn report(&self, namespace: &Namespace, worker: &str, token: &TaskToken) {
        let name = (namespace.clone(), worker.to_owned());
        self.lock().held.put(&name, Held { token: token.clone(), how: Hold::Reported });
    }

    /// Notes that a report is over: `worker` holds the task still if `keeps`, or not any more. Nothing
    /// where the commit of the report has given it the same task anew, to be called otherwise.
    pub fn reported(&self, namespace: &Namespace, worker: &str, token: &TaskToken, keeps: bool) {
        let mut inner = self.lock();
        let name = (namespace.clone(), worker.to_owned());
        let (run, task) = (token.handle.run, &token.task);
        if inner.held.how(&name, run, task) == Some(Hold::Reported) {
            if keeps {
                inner.hold(namespace, worker, Held::delivered(token.clone()));
            } else {
                inner.held.remove(&name, run, task);
            }
        }
    }

    /// Notes that `worker` no longer holds the task.
    pub fn release(&self, namespace: &Namespace, worker: &str, run: RunId, task: &Task) {
        let name = (namespace.clone(), worker.to_owned());
        self.lock().held.remove(&name, run, task);
    }

    /// Whether somebody here holds the task, or has it reserved.
    pub fn is_held(&self, run: RunId, task: &Task) -> bool {
        self.lock().held.holds(run, task)
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
        if !polls_here {
            return vec![];
        }
        let unreported = inner.held.by(&name).filter(|held| held.how != Hold::Reported);
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
        if inner.waits.is_closed() {
            return Err(inner.waits.wait(poller));
        }
        let fit_of = |ready| inner.fit(poller, ready, now, self.lease);
        let mut all = inner.ready.iter().enumerate();
        let fitting = all.find_map(|(at, ready)| Some((at, fit_of(ready)?)));
        if let Some((at, fit)) = fitting
            && let Some(ready) = inner.ready.remove(at)
        {
            return Ok((ready, fit));
        }
        Err(inner.waits.wait(poller))
    }

    /// Waits without a look at what is ready: for a worker that is about to report, whose place the
    /// commit of that report may fill. It is not reserved anything besides.
    pub fn sit(&self, poller: &Poller) -> Wait {
        let mut inner = self.lock();
        if let Some(poll) = inner.polls.get_mut(&poller.name()) {
            poll.sits = true;
        }
        inner.waits.wait(poller)
    }

    /// Takes a poll that waits off the board. False: it is off already, and is granted something once
    /// the commit that chose it is in the log, or is not.
    pub fn withdraw(&self, wait: &Wait) -> bool {
        self.lock().waits.take(wait.number).is_some()
    }

    /// Whether, and how well, `poller` fits `ready`.
    pub fn judge(&self, poller: &Poller, ready: &Ready, now: Timestamp) -> Option<Match> {
        self.lock().fit(poller, ready, now, self.lease)
    }

    /// How many polls wait.
    pub fn waiting(&self) -> usize {
        self.lock().waits.len()
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
        let ready = inner.ready.back().cloned();
        let fitting = ready.and_then(|ready| inner.waiting_for(&ready, now, self.lease, |_| true));
        if let Some((place, _)) = fitting
            && let Some(waiting) = inner.waits.take(place)
        {
            waiting.grant(Grant::Look);
        }
    }

    /// Chooses a worker for a task that is about to become ready: `submitters` (whose next poll comes
    /// here soon) first, if reservations are made, then a poll that waits.
    ///
    /// Nobody once the board is closed: their next polls go elsewhere.
    pub fn choose(
        &self,
        ready: &Ready,
        submitters: &[Submitter],
        now: Timestamp,
    ) -> Option<Candidate> {
        let mut inner = self.lock();
        if inner.waits.is_closed() {
            return None;
        }
        for Submitter { poller, place } in submitters {
            let its_own = place.and_then(|it| inner.take_place(it, ready, now, self.lease));
            if its_own.is_some() {
                return its_own;
            }
            // One that reports from a stream waits in its other places too.
            let is_its = |waiting: &Poller| waiting.worker == poller.worker;
            if let Some(candidate) = inner.take_waiting(ready, now, self.lease, is_its) {
                return Some(candidate);
            }
            let name = poller.name();
            let last = inner.polls.get(&name);
            let may_reserve =
                last.is_some_and(|poll| poll.no_reservation_until <= now && !poll.sits);
            if !may_reserve || inner.held.by(&name).any(|held| held.is_for_next_poll(poller)) {
                continue;
            }
            let record = last.and_then(|poll| poll.record.clone());
            let scope = last.and_then(|poll| poll.scope.clone());
            let poller = Poller { record, scope, ..poller.clone() };
            if let Some(fit) = inner.fit(&poller, ready, now, self.lease) {
                return Some(Candidate { worker: poller.worker, fit, waiting: None });
            }
        }
        inner.take_waiting(ready, now, self.lease, |_| true)
    }

    /// Gives up the reservations that nobody fetched by `now`: each is returned with its worker,
    /// which gets no other for a while.
    pub fn expired_reservations(&self, now: Timestamp) -> Vec<(Name, Held)> {
        let mut inner = self.lock();
        let expired = inner.held.take_expired(now);
        for (name, _) in &expired {
            if let Some(poll) = inner.polls.get_mut(name) {
                poll.no_reservation_until = now.after(RESERVATION_PENALTY);
            }
        }
        expired
    }

    /// When the next reservation is given up.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.lock().held.next_expiry()
    }

    /// Resolves once something was reserved since it was last asked.
    pub async fn reserved(&self) {
        self.reserved.notified().await;
    }

    /// Tells the polls that wait to look again: something may be on offer in the store.
    pub fn look(&self) {
        self.lock().waits.send(&Grant::Look, |_| true);
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
        let mut inner = self.lock();
        inner.polls.remove(&(namespace.clone(), worker.to_owned()));
        inner.held.forget_who_came(|(came_in, it), _| came_in != namespace || it != worker);
    }

    /// Forgets whatever is known of a run that closed.
    pub fn forget(&self, run: RunId) {
        let mut inner = self.lock();
        inner.ready.retain(|ready| ready.offer.handle.run != run);
        inner.held.forget(run);
    }

    /// Tells the polls of a worker that wait to leave.
    pub fn send_away(&self, namespace: &Namespace, worker: &str) {
        self.lock().waits.send(&Grant::Leave, |poller| {
            poller.worker == worker && poller.namespace == *namespace
        });
    }

    /// Tells every poll that waits to leave, and all that come after.
    pub fn close(&self) {
        self.lock().waits.close();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("BUG: a thread panicked while it held the board")
    }
}

impl Inner {
    fn hold(&mut self, namespace: &Namespace, worker: &str, held: Held) {
        let is_reserved = held.is_reserved();
        self.held.put(&(namespace.clone(), worker.to_owned()), held);
        self.waits.send(&Grant::Look, |poller| {
            (is_reserved || poller.is_one_slot())
                && poller.worker == worker
                && poller.namespace == *namespace
        });
    }

    /// Who waits, fits and is `wanted`, the first one, and how well it fits.
    fn waiting_for(
        &self,
        ready: &Ready,
        now: Timestamp,
        lease: Duration,
        wanted: impl Fn(&Poller) -> bool,
    ) -> Option<(PlaceNumber, Match)> {
        let fit = |poller: &Poller| self.fit(poller, ready, now, lease);
        self.waits.find(|poller| wanted(poller).then(|| fit(poller)).flatten())
    }

    /// Takes the poll at `place` off the board, if it waits there still and fits.
    fn take_place(
        &mut self,
        place: PlaceNumber,
        ready: &Ready,
        now: Timestamp,
        lease: Duration,
    ) -> Option<Candidate> {
        let fit = self.fit(self.waits.at(place)?, ready, now, lease)?;
        self.take(place, fit)
    }

    /// Takes the first poll that waits, fits and is `wanted` off the board.
    fn take_waiting(
        &mut self,
        ready: &Ready,
        now: Timestamp,
        lease: Duration,
        wanted: impl Fn(&Poller) -> bool,
    ) -> Option<Candidate> {
        let (place, fit) = self.waiting_for(ready, now, lease, wanted)?;
        self.take(place, fit)
    }

    fn take(&mut self, place: PlaceNumber, fit: Match) -> Option<Candidate> {
        let waiting = self.waits.take(place)?;
        Some(Candidate { worker: waiting.worker().to_owned(), fit, waiting: Some(waiting) })
    }

    /// Whether, and how well, `poller` fits `ready`.
    fn fit(
        &self,
        poller: &Poller,
        ready: &Ready,
        now: Timestamp,
        lease: Duration,
    ) -> Option<Match> {
        let fits = &mut *self.fits.borrow_mut();
        fit(poller, ready, now, fits, |fits, blueprint| {
            self.polls.iter().any(|((namespace, _), poll)| {
                *namespace == poller.namespace
                    && now.since(poll.at) < lease
                    && poll.record.as_ref().is_some_and(|record| fits.has_all(record, blueprint))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{ExecutionId, Handle};

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
        assert!(board.hold_found(&namespace, "w", &token(1)));
        assert!(board.hold_claimed(&namespace, "w", token(1), true), "nobody else has it");
        assert!(!board.hold_claimed(&namespace, "w", token(1), false));
        assert!(board.hold_found(&namespace, "w", &token(1)));
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
    fn what_a_report_brought_its_worker_anew_stays_in_its_hands() {
        let (board, namespace) = board();
        board.report(&namespace, "w", &token(1));
        board.hold(&namespace, "w", Held::reserved(token(1), Timestamp::default()));
        board.reported(&namespace, "w", &token(1), false);
        assert!(board.is_held(token(1).handle.run, &token(1).task));
        board.report(&namespace, "w", &token(2));
        board.reported(&namespace, "w", &token(2), false);
        assert!(!board.is_held(token(2).handle.run, &token(2).task));
    }

    #[test]
    fn what_an_instance_before_this_one_handed_out_is_not_handed_out_through_an_old_offer() {
        let (board, namespace) = board();
        assert!(board.hold_found(&namespace, "w", &token(1)));
        assert!(!board.hold_claimed(&namespace, "w", token(1), false));
        assert!(board.hold_claimed(&namespace, "w", token(2), false), "another run");
    }
    #[test]
    fn a_worker_that_comes_again_is_handed_what_it_did_not_get_whenever_the_log_is_read() {
        let (board, namespace) = board();
        assert!(board.hold_found(&namespace, "w", &token(1)));
        board.hold_claimed(&namespace, "w", token(2), true);
        board.hold_claimed(&namespace, "w", token(3), true);
        board.report(&namespace, "w", &token(3));
        let now = Timestamp::default().after(FORGET_AFTER);
        assert_eq!(board.came(&namespace, "w", &[token(2)], now), [token(1)]);
        // Also the first poll, with which those are forgotten that have not polled for long.
        board.polled(&poller("v"), now.after(SWEEP_EVERY));
        assert!(board.hold_found(&namespace, "w", &token(2)), "it is at it");
        assert!(board.hold_found(&namespace, "w", &token(3)), "its report is on its way");
        assert!(!board.hold_found(&namespace, "w", &token(4)), "it has not heard of it");
        assert!(board.hold_found(&namespace, "v", &token(4)), "another worker may be at it");
        board.gone(&namespace, "w");
        assert!(board.hold_found(&namespace, "w", &token(5)), "it may come again with it");
    }

    fn poller(worker: &str) -> Poller {
        Poller::named(&Namespace::default(), worker)
    }

    fn ready() -> Ready {
        let TaskToken { handle, task } = token(1);
        let offer = crate::dispatch::Offer { handle, task };
        Ready { offer, blueprint: None, without: vec![], is_stored: false }
    }

    #[test]
    fn a_report_fills_the_place_that_it_leaves_and_no_older_one() {
        let (board, _) = board();
        let now = Timestamp::from_millis(1);
        let worker = poller("w");
        let mut waits = [(); 3].map(|()| board.sit(&worker));
        let submitter = |place| [Submitter { poller: worker.clone(), place }];
        let own = submitter(Some(waits[1].number));
        for (chosen, by) in [(1, &own), (0, &own), (2, &submitter(None))] {
            let candidate = board.choose(&ready(), by, now).expect("somebody waits");
            assert!(candidate.waiting.expect("a poll").grant(Grant::Look));
            assert_eq!(waits[chosen].granted.try_recv(), Ok(Grant::Look), "of {chosen}");
        }
    }
}
