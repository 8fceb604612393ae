//! The one loop that changes a run: rehydrate, decide, arm, append, fold, effects.
//!
//! The only caller of `log.append`. Invariants:
//! * no effect (an answer, a task in a worker's hands, a wake entry deleted) before `Committed`;
//! * whatever goes wrong in between, the folded state is dropped, never put back;
//! * a run that a commit makes active has its guard in the wake index before the commit is sent, or, where
//!   the store can do that, with it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    Engine, Error, Standing, StoredBlueprint,
    assign::{Assigned, ready_offers},
    cache::{Blob, Loaded, Pending},
    effects::Which,
    half_of,
};
use crate::{
    dispatch::PlaceNumber,
    log::{self, Append, Encoded, Keeps, NewCommit, Snapshots, Sum},
    workflow::{
        self, Answer, Attention, Command, Draft, Event, Guard, Handle, Rejection, Sealed, Seq,
        Setting, State, Timestamp, WakeKind,
    },
};

/// How long a request may try to get its commit in.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How long a result may: its sender does not send it again, so giving up runs the step again.
pub(super) const DEADLINE_OF_RESULTS: Duration = Duration::from_mins(1);
/// The pause before a result is tried again of which nothing was written.
const RESULT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A state that was read longer ago than this may belong to a run that is deleted by now: what is
/// committed on it counts only after `id/` was seen to name the run still.
const FRESH: Duration = Duration::from_mins(10);
/// What may have followed on a commit of longer ago, and was not looked for, may be deleted by now, and the
/// commit in this moment: it is not committed on before `id/` was seen to name the run still.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// How many commands share one commit, at most.
const BATCH_MAX: usize = 256;
/// How often a batch is decided anew after other instances won the race.
const RACES_MAX: u32 = 32;

/// Answers to the commands of a batch, in order.
type Answers = Vec<Result<Answer, Rejection>>;

impl Engine {
    /// Applies `command` to the run at `handle`: the way into a log for every change but the start.
    ///
    /// Answers once the commit that applies it is in the log, with the handle at that commit. Sent
    /// twice, it is applied once. Costs 1 PUT, shared with the commands that arrive during another
    /// commit of the run; a guard more when it makes a parked run active; cold 2 GET more, and 1 before a
    /// guard that is not in one batch with its commit.
    ///
    /// # Errors
    ///
    /// * [`Error::Rejected`]: the run can not take it.
    /// * [`Error::NotFound`]: there is no such run.
    /// * [`Error::Log`]: by what the log says must be done.
    pub(super) async fn handle(
        &self,
        handle: &Handle,
        command: Command,
    ) -> Result<(Answer, Handle), Arc<Error>> {
        self.handle_from(None, handle, command).await
    }

    /// As [`Engine::handle`]; what the command makes ready goes to `place` on the board first. A result
    /// is tried for a minute, whichever of its requests the store does not do: its payload, a read, its
    /// guard or its commit.
    pub(super) async fn handle_from(
        &self,
        place: Option<PlaceNumber>,
        handle: &Handle,
        mut command: Command,
    ) -> Result<(Answer, Handle), Arc<Error>> {
        let is_result = matches!(command, Command::SubmitResult { .. });
        let until = is_result.then(|| self.inner.env.uptime() + DEADLINE_OF_RESULTS);
        let mut blob = None;
        loop {
            let handled = self.handle_once((place, until), handle, &mut command, &mut blob).await;
            let may_pass = handled.as_ref().is_err_and(|error| error.may_pass());
            let has_time = |until| self.inner.env.uptime() + RESULT_AGAIN_AFTER <= until;
            if !may_pass || !until.is_some_and(has_time) {
                return handled;
            }
            self.inner.env.sleep(RESULT_AGAIN_AFTER).await;
        }
    }

    /// Puts the payload of the command into `blob`, if it is large and not there yet, and has the command
    /// decided and committed.
    async fn handle_once(
        &self,
        (place, until): (Option<PlaceNumber>, Option<Duration>),
        handle: &Handle,
        command: &mut Command,
        blob: &mut Option<Blob>,
    ) -> Result<(Answer, Handle), Arc<Error>> {
        if let Some(put) = self.offload(handle, command).await? {
            *blob = Some(put);
        }
        let desk = self.inner.slots.of(handle.run);
        loop {
            let (answer, mut answered) = oneshot::channel();
            let (command, blob) = (command.clone(), blob.clone());
            desk.push(Pending { command, blob, until, place, answer });
            // Ours may be answered by whoever had the turn before, or be beyond what one batch takes.
            loop {
                let turn = desk.turn.lock().await;
                match answered.try_recv() {
                    Ok(answer) => return answer,
                    Err(TryRecvError::Empty) => {}
                    // Whoever decided for us was cut off before it could tell: ask again.
                    Err(TryRecvError::Closed) => break,
                }
                // By far the largest part: in a box, it is not moved with all that wait for it.
                Box::pin(self.decide_together(handle, desk.take(BATCH_MAX))).await;
                drop(turn);
            }
        }
    }

