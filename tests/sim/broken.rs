//! What is broken on purpose, to see that it is noticed: a checker that can not fail is worthless.
//!
//! All of it is broken where the engine meets the world, at the store, the clock or the request, so
//! that no such switch exists in the engine: an engine without a rule leaves the same bucket behind
//! as one whose request, sent by that rule, does nothing.

use std::ops::ControlFlow;

use bytes::Bytes;
use lazarus::{
    log::{Key, Sum},
    workflow::WakeKind,
};
use object_store::{Error, Result, path::Path};

use super::{builds, world::World};

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No guard is put.
    GuardMissing,
    /// A guard is put at the start only: a run that becomes active again relies on the old one.
    OldGuardReliedOn,
    /// A guard goes although the timers that it stood in for were never put.
    TimerMissing,
    /// A wake entry goes as soon as it is found, before its run is decided.
    EntryDeletedEarly,
    /// Nobody deletes offers.
    OffersStay,
    /// Nobody deletes wake entries.
    EntriesStay,
    /// Answers and tasks go out before their commit is in, and some never get in.
    EffectsBeforeCommit,
    /// "Already exists" about an own start is taken for somebody else's.
    OwnWriteReadAsLost,
    /// Put-if-absent replaces what is there.
    PutsReplace,
    /// For a while after a commit some readers do not see it.
    StaleReads,
    /// One instance's clock is an hour ahead, and serves all the same.
    ClockAnHourAhead,
    /// A request that is sent again is taken for another one.
    RequestsForgotten,
    /// A result that comes after the end of its lease is turned away.
    LateResultRefused,
    /// A failure that comes after the end of its lease is ignored.
    LateFailureIgnored,
    /// A poll extends the leases of its worker, also of what it has dropped.
    PollExtendsLease,
    /// Guards of one run share a key whatever their epoch: who deletes one deletes all.
    EpochsMissing,
    /// A scan passes over what was due long ago: some low-water mark says that it was worked off.
    LowWaterMark,
    /// A commit relies on a guard that has climbed its ladder while the run stood still.
    LadderWithoutOwnGuard,
    /// Tasks are reserved where nobody looks whether they are fetched: in a function.
    ReservationsStay,
    /// The commits of all generations of an id share their keys.
    KeysOfTheExecution,
    /// An older engine passes over events that it does not know.
    UnknownSkipped,
    /// Retention puts no tombstone: a generation number comes back.
    TombstoneMissing,
    /// Retention deletes the newest generation first.
    NewestFirst,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::GuardMissing,
        Self::OldGuardReliedOn,
        Self::TimerMissing,
        Self::EntryDeletedEarly,
        Self::OffersStay,
        Self::EntriesStay,
        Self::EffectsBeforeCommit,
        Self::OwnWriteReadAsLost,
        Self::PutsReplace,
        Self::StaleReads,
        Self::ClockAnHourAhead,
        Self::RequestsForgotten,
        Self::LateResultRefused,
        Self::LateFailureIgnored,
        Self::PollExtendsLease,
        Self::EpochsMissing,
        Self::LowWaterMark,
        Self::LadderWithoutOwnGuard,
        Self::ReservationsStay,
        Self::KeysOfTheExecution,
        Self::UnknownSkipped,
        Self::TombstoneMissing,
        Self::NewestFirst,
    ];

    /// The bytes of an object as an older build is given them.
    pub fn older(self, bytes: Bytes) -> Bytes {
        match self {
            Self::UnknownSkipped => builds::without_unknown(&bytes).unwrap_or(bytes),
            _ => bytes,
        }
    }

    /// The key that is meant by `key`.
    pub fn key(self, world: &World, key: &Path) -> Path {
        let Some(Key::Run { run, seq }) = Key::parse(key) else { return key.clone() };
        match world.audit.first_generation(run) {
            Some(first) if self == Self::KeysOfTheExecution => Key::Run { run: first, seq }.path(),
            _ => key.clone(),
        }
    }

    /// What a put does: nothing though it says so, or go on; true: whatever stands there.
    pub fn put(
        self,
        world: &World,
        (key, bytes): (&str, &Bytes),
        only_if_free: bool,
    ) -> ControlFlow<(), bool> {
        let is_lost = match self {
            Self::TombstoneMissing => {
                key.starts_with("id/") && contains(bytes, "\"k\":\"execution_deleted\"")
            }
            Self::LadderWithoutOwnGuard => has_a_later_guard(world, key),
            Self::GuardMissing => is_wake(key, "guard"),
            Self::OldGuardReliedOn => is_wake(key, "guard") && !key.ends_with(".0"),
            Self::TimerMissing => is_wake(key, "timer"),
            Self::EffectsBeforeCommit => key.starts_with("run/") && mixed(key).is_multiple_of(8),
            _ => false,
        };
        if is_lost {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(self == Self::PutsReplace && only_if_free)
    }

    /// Whether a delete does nothing though it says so.
    pub fn keeps(self, world: &World, key: &str) -> bool {
        match self {
            // That the older ones stay is as if the newest had gone before them.
            Self::NewestFirst => has_a_newer_generation(world, key),
            Self::OffersStay => key.starts_with("queue/"),
            Self::EntriesStay => key.starts_with("wake/"),
            _ => false,
        }
    }

    /// What a reader of `key`, where `bytes` stand, gets to see.
    ///
    /// # Errors
    ///
    /// It sees nothing.
    pub fn read(self, world: &World, key: &str, bytes: Bytes) -> Result<Bytes> {
        let age_ms = world.now_ms() - world.bucket().get(key)?.modified_ms;
        match self {
            Self::OwnWriteReadAsLost if key.starts_with("id/") && age_ms < 200 => {
                Ok(with_another_cid(&bytes))
            }
            Self::StaleReads if key.starts_with("run/") && age_ms < 20_000 => {
                Err(Error::NotFound { path: key.to_owned(), source: "not yet".into() })
            }
            _ => Ok(bytes),
        }
    }

    /// `key` was deleted.
    pub fn deleted(self, world: &World, key: &str) {
        let Some(Key::Wake { kind: WakeKind::Guard, handle, .. }) = Key::parse(&Path::from(key))
        else {
            return;
        };
        if self != Self::EpochsMissing {
            return;
        }
        let run = format!(".{}.", handle.run);
        let of_run = |key: &&String| is_wake(key, "guard") && key.contains(&run);
        let others: Vec<String> = world
            .bucket()
            .below("wake", None)
            .map(|(key, _)| key)
            .filter(of_run)
            .cloned()
            .collect();
        for other in others {
            world.delete(&other);
        }
    }

    /// Whether a list leaves `key` out.
    pub fn hides(self, world: &World, key: &str) -> bool {
        let Some(Key::Wake { due, .. }) = Key::parse(&Path::from(key)) else { return false };
        self == Self::LowWaterMark && due.as_millis() + 30_000 < world.now_ms()
    }

    /// `key` was listed.
    pub fn listed(self, world: &World, key: &str) {
        if self == Self::EntryDeletedEarly && key.starts_with("wake/") {
            world.delete(key);
        }
    }
}

