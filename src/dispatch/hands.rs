//! Which tasks are in workers' hands: by worker, in the order in which they came, and by run.
//!
//! Invariant: a task stands at most once in each worker's hands. Every question about one task or one
//! run costs the same however much a worker holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Poller, RESERVATION};
use crate::workflow::{Handle, Namespace, RunId, Task, TaskToken, Timestamp};

/// What a worker is known by.
pub(super) type Name = (Namespace, String);

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

/// What is held, and by whom.
#[derive(Debug, Default)]
pub(super) struct Hands {
    /// In order, so that reservations are given up in one order.
    of: BTreeMap<Name, BTreeMap<u64, Held>>,
    /// Where each run's tasks stand in `of`.
    runs: HashMap<RunId, Vec<(Name, u64)>>,
    /// How many there were.
    count: u64,
    /// How many of them are reserved: mostly none, and a worker may hold hundreds of others.
    reserved: usize,
    /// When each worker came on a stream, and what it was at then.
    came: HashMap<Name, (Timestamp, HashSet<(RunId, Task)>)>,
}

impl Hands {
    /// Gives `held` to a worker, in the place of what it held of the same task.
    pub(super) fn put(&mut self, name: &Name, held: Held) {
        let Held { token, .. } = &held;
        self.reserved += usize::from(held.is_reserved());
        if let Some(before) = self.find_mut(name, token.handle.run, &token.task) {
            let before = std::mem::replace(before, held);
            self.reserved -= usize::from(before.is_reserved());
            return;
        }
        self.count += 1;
        self.runs.entry(token.handle.run).or_default().push((name.clone(), self.count));
        match self.of.get_mut(name) {
            Some(all) => drop(all.insert(self.count, held)),
            None => drop(self.of.insert(name.clone(), BTreeMap::from([(self.count, held)]))),
        }
    }

    /// Takes a task out of a worker's hands.
    pub(super) fn remove(&mut self, name: &Name, run: RunId, task: &Task) -> Option<Held> {
        let at = self.place(name, run, task)?;
        self.take_at(name, at)
    }

    /// How a worker holds a task.
    pub(super) fn how(&self, name: &Name, run: RunId, task: &Task) -> Option<Hold> {
        let at = self.place(name, run, task)?;
        Some(self.of[name][&at].how)
    }

    /// Whether anything is reserved, for whomever.
    pub(super) fn has_reserved(&self) -> bool {
        self.reserved > 0
    }