    async fn decide_together(&self, handle: &Handle, batch: Vec<Pending>) {
        let answers = self.commit_batch(handle, &batch).await;
        match answers {
            Ok((answers, handle)) => {
                for (pending, answer) in batch.into_iter().zip(answers) {
                    let answer = answer.map(|answer| (answer, handle.clone()));
                    drop(pending.answer.send(answer.map_err(|refusal| Arc::new(refusal.into()))));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for pending in batch {
                    drop(pending.answer.send(Err(error.clone())));
                }
            }
        }
    }

    async fn commit_batch(
        &self,
        handle: &Handle,
        batch: &[Pending],
    ) -> Result<(Answers, Handle), Error> {
        let mut hint = handle.clone();
        // A wake entry's handle is old by nature: what is due follows from the newest commit only. Where
        // nothing is put before the commit, trying it finds that out.
        let may_be_old = is_woken(batch) && !self.inner.memory.has(handle.run);
        let mut anew = may_be_old && !self.inner.store.takes_along();
        for race in 0..RACES_MAX {
            let (loaded, from_cache) = match self.rehydrate(&hint, anew).await {
                // The old commit may be of no use where the newest is.
                Err(_) if may_be_old && !anew => {
                    anew = true;
                    continue;
                }
                rehydrated => rehydrated?,
            };
            match self.try_commit(loaded, from_cache, batch).await? {
                Tried::Answered(answers, handle) => return Ok((answers, handle)),
                Tried::Stale { seen } => {
                    hint = handle.at(seen);
                    anew = true;
                    self.pause_after_race(race).await;
                }
            }
        }
        Err(log::Error::Throttled { after: Duration::from_secs(1) }.into())
    }

    /// Lets the winners of a race go first, for longer each time, by chance.
    async fn pause_after_race(&self, race: u32) {
        if race == 0 {
            return;
        }
        let bound_ms = 10_u64 << race.min(6);
        let millis = self.random_u64() % bound_ms;
        self.inner.env.sleep(Duration::from_millis(millis)).await;
    }

    /// The run's state: from memory, or from its log. Only with `anew`, or where `at_tail` says so,
    /// surely its newest.
    pub(super) async fn rehydrate(
        &self,
        handle: &Handle,
        anew: bool,
    ) -> Result<(Loaded, bool), Error> {
        let cached = self.inner.memory.take(handle.run);
        if let Some(loaded) = cached.filter(|loaded| !anew && loaded.state.seq >= handle.seq) {
            return Ok((loaded, true));
        }
        let read = Box::pin(self.read_run(handle, anew)).await?;
        Ok((read, false))
    }

    /// The run's state from its log.
    async fn read_run(&self, handle: &Handle, anew: bool) -> Result<Loaded, Error> {
        let read_at = self.inner.env.now();
        let log = &self.inner.log;
        let tail = if anew { log.newest(handle).await? } else { log.tail(handle).await? };
        let tail = tail.ok_or_else(|| no_such_run(handle))?;
        let blueprint = self.pinned_blueprint(tail.state()).await?;
        let (sum, snapshots) = (tail.last().sum, tail.snapshots());
        let state = Box::new(tail.into_state());
        Ok(Loaded { state, blueprint, sum, snapshots, read_at, at_tail: anew })
    }

    /// Whether the log goes on after `loaded`. Costs 1 GET, but nothing where one process owns the
    /// store and knows the tail.
    async fn is_behind(&self, loaded: &mut Loaded, from_cache: bool) -> Result<bool, Error> {
        if loaded.at_tail && (self.inner.store.is_exclusive() || !from_cache) {
            return Ok(false);
        }
        let handle = loaded.state.handle();
        loaded.at_tail = Box::pin(self.inner.log.probe_next(&handle)).await?.is_none();
        Ok(!loaded.at_tail)
    }

    async fn try_commit(
        &self,
        loaded: Loaded,
        from_cache: bool,
        batch: &[Pending],
    ) -> Result<Tried, Error> {
        let values = self.values(&loaded, batch).await?;
        let now = self.inner.env.now();
        let rest = Rest::of(&loaded, from_cache);
        let Loaded { state, blueprint, .. } = loaded;
        let mut before = Before::of(&state, self.stores_offers());
        let handle = state.handle();
        // One question to the system: jitter need not be secret, so that half of the `cid` will do.
        let random = self.inner.env.random();
        let mut draft = Draft::next(state, now, half_of(random));
        let policy = &self.inner.config.policy;
        let setting = Setting { blueprint: &blueprint.blueprint, policy, values: &values };
        let decide = |command| workflow::decide(&mut draft, &setting, command);
        let answers: Answers = batch.iter().map(|pending| &pending.command).map(decide).collect();

        if draft.is_empty() {
            // A refusal that a later commit could turn into another answer is not given from memory,
            // nor from a hint, before the log was seen to end there; and what a waker puts and
            // deletes next follows from the newest state only.
            let may_change =
                answers.iter().any(|answer| matches!(answer, Err(no) if !no.is_final()));
            let mut loaded = rest.with(draft.discard(), blueprint);
            if (may_change || is_woken(batch)) && self.is_behind(&mut loaded, from_cache).await? {
                return Ok(Tried::Stale { seen: loaded.state.seq + 1 });
            }
            self.after_nothing(&loaded, batch);
            self.inner.memory.put(loaded);
            return Ok(Tried::Answered(answers, handle));
        }
        let assigned = self.assign(&mut draft, &blueprint, batch);
        let sealed = draft.seal(policy.guard_ms());
        // Who waits for a person may have no entry at all. If the run closes now, one stands until its
        // record for lists is written: the guard of a commit that makes nothing active.
        let closes_unseen = before.attention.is_empty() && sealed.state.is_closed();
        let last_look = Guard { epoch: sealed.facts.seq, due: now.after(policy.guard) };
        let last_look = closes_unseen.then_some(last_look);
        before.attention.extend(last_look.map(attention_of));
        let guard = sealed.guard_first.or(last_look);
        let written = self.write(&before, &rest, (&sealed, random), guard, batch).await;
        match written {
            Ok(Written::Committed(written)) => {
                let handle = sealed.state.handle();
                let loaded = Loaded::after(sealed.state, blueprint, &written, now);
                let which = if is_woken(batch) { Which::All } else { Which::New };
                let blobs: Vec<Blob> = batch.iter().filter_map(|it| it.blob.clone()).collect();
                self.remember_payloads(&loaded.state, &sealed.events, &blobs);
                self.release(&before, &loaded, &sealed.events, assigned, which);
                self.inner.memory.put(loaded);
                Ok(Tried::Answered(answers, handle))
            }
            Ok(Written::Lost(seen)) => {
                assigned.cancel();
                Ok(Tried::Stale { seen })
            }
            Err(error) => {
                assigned.cancel();
                Err(error)
            }
        }
    }

    /// Appends, and arms the guard if need be: with the commit where the store can, else before it.
    async fn write(
        &self,
        before: &Before,
        rest: &Rest,
        (sealed, cid): (&Sealed, u128),
        guard: Option<Guard>,
        batch: &[Pending],
    ) -> Result<Written, Error> {
        let handle = &before.handle;
        if !rest.at_tail
            && self.inner.env.now().since(rest.time) > KNOWN_FOR
            && !Box::pin(self.inner.log.names_run(handle)).await?
        {
            return Err(no_such_run(handle));
        }
        let along = guard.and_then(|guard| self.inner.wakes.along(handle, attention_of(guard)));
        if let Some(guard) = guard.filter(|_| along.is_none()) {
            // If the commit loses, its guard stays until it fires: an offer with an old hint, tried at each
            // poll of a build that can not read the winner, would leave one each time.
            if !rest.at_tail
                && let Some(next) = Box::pin(self.inner.log.probe_next(handle)).await?
            {
                return Ok(Written::Lost(next.seq));
            }
            self.inner.wakes.put(handle, attention_of(guard)).await?;
        }
        let requests: Vec<String> = batch
            .iter()
            .filter_map(|pending| pending.command.request())
            .map(str::to_owned)
            .collect();
        let encoded = self.encode((sealed, cid), &requests, Some(rest));
        let until = batch.iter().filter_map(|pending| pending.until).max();
        let left = until.map(|until| until.saturating_sub(self.inner.env.uptime()));
        let deadline = left.map_or(DEADLINE, |left| left.max(DEADLINE));
        match self.inner.log.append(handle.run, &encoded, along, deadline).await? {
            Append::Committed => {
                self.still_named(handle, rest).await?;
                Ok(Written::Committed(encoded))
            }
            Append::Lost(winner) => Ok(Written::Lost(winner.seq)),
        }
    }

    /// Refuses a commit on a state that was read so long ago that the run may be deleted.
    async fn still_named(&self, handle: &Handle, rest: &Rest) -> Result<(), Error> {
        if self.inner.env.now().since(rest.read_at) <= FRESH {
            return Ok(());
        }
        match Box::pin(self.inner.log.names_run(handle)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(no_such_run(handle)),
            Err(error) => Err(error.after_a_write(handle).into()),
        }
    }

    /// The bytes of a sealed draft, to be sent unchanged however often they have to be; `cid` are 128
    /// random bits. Without `rest` it begins its run.
    pub(super) fn encode(
        &self,
        (sealed, cid): (&Sealed, u128),
        requests: &[String],
        rest: Option<&Rest>,
    ) -> Encoded {
        let snapshots = rest.map_or(Snapshots::NONE, |rest| rest.snapshots);
        // One that memory had lost may be lost again, with as much to read.
        let was_remembered = rest.is_none_or(|rest| rest.was_remembered);
        let Sealed { events, facts, state, .. } = sealed;
        // What is parked is forgotten, and read again when it is woken.
        let keeps = match self.inner.memory.is_on() && state.is_active() {
            false => Keeps::Nothing,
            true if self.inner.store.is_exclusive() && was_remembered => Keeps::StateAndStore,
            true => Keeps::State,
        };
        let commit = NewCommit {
            run: state.run,
            seq: facts.seq,
            prev: rest.map(|rest| rest.sum),
            time: facts.time,
            by: &self.inner.config.instance,
            requests,
            events,
            snapshots,
            snapshot: snapshots.is_due(facts.seq, keeps).then_some(state),
        };
        commit.encode_as(self.inner.format, cid)
    }

    /// Nothing was decided. A waker still makes known what is due soon and what is ready: whoever
    /// should have done so may have died before it could.
    fn after_nothing(&self, loaded: &Loaded, batch: &[Pending]) {
        if is_woken(batch) {
            let stored = self.take_care_of(loaded, Which::All);
            self.offer_in_store(stored);
        }
    }

    /// The effects of a commit that is in the log.
    pub(super) fn release(
        &self,
        before: &Before,
        loaded: &Loaded,
        events: &[Event],
        assigned: Assigned,
        which: Which,
    ) {
        self.learn_calls(loaded, events);
        assigned.hand_out(self, loaded);
        self.after_commit(before, loaded, which);
    }
}

fn is_woken(batch: &[Pending]) -> bool {
    batch.iter().any(|pending| pending.command == Command::Wake)
}

/// What became of trying to commit a batch.
enum Tried {
    /// All commands have their answer, at this commit.
    Answered(Answers, Handle),
    /// The log had gone on; `seen` is a commit that exists.
    Stale { seen: Seq },
}

enum Written {
    /// In the log.
    Committed(Encoded),
    /// Another commit stands at this place.
    Lost(Seq),
}

/// What effects need of the state before a commit.
#[derive(Debug)]
pub(super) struct Before {
    /// The run, at the commit before; at 0 for the start.
    pub(super) handle: Handle,
    /// The wake entries that it needed.
    pub(super) attention: BTreeSet<Attention>,
    /// Where it stood in lists; none: it had not started.
    pub(super) standing: Option<Standing>,
    /// The offers of tasks that were ready, where they stand in the store.
    pub(super) ready: Vec<crate::dispatch::Offer>,
}

impl Before {
    fn of(state: &State, stores_offers: bool) -> Self {
        Self {
            handle: state.handle(),
            attention: state.attention(),
            standing: Some(Standing::of(state)),
            ready: if stores_offers { ready_offers(state) } else { vec![] },
        }
    }

