//! Which step waits for which: data flow, and order where there is none.
//!
//! A step waits for the steps it depends on. A step that depends on none, and is not the first of
//! the timeline, waits for everything before it that does not itself wait for the step (so that
//! `a >> b` stays ordered without data flow, and `a >> [b(a), c(a)]` runs in parallel).
//!
//! Source: the local executor of the Cerebelum SDK; docs/cerebelum.md "Order".

use std::collections::HashMap;

use super::{blueprint::Step, id::StepName};

/// The edges of a blueprint, by place in the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// For each step, the steps that must be over before it is ready.
    waits_for: Vec<Vec<usize>>,
    /// For each step, the steps that wait for it.
    awaited_by: Vec<Vec<usize>>,
}

impl Plan {
    /// Plans `steps`, whose names are unique and whose dependencies exist.
    ///
    /// The error is a circle of dependencies, in words.
    pub(crate) fn new(steps: &[Step], index: &HashMap<StepName, usize>) -> Result<Self, String> {
        let mut waits_for: Vec<Vec<usize>> = steps
            .iter()
            .map(|step| {
                let mut places: Vec<usize> =
                    step.depends_on.iter().filter_map(|name| index.get(name).copied()).collect();
                places.sort_unstable();
                places.dedup();
                places
            })
            .collect();
        if let Some(circle) = circle(&waits_for) {
            let names: Vec<&str> = circle.iter().map(|&at| &*steps[at].name).collect();
            return Err(names.join(" -> "));
        }
        for (place, step) in steps.iter().enumerate().skip(1) {
            if step.depends_on.is_empty() {
                waits_for[place] = everything_before(place, &waits_for);
            }
        }
        let mut awaited_by = vec![vec![]; steps.len()];
        for (place, earlier) in waits_for.iter().enumerate() {
            for &before in earlier {
                awaited_by[before].push(place);
            }
        }
        Ok(Self { waits_for, awaited_by })
    }

    /// The steps that must be over before the step at `place` is ready.
    pub(crate) fn waits_for(&self, place: usize) -> &[usize] {
        &self.waits_for[place]
    }

    /// The steps that the end of the step at `place` may make ready.
    pub(crate) fn awaited_by(&self, place: usize) -> &[usize] {
        &self.awaited_by[place]
    }

    /// The steps that wait for nothing.
    pub(crate) fn first(&self) -> impl Iterator<Item = usize> {
        self.waits_for
            .iter()
            .enumerate()
            .filter(|(_, earlier)| earlier.is_empty())
            .map(|(place, _)| place)
    }
}

/// The fewest places before `place` whose end implies the end of all those that do not wait for it.
///
/// Walks backwards and skips what a chosen place already waits for, so that a chain of n steps
/// without data flow has n - 1 edges and not n squared.
fn everything_before(place: usize, waits_for: &[Vec<usize>]) -> Vec<usize> {
    let mut implied = vec![false; waits_for.len()];
    let mut chosen = vec![];
    for before in (0..place).rev() {
        if implied[before] {
            continue;
        }
        let ancestors = ancestors(before, waits_for);
        if ancestors[place] {
            continue;
        }
        chosen.push(before);
        implied.iter_mut().zip(ancestors).for_each(|(implied, ancestor)| *implied |= ancestor);
    }
    // A place that a later choice implies is redundant, not wrong.
    chosen.retain(|&before| !implied[before]);
    chosen.reverse();
    chosen
}

/// For each place, whether `place` waits for it, directly or not.
fn ancestors(place: usize, waits_for: &[Vec<usize>]) -> Vec<bool> {
    let mut seen = vec![false; waits_for.len()];
    let mut open = vec![place];
    while let Some(next) = open.pop() {
        for &before in &waits_for[next] {
            if !seen[before] {
                seen[before] = true;
                open.push(before);
            }
        }
    }
    seen
}

/// A circle among the edges, its first place repeated at the end.
fn circle(waits_for: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut done = vec![false; waits_for.len()];
    for start in 0..waits_for.len() {
        // The path under way, with the next edge to take from each place on it.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some(&mut (place, ref mut edge)) = path.last_mut() {
            if done[place] || *edge == waits_for[place].len() {
                done[place] = true;
                path.pop();
                continue;
            }
            let next = waits_for[place][*edge];
            *edge += 1;
            if let Some(from) = path.iter().position(|&(on_path, _)| on_path == next) {
                let mut circle: Vec<usize> = path[from..].iter().map(|&(place, _)| place).collect();
                circle.push(next);
                return Some(circle);
            }
            path.push((next, 0));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::blueprint::tests::blueprint;

    fn waits(steps: &[(&str, &[&str])]) -> Vec<Vec<usize>> {
        let blueprint = blueprint(steps);
        (0..steps.len()).map(|place| blueprint.plan().waits_for(place).to_vec()).collect()
    }

    #[test]
    fn steps_that_share_a_source_run_in_parallel_and_meet() {
        let steps: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];
        assert_eq!(waits(steps), [vec![], vec![0], vec![0], vec![1, 2]]);
    }

    #[test]
    fn without_data_flow_the_timeline_is_the_order() {
        assert_eq!(waits(&[("a", &[]), ("b", &[]), ("c", &[])]), [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn a_step_without_data_flow_waits_for_a_whole_parallel_group() {
        let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &[])];
        assert_eq!(waits(steps), [vec![], vec![0], vec![0], vec![1, 2]]);
    }

    #[test]
    fn order_never_closes_a_circle_with_data_flow() {
        // `a` takes from `d`, so `d` can not wait for `a`; `b` waits for `a`, so `d` not for `b`.
        let steps: &[(&str, &[&str])] = &[("a", &["d"]), ("b", &[]), ("c", &["b"]), ("d", &[])];
        assert_eq!(waits(steps), [vec![3], vec![0], vec![1], vec![]]);
    }

    #[test]
    fn a_long_chain_has_one_edge_a_step() {
        let names: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
        let steps: Vec<(&str, &[&str])> =
            names.iter().map(|name| (name.as_str(), &[] as &[&str])).collect();
        assert!(waits(&steps).iter().skip(1).all(|earlier| earlier.len() == 1));
    }
}
