//! Which step waits for which: data flow, order where there is none, and rules that may still change
//! the way.
//!
//! * A step waits for the steps it depends on.
//! * A step that depends on none, and is not the first of the timeline, waits for everything before
//!   it that does not itself wait for the step (so that `a >> b` stays ordered without data flow, and
//!   `a >> [b(a), c(a)]` runs in parallel). So does a step to which a rule leads forward.
//! * A step with a rule that looks at its *output* holds up all that comes after it in the timeline:
//!   what the rule jumps over must not have begun. A rule that only catches failures holds up
//!   nothing: without it the failure would end the execution just as late.
//! * A target outside the timeline (an aside) waits for the steps before it whose rules lead to it.
//!
//! Source: the local executors of the Cerebelum SDK; docs/cerebelum.md "Order" and "Rules".

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    definition::{RuleKind, Step},
    rules::{Route, Target},
};
use crate::workflow::{condition::Condition, id::StepName};

/// The edges of a blueprint, by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// For each step, the steps that must be over before it is ready.
    waits_for: Vec<Vec<usize>>,
    /// For each step, the steps that wait for it.
    awaited_by: Vec<Vec<usize>>,
    /// For each step that runs only when a rule chooses it, the last place with such a rule.
    by_choice: Vec<Option<usize>>,
}

impl Plan {
    /// Plans `steps`, whose names are unique and whose dependencies exist; the first `timeline` of
    /// them are the timeline's. With routes, the timeline is in order.
    ///
    /// The error is a circle of dependencies, in words.
    pub(crate) fn new(
        steps: &[Step],
        timeline: usize,
        index: &HashMap<StepName, usize>,
        routes: &[Vec<Route>],
    ) -> Result<Self, String> {
        let mut waits_for = data_flow(&steps[..timeline], index);
        if let Some(circle) = circle(&waits_for) {
            let names: Vec<&str> = circle.iter().map(|&at| &*steps[at].name).collect();
            return Err(names.join(" -> "));
        }
        let choices = Choices::of(routes);
        let is_in_order =
            waits_for.iter().enumerate().all(|(place, all)| all.iter().all(|&at| at < place));
        if is_in_order {
            in_order(&mut waits_for, &steps[..timeline], routes, &choices);
        } else {
            out_of_order(&mut waits_for, &steps[..timeline]);
        }
        for place in timeline..steps.len() {
            waits_for.push(choices.leading_to(place).collect());
        }
        let by_choice = (0..steps.len()).map(|place| choices.last_over(place, timeline)).collect();
        Ok(Self { awaited_by: turned_round(&waits_for), waits_for, by_choice })
    }

    /// The steps that must be over before the step at `place` is ready.
    pub(crate) fn waits_for(&self, place: usize) -> &[usize] {
        &self.waits_for[place]
    }

    /// The steps that the end of the step at `place` may make ready.
    pub(crate) fn awaited_by(&self, place: usize) -> &[usize] {
        &self.awaited_by[place]
    }

    /// For each place, whether it waits for any of `places`, directly or not.
    pub(crate) fn all_after(&self, places: Vec<usize>) -> Vec<bool> {
        reached(places, &self.awaited_by)
    }

    /// Whether the step at `place` runs only when a rule chooses it.
    pub(crate) fn is_by_choice(&self, place: usize) -> bool {
        self.by_choice[place].is_some()
    }

    /// Where a step that runs by choice is decided upon at the latest; none: it runs in any case.
    pub(crate) fn decided_at(&self, place: usize) -> Option<usize> {
        self.by_choice[place]
    }
}

/// Which rules lead forward to which places.
#[derive(Debug, Default)]
struct Choices {
    /// For each target, the places whose rules lead forward to it.
    forward: HashMap<usize, BTreeSet<usize>>,
    /// For each target, those of them that leave it out when they do not choose it.
    exclusive: HashMap<usize, BTreeSet<usize>>,
}