    /// Before the start of a run.
    pub(super) fn start(handle: Handle) -> Self {
        Self { handle, attention: BTreeSet::new(), standing: None, ready: vec![] }
    }
}

/// What a state needs beside it to be committed on.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    sum: Sum,
    snapshots: Snapshots,
    /// Whether memory had the state.
    was_remembered: bool,
    /// When its last commit was made.
    time: Timestamp,
    read_at: Timestamp,
    at_tail: bool,
}

impl Rest {
    pub(super) fn of(loaded: &Loaded, was_remembered: bool) -> Self {
        let Loaded { state, sum, snapshots, read_at, at_tail, .. } = loaded;
        let (sum, snapshots, read_at, at_tail) = (*sum, *snapshots, *read_at, *at_tail);
        Self { sum, snapshots, was_remembered, time: state.time, read_at, at_tail }
    }

    /// The state as it was, nothing decided.
    fn with(self, state: Box<State>, blueprint: Arc<StoredBlueprint>) -> Loaded {
        let Self { sum, snapshots, was_remembered: _, time: _, read_at, at_tail } = self;
        Loaded { state, blueprint, sum, snapshots, read_at, at_tail }
    }
}

/// The wake entry of a guard.
pub(super) fn attention_of(guard: Guard) -> Attention {
    Attention { kind: WakeKind::Guard, due: guard.due, seq: guard.epoch }
}

pub(super) fn no_such_run(handle: &Handle) -> Error {
    let what = format!(
        "run {} of execution {} is not in this store; it may be deleted, or the task id belongs to \
         another store",
        handle.run, handle.execution
    );
    Error::NotFound { what }
}
