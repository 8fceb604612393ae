//! The polls that wait on this instance, in the order in which they came.
//!
//! Invariant: a poll is taken out before it is granted anything, so that each is granted once at most.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Poller;
use crate::workflow::{Call, TaskToken};

/// With fewer polls that wait nobody looks for those that have gone.
const SWEEP_MIN: usize = 64;

/// Which of the polls that wait.
pub type PlaceNumber = u64;

/// A poll's side of its wait.
#[derive(Debug)]
pub struct Wait {
    /// Which it is.
    pub number: PlaceNumber,
    /// Resolves with what the poll is granted.
    pub granted: oneshot::Receiver<Grant>,
}

/// What a waiting poll is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Grant {
    /// The task is the worker's: its lease stands in the log, and it is noted as handed out.
    Task(TaskToken, Box<Call>),
    /// Something may be ready: look again.
    Look,
    /// Nothing will come any more: a newer poll took over, or the instance is going down.
    Leave,
}

/// A poll that waits.
#[derive(Debug)]
pub struct Waiting {
    number: PlaceNumber,
    poller: Poller,
    grant: oneshot::Sender<Grant>,
}

impl Waiting {
    /// The worker that waits.
    pub fn worker(&self) -> &str {
        &self.poller.worker
    }

    /// Tells the poll what became of it; false when it has gone.
    pub fn grant(self, grant: Grant) -> bool {
        self.grant.send(grant).is_ok()
    }

    fn listens(&self) -> bool {
        !self.grant.is_closed()
    }
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// In the order of their numbers.
    queue: VecDeque<Waiting>,
    /// How many there were.
    count: PlaceNumber,
    /// At how many that wait those are cleared away that have gone.
    sweep_at: usize,
    is_closed: bool,
}

impl Waits {
    /// `poller` waits; once they are closed it is told to leave.
    pub(super) fn wait(&mut self, poller: &Poller) -> Wait {
        let (grant, granted) = oneshot::channel();
        self.count += 1;
        let number = self.count;
        if self.is_closed {
            drop(grant.send(Grant::Leave));
        } else {
            self.sweep();
            self.queue.push_back(Waiting { number, poller: poller.clone(), grant });
        }
        Wait { number, granted }
    }

    /// Clears polls away that have gone, once those that wait are twice as many as were left last time:
    /// a poll that goes costs one look at it, and none each time that another one comes.
    fn sweep(&mut self) {
        if self.queue.len() >= self.sweep_at {
            self.queue.retain(Waiting::listens);
            self.sweep_at = SWEEP_MIN.max(2 * self.queue.len());
        }
    }

    /// Who waits at `number` still.
    pub(super) fn at(&self, number: PlaceNumber) -> Option<&Poller> {
        let at = self.place(number)?;
        self.queue.get(at).filter(|waiting| waiting.listens()).map(|waiting| &waiting.poller)
    }

    /// The first that waits still and of which `wanted` says something.
    pub(super) fn find<T>(
        &self,
        wanted: impl Fn(&Poller) -> Option<T>,
    ) -> Option<(PlaceNumber, T)> {
        let mut all = self.queue.iter().filter(|waiting| waiting.listens());
        all.find_map(|waiting| Some((waiting.number, wanted(&waiting.poller)?)))
    }

    /// Takes one out; none: it is out already.
    pub(super) fn take(&mut self, number: PlaceNumber) -> Option<Waiting> {
        let at = self.place(number)?;
        self.queue.remove(at)
    }

    /// Takes out those that are `meant`, in order, and tells them.
    pub(super) fn send(&mut self, grant: &Grant, meant: impl Fn(&Poller) -> bool) {
        let mut at = 0;
        while let Some(waiting) = self.queue.get(at) {
            if !meant(&waiting.poller) {
                at += 1;
            } else if let Some(waiting) = self.queue.remove(at) {
                waiting.grant(grant.clone());
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queue.iter().filter(|waiting| waiting.listens()).count()
    }

    /// Tells all that wait to leave, and all that come after.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.send(&Grant::Leave, |_| true);
    }

    /// Whether whoever comes is told to leave.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn place(&self, number: PlaceNumber) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Namespace;

    fn poller(worker: &str) -> Poller {
        Poller::named(&Namespace::default(), worker)
    }

    #[test]
    fn the_first_that_still_listens_is_found_and_taken_once() {
        let mut waits = Waits::default();
        let gone = waits.wait(&poller("a"));
        let stays = waits.wait(&poller("b"));
        drop(gone);
        assert_eq!(
            waits.find(|poller| Some(poller.worker.clone())),
            Some((stays.number, "b".to_owned()))
        );
        assert_eq!(waits.len(), 1);
        assert_eq!(waits.at(stays.number).map(|it| it.worker.as_str()), Some("b"));
        let taken = waits.take(stays.number).expect("it waits");
        assert!(waits.take(stays.number).is_none(), "it is out");
        assert!(taken.grant(Grant::Look), "it hears");
    }

    #[test]
    fn one_that_waits_is_known_by_its_number_whoever_left_before_it() {
        let mut waits = Waits::default();
        let all = ["a", "b", "c"].map(|worker| waits.wait(&poller(worker)));
        assert_eq!(waits.take(all[0].number).expect("it waits").worker(), "a");
        assert_eq!(waits.at(all[2].number).map(|it| it.worker.as_str()), Some("c"));
        assert_eq!(waits.take(all[1].number).expect("it waits").worker(), "b");
    }

    #[test]
    fn those_that_are_gone_take_no_room() {
        let mut waits = Waits::default();
        for _ in 0..10_000 {
            drop(waits.wait(&poller("a")));
        }
        assert!(waits.queue.len() <= SWEEP_MIN, "{} are left", waits.queue.len());
    }

    #[test]
    fn whoever_comes_after_the_end_is_told_to_leave() {
        let mut waits = Waits::default();
        let mut before = waits.wait(&poller("a"));
        waits.close();
        let mut after = waits.wait(&poller("b"));
        for wait in [&mut before, &mut after] {
            assert_eq!(wait.granted.try_recv(), Ok(Grant::Leave));
        }
    }
}
