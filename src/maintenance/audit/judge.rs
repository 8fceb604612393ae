//! Compares what a run's log adds up to with what the indexes say of it. Pure.
//!
//! What the design allows is no finding: an active run is covered by any guard of its epoch, wherever
//! it has moved; a timer that is missing is covered by an entry that is due soon enough; an entry of
//! a commit that may still come is left alone.

use std::time::Duration;

use super::{
    finding::{Finding, LOST, SCRUB, SCRUB_AND_WAKE},
    index::{Listed, OfRun, Offered},
    verdict::Mend,
};
use crate::{
    log::{DUE_MAX, Key, shard_of},
    maintenance::{Record, Standing},
    wake::Entry,
    workflow::{Attention, State, Timestamp, WakeKind},
};

/// Beyond this, an entry that nothing needs should have been found by a waker and taken.
const LEFT_FOR: Duration = Duration::from_hours(2);
/// How far ahead of the last commit, or of now, a guard's ladder may have gone.
const LADDER: Duration = Duration::from_hours(2);
/// How young an entry must be for its commit to be still under way.
const UNDECIDED_FOR: Duration = Duration::from_mins(30);
/// How far lists may be behind.
const LISTS_BEHIND: Duration = Duration::from_mins(5);

/// What a run is judged by beside its state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The time.
    pub(super) now: Timestamp,
    /// Over how many parts the indexes are spread.
    pub(super) shards: u32,
    /// The guard interval, for the next place of a guard that is due.
    pub(super) guard: Duration,
    /// How many steps the blueprint has; none: it is not there.
    pub(super) steps: Option<usize>,
}

/// What is wrong with what the indexes say of the run of `state`, and what mends it.
pub(super) fn judge(state: &State, of: &OfRun, setting: Setting) -> (Vec<Finding>, Mend) {
    let mut judged = Judged { state, of, setting, findings: vec![], mend: Mend::default() };
    judged.dead();
    judged.needed();
    judged.left_over();
    judged.offers();
    judged.lists();
    judged.finish()
}

struct Judged<'a> {
    state: &'a State,
    of: &'a OfRun,
    setting: Setting,
    findings: Vec<Finding>,
    mend: Mend,
}