fn is_wake(key: &str, kind: &str) -> bool {
    key.starts_with("wake/") && key.split('/').nth(2) == Some(kind)
}

/// Whether a start commit of a newer generation stands beside the one at `key`, and is no tombstone.
fn has_a_newer_generation(world: &World, key: &str) -> bool {
    let Some((folder, _)) = key.rsplit_once('/').filter(|_| key.starts_with("id/")) else {
        return false;
    };
    let newer: Vec<String> = {
        let bucket = world.bucket();
        bucket
            .below(folder, None)
            .map(|(other, _)| other.clone())
            .filter(|it| it.as_str() < key)
            .collect()
    };
    newer.iter().any(|other| !world.audit.is_tombstone(other))
}

fn contains(bytes: &Bytes, words: &str) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains(words))
}

/// Whether a guard of the same epoch that is due later stands in the bucket.
fn has_a_later_guard(world: &World, key: &str) -> bool {
    let guard = |key: &str| match Key::parse(&Path::from(key)) {
        Some(Key::Wake { kind: WakeKind::Guard, due, handle, .. }) => Some((handle, due)),
        _ => None,
    };
    let Some((handle, due)) = guard(key) else { return false };
    let is_later = |other: &String| guard(other).is_some_and(|it| it.0 == handle && it.1 > due);
    world.bucket().below("wake", None).any(|(other, _)| is_later(other))
}

fn mixed(key: &str) -> u64 {
    let mixed = key.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(131) ^ u64::from(byte));
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// The same commit as if another writer had written it.
fn with_another_cid(bytes: &[u8]) -> Bytes {
    let text = std::str::from_utf8(bytes).expect("JSON");
    let (body, _) = text.rsplit_once(",\"sum\":").expect("a sum");
    let at = body.find("\"cid\":\"").expect("a cid") + "\"cid\":\"".len();
    let mut forged = body.as_bytes().to_vec();
    forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
    let sum = Sum::of(&forged);
    forged.extend_from_slice(format!(",\"sum\":\"{sum}\"}}").as_bytes());
    forged.into()
}
