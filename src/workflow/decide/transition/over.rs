//! What is over, looked at once for each step, however many others wait for it.

use std::collections::HashSet;

use crate::workflow::{blueprint::Blueprint, state::State};

/// Which places were found to be over, together with all that they stand for.
///
/// What is over stays so while steps are only skipped and scheduled; what is missing may be over as
/// soon as another step is skipped.
#[derive(Debug, Default)]
pub(super) struct Over {
    over: HashSet<usize>,
    missing: HashSet<usize>,
}

impl Over {
    /// Another step was skipped: what was missing is looked at again.
    pub(super) fn look_again(&mut self) {
        self.missing.clear();
    }

    /// Whether nothing is missing of what the step at `place` waits for. What is skipped stands for
    /// what it would have waited for itself.
    pub(super) fn is_all_before(
        &mut self,
        state: &State,
        blueprint: &Blueprint,
        place: usize,
    ) -> bool {
        blueprint.plan().waits_for(place).iter().all(|&at| self.is_over(state, blueprint, at))
    }

    fn is_over(&mut self, state: &State, blueprint: &Blueprint, place: usize) -> bool {
        let mut way = vec![place];
        while let Some(&at) = way.last() {
            if self.over.contains(&at) || self.missing.contains(&at) {
                way.pop();
                continue;
            }
            let name = &blueprint.steps()[at].name;
            let is_skipped = state.skipped.contains_key(name);
            let before = if is_skipped { blueprint.plan().waits_for(at) } else { &[] };
            let is_missing = !is_skipped && !state.done.contains_key(name);
            if is_missing || before.iter().any(|at| self.missing.contains(at)) {
                self.missing.insert(at);
                continue;
            }
            let length = way.len();
            way.extend(before.iter().filter(|at| !self.over.contains(at)));
            if way.len() == length {
                self.over.insert(at);
            }
        }
        self.over.contains(&place)
    }
}