impl Choices {
    fn of(routes: &[Vec<Route>]) -> Self {
        let mut choices = Self::default();
        for (from, routes) in routes.iter().enumerate() {
            let forward = |kind: RuleKind| -> BTreeSet<usize> {
                let of_kind = routes.iter().filter(|route| route.kind == kind);
                let target = |route: &Route| match route.target {
                    Target::Step(to) => Some(to).filter(|&to| to > from),
                    Target::End => None,
                };
                of_kind.filter_map(target).collect()
            };
            let (mut diverges, branches) = (forward(RuleKind::Diverge), forward(RuleKind::Branch));
            for &to in diverges.iter().chain(&branches) {
                choices.forward.entry(to).or_default().insert(from);
            }
            // A lone way forward that is always taken is a jump and no choice.
            let is_always = |route: &Route| {
                route.kind == RuleKind::Diverge
                    && route.condition.as_ref().is_ok_and(Condition::is_always)
            };
            if diverges.len() == 1 && routes.iter().any(is_always) {
                diverges.clear();
            }
            // One way forward is a short cut past what lies between; several are alternatives.
            let alternatives = branches.iter().filter(|_| branches.len() > 1);
            for &to in diverges.iter().chain(alternatives) {
                choices.exclusive.entry(to).or_default().insert(from);
            }
        }
        choices
    }

    fn leading_to(&self, place: usize) -> impl Iterator<Item = usize> {
        self.forward.get(&place).into_iter().flatten().copied()
    }

    /// Where a step that runs by choice is decided upon at the latest. An aside never runs in any
    /// case, whatever it takes.
    fn last_over(&self, place: usize, timeline: usize) -> Option<usize> {
        if place >= timeline {
            return Some(usize::MAX);
        }
        self.exclusive.get(&place)?.last().copied()
    }
}

fn data_flow(steps: &[Step], index: &HashMap<StepName, usize>) -> Vec<Vec<usize>> {
    let places = |step: &Step| {
        let mut places: Vec<usize> =
            step.depends_on.iter().filter_map(|name| index.get(name).copied()).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    steps.iter().map(places).collect()
}

/// Adds order and rules to the data flow of a timeline in which no step waits for a later one.
fn in_order(
    waits_for: &mut [Vec<usize>],
    steps: &[Step],
    routes: &[Vec<Route>],
    choices: &Choices,
) {
    // The last step before that waits for all before itself, and the last that holds up the others.
    let (mut last, mut holds_up) = (0, None);
    for place in 0..steps.len() {
        let is_target = choices.leading_to(place).next().is_some();
        if place > 0 && (steps[place].depends_on.is_empty() || is_target) {
            waits_for[place] = everything_since(last, place, waits_for);
            last = place;
        } else if let Some(before) = holds_up
            && !waits_for[place].contains(&before)
        {
            waits_for[place].push(before);
        }
        if routes[place].iter().any(Route::is_of_value) {
            holds_up = Some(place);
        }
    }
}

/// Adds order to the data flow of a timeline in which steps wait for later ones.
fn out_of_order(waits_for: &mut [Vec<usize>], steps: &[Step]) {
    let mut awaited_by = turned_round(waits_for);
    for place in 1..steps.len() {
        if !steps[place].depends_on.is_empty() {
            continue;
        }
        let earlier = everything_before(place, waits_for, &awaited_by);
        for &before in &earlier {
            awaited_by[before].push(place);
        }
        waits_for[place] = earlier;
    }
}

/// For each place, the places that wait for it.
fn turned_round(waits_for: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut awaited_by = vec![vec![]; waits_for.len()];
    for (place, earlier) in waits_for.iter().enumerate() {
        for &before in earlier {
            awaited_by[before].push(place);
        }
    }
    awaited_by
}

/// The fewest places before `place` whose end implies the end of all of them, where no step waits
/// for a later one.
///
/// `last` is the step before without data flow; it waits for all before itself, so that looking back
/// to it is enough and planning takes time in proportion to the edges.
fn everything_since(last: usize, place: usize, waits_for: &[Vec<usize>]) -> Vec<usize> {
    let implied: HashSet<usize> = waits_for[last + 1..place].iter().flatten().copied().collect();
    (last..place).filter(|before| !implied.contains(before)).collect()
}

/// The fewest places before `place` whose end implies the end of all those that do not wait for it.
///
/// What another of them waits for is left out. Takes time in proportion to all edges.
fn everything_before(
    place: usize,
    waits_for: &[Vec<usize>],
    awaited_by: &[Vec<usize>],
) -> Vec<usize> {
    let waits = reached(vec![place], awaited_by);
    let before: Vec<usize> = (0..place).filter(|&at| !waits[at]).collect();
    let implied = reached(before.clone(), waits_for);
    before.into_iter().filter(|&at| !implied[at]).collect()
}

/// For each place, whether `from` leads to it along one of `edges` or more.
fn reached(mut from: Vec<usize>, edges: &[Vec<usize>]) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    while let Some(place) = from.pop() {
        for &next in &edges[place] {
            if !seen[next] {
                seen[next] = true;
                from.push(next);
            }
        }
    }
    seen
}