impl Judged<'_> {
    fn is_dead(&self) -> bool {
        self.of.dead.is_some() && !self.state.is_closed()
    }

    fn dead(&mut self) {
        let Some(handle) = &self.of.dead else { return };
        let key = Key::Dead { handle: handle.clone() };
        self.findings.push(if self.state.is_closed() {
            let advice = "take it out with `lazarus dead retry HANDLE`";
            Finding::note(key, "the run was put aside, and is closed", advice)
        } else {
            let advice =
                "see `lazarus dead list` for the reason, mend it, then `lazarus dead retry`";
            Finding::fault(key, "the run was put aside: nobody looks at it", advice)
        });
    }

    /// Invariant W.
    fn needed(&mut self) {
        for needed in self.state.attention() {
            if self.is_dead() || self.is_covered(needed) {
                continue;
            }
            let key = self.key(needed);
            let (what, put) = match needed.kind {
                WakeKind::Guard => (
                    "the run is active, and no guard of its epoch is there: a crash would not be \
                     noticed",
                    Attention { due: self.setting.now, ..needed },
                ),
                WakeKind::Timer => {
                    ("the run waits for this time, and no entry would wake it", needed)
                }
            };
            self.findings.push(Finding::fault(key, what, SCRUB));
            self.mend.put.push(put);
        }
    }

    fn is_covered(&self, needed: Attention) -> bool {
        let now = self.setting.now;
        let named =
            self.state.guard.map_or_else(|| self.state.time.after(LADDER), |guard| guard.due);
        // Whoever finds any entry of the run first puts all that the run needs.
        let soon = match needed.kind {
            WakeKind::Guard => named.max(now),
            WakeKind::Timer => needed.due.max(named),
        };
        let entries = self.of.wakes.iter().filter(|entry| self.is_in_its_shard(entry));
        entries.into_iter().any(|entry| {
            entry.due <= soon
                || (is(entry, needed) && entry.due <= soon.max(now.after(LADDER)))
                || (is(entry, needed) && entry.tries > 0)
        })
    }

    fn left_over(&mut self) {
        let needed = self.state.attention();
        for entry in &self.of.wakes {
            let is_needed = needed.iter().any(|it| is(entry, *it)) && self.is_in_its_shard(entry);
            if is_needed {
                continue;
            }
            let key = key_of(entry);
            let is_old = self.setting.now.since(entry.due) > LEFT_FOR;
            if entry.handle.seq > self.state.seq {
                self.ahead(entry, is_old);
                continue;
            }
            let what = "nothing in the run needs this entry";
            self.findings.push(if is_old {
                Finding::fault(key, what, SCRUB_AND_WAKE)
            } else {
                Finding::note(key, what, "nothing: it goes when it is due, or with `lazarus scrub`")
            });
            self.mend.remove.push(entry.clone());
        }
    }

    /// An entry of a commit that the log does not have.
    fn ahead(&mut self, entry: &Entry, is_old: bool) {
        let (key, tail) = (key_of(entry), self.state.seq);
        match entry.kind {
            WakeKind::Timer => {
                let what = format!("it was written after its commit, but the log ends at {tail}");
                self.findings.push(Finding::fault(key, what, LOST));
            }
            // Its commit is not there yet, or never came: a waker settles that.
            WakeKind::Guard if is_old => {
                let advice = "see that an engine or `lazarus wake` runs";
                self.findings.push(Finding::fault(key, "nobody looked at it", advice));
            }
            WakeKind::Guard if self.setting.now.since(entry.put_at) > UNDECIDED_FOR => {
                let advice = "nothing: a waker settles it";
                self.findings.push(Finding::note(key, "its commit never came", advice));
            }
            WakeKind::Guard => {}
        }
    }

    fn offers(&mut self) {
        for offer in &self.of.offers {
            let tail = self.state.seq;
            if offer.handle.seq > tail {
                let what = format!("it was written after its commit, but the log ends at {tail}");
                self.findings.push(Finding::fault(&offer.path, what, LOST));
            } else if !self.is_open(offer) {
                let advice = "nothing: whoever finds it deletes it, or `lazarus scrub`";
                self.findings.push(Finding::note(&offer.path, "its task is over", advice));
                self.mend.retract.push(offer.path.clone());
            }
        }
    }

    fn is_open(&self, offer: &Offered) -> bool {
        let task = &offer.task;
        let open = self.state.open.get(&task.step).filter(|_| !self.state.is_closed());
        open.is_some_and(|it| (it.iteration, it.attempt) == (task.iteration, task.attempt))
    }

    fn lists(&mut self) {
        let state = self.state;
        match &self.of.listed {
            None => {
                if self.setting.now.since(state.time) > LISTS_BEHIND {
                    let key = Key::of_start(&state.handle());
                    self.findings.push(Finding::fault(
                        key,
                        "lists do not know the run",
                        self.to_list(),
                    ));
                    self.write_record();
                }
            }
            // Retention puts it out of the lists first of all; what it left undone it goes on with.
            Some(Listed { deleted: Some(_), .. }) => {}
            Some(Listed { handle, path, .. }) if handle.seq > state.seq => {
                let what = format!(
                    "it knows commit {} of run {}, whose log ends at {}",
                    handle.seq, state.run, state.seq
                );
                self.findings.push(Finding::fault(path, what, LOST));
            }
            Some(Listed { handle, standing, path, .. }) if *standing != Standing::of(state) => {
                let what = format!("it shows run {} as {standing:?}", state.run);
                let what = format!("{what}, which is {:?}", Standing::of(state));
                self.findings.push(Finding::note(path, what, SCRUB));
                // Of two records of one commit the first that is read counts: another would not help.
                if handle.seq < state.seq {
                    self.write_record();
                }
            }
            Some(_) => {}
        }
    }

    /// A record names how many steps there are.
    fn to_list(&self) -> &'static str {
        if self.setting.steps.is_some() {
            SCRUB
        } else {
            "restore its blueprint, then run `lazarus scrub`"
        }
    }

    fn write_record(&mut self) {
        self.mend.record = self.setting.steps.map(|steps| Box::new(Record::of(self.state, steps)));
    }

    fn finish(mut self) -> (Vec<Finding>, Mend) {
        if !self.mend.remove.is_empty() {
            let (now, guard) = (self.setting.now, self.setting.guard);
            if self.is_dead() {
                // Its entries were taken on purpose; putting others would bring it back.
                self.mend.remove.clear();
            } else {
                self.mend.first = self.state.attention_at(now, guard).into_iter().collect();
                if !self.state.is_active() {
                    self.write_record();
                    if self.mend.record.is_none() {
                        self.mend.remove.clear();
                    }
                }
            }
        }
        (self.findings, self.mend)
    }

    fn is_in_its_shard(&self, entry: &Entry) -> bool {
        entry.shard == shard_of(entry.handle.run, self.setting.shards)
    }

    fn key(&self, attention: Attention) -> Key {
        let Attention { kind, due, seq } = attention;
        let shard = shard_of(self.state.run, self.setting.shards);
        Key::Wake { shard, kind, due, handle: self.state.handle().at(seq), tries: 0 }
    }
}

/// Whether `entry` is the one that is `needed`, at whatever time: a guard moves on, and so does an
/// entry at which looking failed.
fn is(entry: &Entry, needed: Attention) -> bool {
    let is_same = entry.kind == needed.kind && entry.handle.seq == needed.seq;
    let is_there = match needed.kind {
        WakeKind::Guard => true,
        WakeKind::Timer => entry.tries > 0 || entry.due == needed.due.min(DUE_MAX),
    };
    is_same && is_there
}

/// Where `entry` stands.
pub(super) fn key_of(entry: &Entry) -> Key {
    let Entry { shard, kind, due, handle, tries, put_at: _ } = entry.clone();
    Key::Wake { shard, kind, due, handle, tries }
}

/// What is wrong with entries of a run that `id/` does not name (any more), and what mends it.
///
/// A guard is put before its start: a young one may belong to a start that is still under way.
pub(super) fn judge_unnamed(of: &OfRun, now: Timestamp) -> (Vec<Finding>, Mend) {
    let (mut findings, mut mend) = (vec![], Mend::default());
    for entry in &of.wakes {
        if now.since(entry.put_at) > UNDECIDED_FOR {
            let advice = "nothing: it goes when it is due, or with `lazarus scrub`";
            findings.push(Finding::note(key_of(entry), "no start commit names its run", advice));
            mend.remove.push(entry.clone());
        }
    }
    for offer in &of.offers {
        let what = "no start commit names its run";
        findings.push(Finding::note(&offer.path, what, SCRUB));
        mend.retract.push(offer.path.clone());
    }
    if let Some(Listed { handle, path, deleted: None, .. }) = &of.listed {
        let what =
            format!("lists know run {}, and {} is not there", handle.run, Key::of_start(handle));
        findings.push(Finding::fault(path, what, LOST));
    }
    if let Some(handle) = &of.dead {
        let key = Key::Dead { handle: handle.clone() };
        let advice = "take it out with `lazarus dead retry HANDLE`";
        findings.push(Finding::note(key, "no start commit names its run", advice));
    }
    (findings, mend)
}
