//! What a history is spared, and the least misfortune with which it still goes wrong.
//!
//! Each misfortune has a number: how many were due before it. A history that is spared some of them
//! is another one from there on, but as much a function of its seed; what is left in the end went
//! wrong in a history of its own, in the same words.

use std::collections::BTreeSet;

use super::{
    broken::Broken,
    history::{Outcome, live_with},
};

/// What a history is spared; by default nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mercy {
    kinds: BTreeSet<&'static str>,
    numbers: BTreeSet<u64>,
    /// Misfortunes before the first number and from the second on do not come.
    window: (u64, u64),
    /// So many executions, workers and instances there are at most.
    pub crowd: Crowd,
}

/// How many there are of whom, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    pub clients: u64,
    pub workers: u64,
    pub instances: u64,
}

impl Default for Mercy {
    fn default() -> Self {
        let crowd = Crowd { clients: u64::MAX, workers: u64::MAX, instances: u64::MAX };
        let (kinds, numbers) = (BTreeSet::new(), BTreeSet::new());
        Self { kinds, numbers, window: (0, u64::MAX), crowd }
    }
}

impl Mercy {
    /// Nothing befalls anybody.
    pub fn full() -> Self {
        Self { window: (0, 0), ..Self::default() }
    }

    /// Whether the misfortune `number`, a `kind`, does not come.
    pub fn spares(&self, number: u64, kind: &str) -> bool {
        let (first, end) = self.window;
        !(first..end).contains(&number)
            || self.kinds.contains(kind)
            || self.numbers.contains(&number)
    }
}

/// The most histories that are lived through for a smaller one.
const TRIES_MAX: u32 = 400;
/// A crowd is counted up to here.
const CROWD_MAX: u64 = 8;

/// A history that goes wrong, made smaller.
pub struct Shrinking {
    seed: u64,
    broken: Option<Broken>,
    /// How the fault begins, without what may differ.
    words: String,
    tries: u32,
    mercy: Mercy,
    outcome: Outcome,
}

/// The least that is left, and how it ends.
pub struct Shrunk {
    pub mercy: Mercy,
    /// With its trace.
    pub outcome: Outcome,
    /// How many histories were lived through for it.
    pub tries: u32,
}

/// Makes the history of `seed`, which goes wrong, smaller while it goes wrong in the same words; none
/// if it does not go wrong.
pub fn shrink(seed: u64, broken: Option<Broken>) -> Option<Shrunk> {
    let mercy = Mercy::default();
    let outcome = live_with(seed, broken, false, mercy.clone());
    let words = in_common(outcome.fault.as_deref()?);
    let mut shrinking = Shrinking { seed, broken, words, tries: 1, mercy, outcome };
    shrinking.thin_the_crowd();
    shrinking.spare_kinds();
    shrinking.narrow();
    shrinking.spare_each();
    let Shrinking { mercy, tries, .. } = shrinking;
    let outcome = live_with(seed, broken, true, mercy.clone());
    Some(Shrunk { mercy, outcome, tries })
}

impl Shrinking {
    /// Whether it still goes wrong so; if it does, it is this from now on.
    fn takes(&mut self, change: impl FnOnce(&mut Mercy)) -> bool {
        let mut mercy = self.mercy.clone();
        change(&mut mercy);
        if self.tries == TRIES_MAX || mercy == self.mercy {
            return false;
        }
        self.tries += 1;
        let outcome = live_with(self.seed, self.broken, false, mercy.clone());
        let is_same = outcome.fault.as_deref().is_some_and(|fault| in_common(fault) == self.words);
        if is_same {
            (self.mercy, self.outcome) = (mercy, outcome);
        }
        is_same
    }

    fn thin_the_crowd(&mut self) {
        let _fewest = (1..=CROWD_MAX).find(|count| self.takes(|it| it.crowd.clients = *count));
        let _fewest = (1..=CROWD_MAX).find(|count| self.takes(|it| it.crowd.workers = *count));
        let _fewest = (1..=CROWD_MAX).find(|count| self.takes(|it| it.crowd.instances = *count));
    }

    fn spare_kinds(&mut self) {
        let kinds: Vec<&'static str> = self.outcome.misfortunes.keys().copied().collect();
        for kind in kinds {
            self.takes(|it| _ = it.kinds.insert(kind));
        }
    }

    /// From both ends, halving.
    fn narrow(&mut self) {
        let (mut good, mut end) = (0, self.outcome.due + 1);
        while good + 1 < end {
            let middle = good.midpoint(end);
            if self.takes(|it| it.window.1 = middle) { end = middle } else { good = middle }
        }
        let (mut first, mut bad) = (0, end);
        while first + 1 < bad {
            let middle = first.midpoint(bad);
            if self.takes(|it| it.window.0 = middle) { first = middle } else { bad = middle }
        }
    }

    fn spare_each(&mut self) {
        let (first, end) = self.mercy.window;
        for number in (first..end.min(self.outcome.due + 1)).rev() {
            self.takes(|it| _ = it.numbers.insert(number));
        }
    }
}

/// The beginning of a fault, without names and numbers.
fn in_common(fault: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|letter| letter.is_alphabetic() || letter == ':');
    let words: Vec<&str> = fault.split_whitespace().filter(is_word).take(8).collect();
    words.join(" ")
}