/// A circle among the edges, its first place repeated at the end.
fn circle(waits_for: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut seen = vec![Seen::Not; waits_for.len()];
    for start in 0..waits_for.len() {
        // The path under way, with the next edge to take from each place on it.
        let mut path: Vec<(usize, usize)> = vec![];
        if seen[start] == Seen::Not {
            seen[start] = Seen::OnPath;
            path.push((start, 0));
        }
        while let Some(&mut (place, ref mut edge)) = path.last_mut() {
            let Some(&next) = waits_for[place].get(*edge) else {
                seen[place] = Seen::Over;
                path.pop();
                continue;
            };
            *edge += 1;
            match seen[next] {
                Seen::Over => {}
                Seen::Not => {
                    seen[next] = Seen::OnPath;
                    path.push((next, 0));
                }
                Seen::OnPath => {
                    let from = path.iter().skip_while(|&&(on_path, _)| on_path != next);
                    return Some(from.map(|&(place, _)| place).chain([next]).collect());
                }
            }
        }
    }
    None
}

/// How far the search for a circle has come with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Not,
    OnPath,
    Over,
}

#[cfg(test)]
mod tests {
    use super::super::tests::blueprint;

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

    /// What `waits` has to say, in the plainest way: everything before that does not wait for it.
    fn waits_plainly(steps: &[(&str, &[&str])]) -> Vec<Vec<usize>> {
        let place_of = |name: &str| steps.iter().position(|(other, _)| *other == name).unwrap();
        let mut waits: Vec<Vec<usize>> =
            steps.iter().map(|(_, all)| all.iter().map(|name| place_of(name)).collect()).collect();
        for place in 1..steps.len() {
            if steps[place].1.is_empty() {
                let before: Vec<usize> =
                    (0..place).filter(|&at| !closed(at, &waits).contains(&place)).collect();
                waits[place] = before;
            }
        }
        (0..steps.len()).map(|place| closed(place, &waits)).collect()
    }

    /// All that `place` waits for, directly or not.
    fn closed(place: usize, waits: &[Vec<usize>]) -> Vec<usize> {
        let mut all = std::collections::BTreeSet::new();
        let mut open = vec![place];
        while let Some(next) = open.pop() {
            open.extend(waits[next].iter().copied().filter(|&before| all.insert(before)));
        }
        all.into_iter().collect()
    }

    proptest::proptest! {
        #[test]
        fn a_step_without_data_flow_waits_for_all_before_that_can_not_wait_for_it(
            // Per step: which others it depends on (as far as that closes no circle), and its rank.
            wishes in proptest::collection::vec((0_u16..1 << 7, 0_u8..50, proptest::bool::ANY), 1..8),
        ) {
            let names = ["a", "b", "c", "d", "e", "f", "g"];
            let rank = |at: usize| (wishes[at].1, at);
            let depends: Vec<Vec<&str>> = (0..wishes.len())
                .map(|at| {
                    let is_one = |&other: &usize| {
                        wishes[at].2 && wishes[at].0 >> other & 1 == 1 && rank(other) < rank(at)
                    };
                    (0..wishes.len()).filter(is_one).map(|other| names[other]).collect()
                })
                .collect();
            let steps: Vec<(&str, &[&str])> =
                names.iter().copied().zip(depends.iter().map(Vec::as_slice)).collect();
            let planned = waits(&steps);
            let all: Vec<Vec<usize>> = (0..steps.len()).map(|at| closed(at, &planned)).collect();
            proptest::prop_assert_eq!(all, waits_plainly(&steps));
        }
    }

    #[test]
    fn ten_thousand_steps_are_planned_at_once() {
        let names: Vec<String> = (0..10_000).map(|n| format!("s{n}")).collect();
        let nothing = |_| None;
        let chain = |n: usize| n.checked_sub(1);
        let star = |n: usize| (n > 0).then_some(0);
        let groups = |n: usize| (!n.is_multiple_of(100)).then_some(n / 100 * 100);
        let shapes: [&dyn Fn(usize) -> Option<usize>; 4] = [&nothing, &chain, &star, &groups];
        for shape in shapes {
            let depends: Vec<Vec<&str>> = (0..10_000)
                .map(|n| shape(n).map(|on| names[on].as_str()).into_iter().collect())
                .collect();
            let steps: Vec<(&str, &[&str])> =
                names.iter().map(String::as_str).zip(depends.iter().map(Vec::as_slice)).collect();
            let edges: usize = waits(&steps).iter().map(Vec::len).sum();
            assert!((9_999..20_000).contains(&edges), "{edges} edges");
        }
    }
}
