//! What an instance keeps between two requests on a run. A cache may skip reads, never change an
//! outcome: everything in here may be missing at any time.
//!
//! * [`Slot`]: the desk of one run in this instance, at which commands queue up so that those which
//!   arrive during a put are decided together into the next commit. Exists while somebody uses it.
//! * the folded states of active runs, and payloads too large to stand in a state: bounded by bytes,
//!   the least recently used go first. Parked and closed runs are not kept: ten thousand sleepers
//!   cost no memory here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use quick_cache::{Weighter, sync::Cache};
use tokio::sync::oneshot;

use super::{Error, StoredBlueprint};
use crate::{
    dispatch::PlaceNumber,
    log::{Encoded, Snapshots, Sum},
    workflow::{Answer, At, Command, Done, Handle, Json, RunId, State, Timestamp},
};

/// A run as it was last seen or left by this instance.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// The state.
    pub(super) state: Box<State>,
    /// The pinned blueprint.
    pub(super) blueprint: Arc<StoredBlueprint>,
    /// The sum of the last commit, which the next one names.
    pub(super) sum: Sum,
    /// The last snapshot.
    pub(super) snapshots: Snapshots,
    /// When it was read, or committed on last.
    pub(super) read_at: Timestamp,
    /// Whether the log was seen to end here. A state read from a hint may be behind.
    pub(super) at_tail: bool,
}

impl Loaded {
    /// A run right after `commit`, which led to `state`.
    pub(super) fn after(
        state: Box<State>,
        blueprint: Arc<StoredBlueprint>,
        commit: &Encoded,
        read_at: Timestamp,
    ) -> Self {
        let (sum, snapshots) = (commit.sum, Snapshots::after(commit));
        Self { state, blueprint, sum, snapshots, read_at, at_tail: true }
    }
}

/// A command at a desk, and where its answer goes.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) command: Command,
    /// The large payload of the command.
    pub(super) blob: Option<Blob>,
    /// Until when it is tried, by the uptime; none: for as long as a request is.
    pub(super) until: Option<Duration>,
    /// The place on the board that waits for what the command makes ready.
    pub(super) place: Option<PlaceNumber>,
    pub(super) answer: oneshot::Sender<Result<(Answer, Handle), Arc<Error>>>,
}

/// A payload that stands in a blob: the blob's name, and its value.
pub(super) type Blob = (Arc<str>, Json);

/// The desk of one run.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Commands that wait for the next commit.
    pub(super) queue: Mutex<Vec<Pending>>,
    /// Held by whoever decides and commits for all.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Slot {
    /// Queues a command.
    pub(super) fn push(&self, pending: Pending) {
        self.queue.lock().expect("BUG: a thread panicked at a desk").push(pending);
    }

    /// Takes all that wait, up to `most`.
    pub(super) fn take(&self, most: usize) -> Vec<Pending> {
        let mut queue = self.queue.lock().expect("BUG: a thread panicked at a desk");
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }
}

/// The desks in use.
#[derive(Debug, Default)]
pub(super) struct Slots(Mutex<HashMap<RunId, Arc<Slot>>>);

/// A desk, for as long as this lives.
#[derive(Debug)]
pub(super) struct AtDesk<'a> {
    slots: &'a Slots,
    run: RunId,
    slot: Option<Arc<Slot>>,
}

impl Slots {
    /// The desk of `run`.
    pub(super) fn of(&self, run: RunId) -> AtDesk<'_> {
        let mut slots = self.0.lock().expect("BUG: a thread panicked at the desks");
        let slot = slots.entry(run).or_default().clone();
        AtDesk { slots: self, run, slot: Some(slot) }
    }
}

impl std::ops::Deref for AtDesk<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        self.slot.as_deref().expect("BUG: a desk is used after it was left")
    }
}