    /// When the next reservation is given up.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        if !self.has_reserved() {
            return None;
        }
        self.of.values().flat_map(BTreeMap::values).filter_map(Held::reserved_until).min()
    }

    fn find_mut(&mut self, name: &Name, run: RunId, task: &Task) -> Option<&mut Held> {
        let at = self.place(name, run, task)?;
        self.of.get_mut(name)?.get_mut(&at)
    }

    /// Takes the first thing that a worker holds and `wanted` says.
    pub(super) fn take_first(
        &mut self,
        name: &Name,
        wanted: impl Fn(&Held) -> bool,
    ) -> Option<Held> {
        let at = self.of.get(name)?.iter().find(|(_, held)| wanted(held)).map(|(at, _)| *at)?;
        self.take_at(name, at)
    }

    /// What a worker holds, the oldest first.
    pub(super) fn by(&self, name: &Name) -> impl Iterator<Item = &Held> {
        self.of.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether anybody holds the task.
    pub(super) fn holds(&self, run: RunId, task: &Task) -> bool {
        self.runs.get(&run).is_some_and(|places| {
            places.iter().any(|(name, at)| self.of[name][at].token.task == *task)
        })
    }

    /// Takes every task of a run out of everybody's hands.
    pub(super) fn forget(&mut self, run: RunId) {
        for (name, at) in self.runs.get(&run).cloned().unwrap_or_default() {
            self.take_at(&name, at);
        }
    }

    /// Notes what a worker is at that comes on a stream.
    pub(super) fn came(&mut self, name: &Name, running: &[TaskToken], now: Timestamp) {
        let running = running.iter().map(|token| (token.handle.run, token.task.clone()));
        self.came.insert(name.clone(), (now, running.collect()));
    }

    /// Whether a worker came on a stream and was not at the task then.
    pub(super) fn came_without(&self, name: &Name, run: RunId, task: &Task) -> bool {
        self.came.get(name).is_some_and(|(_, running)| !running.contains(&(run, task.clone())))
    }

    /// Forgets with what workers came, but for those that `stays` says, by name and when that was.
    pub(super) fn forget_who_came(&mut self, stays: impl Fn(&Name, Timestamp) -> bool) {
        self.came.retain(|name, (at, _)| stays(name, *at));
    }

    /// Takes the reservations that end by `now`, by worker.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Vec<(Name, Held)> {
        if !self.has_reserved() {
            return vec![];
        }
        let is_over = |held: &Held| held.reserved_until().is_some_and(|until| until <= now);
        let expired: Vec<(Name, u64)> = self
            .of
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |(at, held)| (name, at, held)))
            .filter(|(_, _, held)| is_over(held))
            .map(|(name, at, _)| (name.clone(), *at))
            .collect();
        let mut taken = vec![];
        for (name, at) in expired {
            taken.extend(self.take_at(&name, at).map(|held| (name, held)));
        }
        taken
    }

    fn place(&self, name: &Name, run: RunId, task: &Task) -> Option<u64> {
        let all = self.of.get(name)?;
        let places = self.runs.get(&run)?.iter();
        let at = places.filter(|(holder, _)| holder == name).map(|(_, at)| *at);
        at.into_iter().find(|at| all[at].token.task == *task)
    }

    fn take_at(&mut self, name: &Name, at: u64) -> Option<Held> {
        let all = self.of.get_mut(name)?;
        let held = all.remove(&at)?;
        self.reserved -= usize::from(held.is_reserved());
        if all.is_empty() {
            self.of.remove(name);
        }
        let run = held.token.handle.run;
        if let Some(places) = self.runs.get_mut(&run) {
            places.retain(|(_, place)| *place != at);
            if places.is_empty() {
                self.runs.remove(&run);
            }
        }
        Some(held)
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

    pub(super) fn reserved_until(&self) -> Option<Timestamp> {
        match self.how {
            Hold::Reserved(until) => Some(until),
            Hold::Delivered | Hold::Found | Hold::Reported => None,
        }
    }

    /// Whether the next poll of its worker gets it: a worker that runs one task at a time and polls
    /// has dropped the one before.
    pub(super) fn is_for_next_poll(&self, poller: &Poller) -> bool {
        match self.how {
            Hold::Reserved(_) => true,
            Hold::Delivered | Hold::Found => poller.is_one_slot(),
            Hold::Reported => false,
        }
    }

    /// The run and its commit that the token names.
    pub fn handle(&self) -> &Handle {
        &self.token.handle
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::workflow::ExecutionId;

    fn held(run: u128, step: &str) -> Held {
        let execution = ExecutionId::known("e").expect("an id").key();
        let run = RunId::from_random(run);
        let handle =
            Handle { namespace: Namespace::default(), execution, generation: 0, run, seq: 1 };
        let task = Task { step: step.into(), iteration: 1, attempt: 1 };
        Held::delivered(TaskToken { handle, task })
    }

    fn name(worker: &str) -> Name {
        (Namespace::default(), worker.to_owned())
    }

    fn steps(hands: &Hands, worker: &str) -> Vec<Arc<str>> {
        hands.by(&name(worker)).map(|held| held.token.task.step.clone()).collect()
    }

    #[test]
    fn a_task_stands_once_in_a_workers_hands_and_where_it_stood_first() {
        let mut hands = Hands::default();
        for step in ["a", "b", "a"] {
            hands.put(&name("w"), held(1, step));
        }
        assert_eq!(steps(&hands, "w"), ["a".into(), "b".into()]);
    }

    #[test]
    fn what_is_reserved_is_counted_however_it_goes() {
        let mut hands = Hands::default();
        let reserved = || Held::reserved(held(1, "a").token, Timestamp::default());
        let task = held(1, "a").token.task;
        let run = RunId::from_random(1);
        for replaced in [true, false] {
            hands.put(&name("w"), reserved());
            hands.put(&name("w"), reserved());
            assert!(hands.has_reserved());
            if replaced {
                hands.put(&name("w"), held(1, "a"));
            } else {
                assert!(hands.remove(&name("w"), run, &task).is_some());
            }
            assert!(!hands.has_reserved());
        }
        hands.put(&name("w"), reserved());
        hands.forget(run);
        assert!(!hands.has_reserved());
        hands.put(&name("w"), reserved());
        assert_eq!(hands.take_expired(Timestamp::default().after(RESERVATION)).len(), 1);
        assert!(!hands.has_reserved());
    }

    #[test]
    fn what_is_taken_is_found_nowhere_any_more() {
        let mut hands = Hands::default();
        hands.put(&name("w"), held(1, "a"));
        hands.put(&name("v"), held(1, "a"));
        hands.put(&name("w"), held(2, "a"));
        let task = held(1, "a").token.task;
        let run = RunId::from_random;
        assert!(hands.remove(&name("w"), run(1), &task).is_some());
        assert!(hands.remove(&name("w"), run(1), &task).is_none());
        assert!(hands.holds(run(1), &task), "`v` holds it still");
        hands.forget(run(1));
        assert!(!hands.holds(run(1), &task));
        assert_eq!(hands.of.values().flat_map(BTreeMap::values).count(), 1);
        assert!(hands.take_first(&name("w"), |_| true).is_some());
        assert!(hands.of.is_empty() && hands.runs.is_empty(), "{hands:?}");
    }
}