impl Drop for AtDesk<'_> {
    /// Clears the desk away when its last user leaves.
    fn drop(&mut self) {
        let mut slots = self.slots.0.lock().expect("BUG: a thread panicked at the desks");
        self.slot = None;
        if slots.get(&self.run).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            slots.remove(&self.run);
        }
    }
}

/// The length of a cached thing, in bytes, roughly.
#[derive(Clone, Debug)]
struct Bytes;

/// What a folded state takes in memory beside its snapshot's bytes: maps, counters, shared names.
const STATE_BYTES: u64 = 2048;

impl Weighter<RunId, Loaded> for Bytes {
    fn weight(&self, _run: &RunId, loaded: &Loaded) -> u64 {
        let steps = loaded.state.open.len() * 400 + loaded.state.done.len() * 150;
        STATE_BYTES + loaded.state.kept_bytes * 4 + steps as u64
    }
}

/// What any payload takes beside its text: an object of one field is a map with room for eleven.
const PAYLOAD_BYTES: u64 = 1024;

impl Weighter<(RunId, At), (Json, u64)> for Bytes {
    fn weight(&self, _at: &(RunId, At), (_, bytes): &(Json, u64)) -> u64 {
        // A parsed value takes several times the bytes of its text, and the text itself stands beside it.
        PAYLOAD_BYTES + bytes * 5
    }
}

/// Payloads and their length as JSON, by run and event.
type Payloads = Cache<(RunId, At), (Json, u64), Bytes>;

/// The memory of an instance.
#[derive(Debug)]
pub(super) struct Memory {
    states: Option<Cache<RunId, Loaded, Bytes>>,
    payloads: Option<Payloads>,
}

impl Memory {
    /// A memory of at most `bytes`; 0: it remembers nothing.
    pub(super) fn new(bytes: u64) -> Self {
        let half = bytes / 2;
        let items = usize::try_from(half / STATE_BYTES).unwrap_or(usize::MAX).max(16);
        Self {
            states: (bytes > 0).then(|| Cache::with_weighter(items, half, Bytes)),
            payloads: (bytes > 0).then(|| Cache::with_weighter(items, half, Bytes)),
        }
    }

    /// Whether anything is remembered at all.
    pub(super) fn is_on(&self) -> bool {
        self.states.is_some()
    }

    /// Whether the state of `run` is remembered.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.states.as_ref().is_some_and(|states| states.contains_key(&run))
    }

    /// Takes the state of `run` out: whoever has it puts it back unless it may be wrong.
    pub(super) fn take(&self, run: RunId) -> Option<Loaded> {
        self.states.as_ref()?.remove(&run).map(|(_, loaded)| loaded)
    }

    /// Keeps the state of an active run; forgets it otherwise.
    pub(super) fn put(&self, loaded: Loaded) {
        if let Some(states) = self.states.as_ref().filter(|_| loaded.state.is_active()) {
            states.insert(loaded.state.run, loaded);
        }
    }

    /// A payload that was seen.
    pub(super) fn payload(&self, run: RunId, at: At) -> Option<Json> {
        self.payloads.as_ref()?.get(&(run, at)).map(|(value, _)| value)
    }

    /// Keeps a payload of `bytes` as JSON.
    pub(super) fn put_payload(&self, run: RunId, at: At, value: Json, bytes: u64) {
        if let Some(payloads) = &self.payloads {
            payloads.insert((run, at), (value, bytes));
        }
    }

    /// Forgets the payloads of a run that closed, or sleeps, which its state carries: whoever asks for
    /// them reads the state. They would stand here until as many newer ones came as this memory holds.
    pub(super) fn forget_kept(&self, state: &State) {
        let Some(payloads) = &self.payloads else { return };
        let kept = state.kept.iter().filter_map(|(step, _)| state.done.get(step));
        let input = state.input.value.is_some().then_some(state.input.at);
        for at in kept.map(Done::at).chain(input) {
            payloads.remove(&(state.run, at));
        }
    }
}
