//! What the end of a step leads to: on along the timeline, or where a rule says.
//!
//! One mechanism for all: the step is over; the first arm of its rules that holds names a target; a
//! target ahead means that what lies between is skipped, one that is not ahead that everything from
//! there on begins anew, and the end means the end. Then whatever has become ready is scheduled, and
//! what runs only by choice and was not chosen is skipped, until nothing more follows.
//!
//! Invariants:
//! * a step that is open or done is never skipped;
//! * a step is scheduled only when all that it waits for is over;
//! * when nothing is open, every step is over and the execution has ended.

mod over;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::over::Over;
use super::Setting;
use crate::workflow::{
    blueprint::{END, Route, RuleKind, Target},
    condition::{Condition, View},
    draft::Draft,
    event::{Event, Failure},
    id::StepName,
    inputs::unwrapped,
    outcome::STEP_ERROR,
    payload::{Payload, Stored},
    state::State,
    values::called_with,
};

/// The kind of failure of an execution whose rules went back too often.
const LOOP_LIMIT: &str = "loop_limit";

/// How a step ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended<'a> {
    /// With the output that the command carries.
    Given(&'a Payload),
    /// With an output that stands in the log.
    Stored(&'a Stored),
    /// For good, with a failure.
    Failed(&'a Failure),
}

/// Where rules lead after a step; chosen before its end is written.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    step: StepName,
    iteration: u32,
    /// The conditions that could not be evaluated, and why.
    faults: Vec<(&'a Route, String)>,
    /// The arm that holds; none: on along the timeline.
    taken: Option<&'a Route>,
}

impl Choice<'_> {
    /// Whether a rule leads on.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.is_some()
    }

    /// Writes down which conditions could not be evaluated.
    pub(super) fn note_faults(&self, draft: &mut Draft) {
        for (route, reason) in &self.faults {
            draft.emit(Event::ConditionNotEvaluated {
                step: self.step.clone(),
                iteration: self.iteration,
                when: route.when.to_string(),
                reason: reason.clone(),
            });
        }
    }
}

/// Looks at the rules of `step`, which is open and about to end.
pub(super) fn choose<'a>(
    draft: &Draft,
    setting: &Setting<'a>,
    step: &StepName,
    ended: Ended<'_>,
) -> Choice<'a> {
    let state = draft.state();
    let iteration = state.iteration(step);
    let mut choice = Choice { step: step.clone(), iteration, faults: vec![], taken: None };
    let routes = setting.routes(step);
    if routes.is_empty() {
        return choice;
    }
    let failed = matches!(ended, Ended::Failed(_));
    let result = match ended {
        Ended::Given(payload) => unwrapped(&setting.values.of_payload(payload)),
        Ended::Stored(stored) => unwrapped(&match draft.payload(stored.at) {
            // A sleep of no time, which began earlier in this very commit.
            Some(payload) => setting.values.of_payload(payload),
            None => setting.values.of_stored(stored),
        }),
        Ended::Failed(failure) => envelope(failure),
    };
    let reads = |what: fn(&Condition) -> bool| {
        routes.iter().filter_map(|route| route.condition.as_ref().ok()).any(what)
    };
    let inputs = reads(Condition::reads_inputs).then(|| setting.values.of_stored(&state.input));
    let called = reads(Condition::reads_state).then(|| call_of(setting, state, step));
    let view = View { failed, result: &result, inputs: inputs.as_deref(), state: called.as_ref() };
    // Only patterns see failures: a condition on fields would catch one by chance.
    for route in routes.iter().filter(|route| !failed || route.kind == RuleKind::Diverge) {
        let holds = match &route.condition {
            Ok(condition) => condition.holds(&view),
            Err(reason) => Err(reason.to_string()),
        };
        match holds {
            Ok(true) => {
                choice.taken = Some(route);
                break;
            }
            Ok(false) => {}
            Err(reason) => choice.faults.push((route, reason)),
        }
    }
    choice
}

/// A failure as rules and dependants see it: the envelope in which the SDK reports one, and the kind
/// where that says more.
fn envelope(failure: &Failure) -> Value {
    if failure.kind == STEP_ERROR {
        return json!({"error": failure.message});
    }
    json!({"error": failure.message, "kind": failure.kind})
}

/// What the step was called with, as `state` in a condition: the lone output that it depends on (none
/// where that was skipped), all of them by name, or the workflow's inputs.
fn call_of(setting: &Setting<'_>, state: &State, step: &StepName) -> Value {
    let Some((_, step)) = setting.blueprint.step(step) else { return Value::Null };
    let mut called = called_with(state, step);
    if step.depends_on.len() <= 1 {
        let lone = called.pop().map(|(_, stored)| unwrapped(&setting.values.of_stored(&stored)));
        return lone.unwrap_or_default();
    }
    let field = |(name, stored): (StepName, Stored)| {
        (name.to_string(), unwrapped(&setting.values.of_stored(&stored)))
    };
    Value::Object(called.into_iter().map(field).collect::<Map<String, Value>>())
}

/// Goes on after the step of `choice` is done.
pub(super) fn go_on(draft: &mut Draft, setting: &Setting<'_>, choice: &Choice<'_>) {
    choice.note_faults(draft);
    let Some((place, _)) = setting.blueprint.step(&choice.step) else { return };
    match choice.taken {
        None => settle(draft, setting, setting.blueprint.plan().awaited_by(place).iter().copied()),
        Some(route) => match route.target {
            Target::End => end(draft, setting, choice, route),
            Target::Step(to) if to > place => skip_to(draft, setting, choice, route, (place, to)),
            Target::Step(to) => go_back(draft, setting, choice, route, (place, to)),
        },
    }
}

/// Goes on after the step of `choice` failed for good: a rule catches that, or the execution fails.
pub(super) fn go_on_failed(
    draft: &mut Draft,
    setting: &Setting<'_>,
    choice: &Choice<'_>,
    (attempt, error): (u32, Failure),
) {
    let step = choice.step.clone();
    if !choice.is_taken() {
        choice.note_faults(draft);
        draft.emit(Event::ExecutionFailed { step, error });
        return;
    }
    let (iteration, output) = (choice.iteration, Payload::of(envelope(&error)));
    draft.emit(Event::FailureCaught { step, iteration, attempt, output });
    go_on(draft, setting, choice);
}

/// Schedules whatever is ready, at the start of a run or where it resumes.
pub(super) fn begin(draft: &mut Draft, setting: &Setting<'_>) {
    settle(draft, setting, 0..setting.blueprint.steps().len());
}

fn end(draft: &mut Draft, setting: &Setting<'_>, choice: &Choice<'_>, route: &Route) {
    let state = draft.state();
    let is_passed = |step: &StepName| !has_begun(state, step) && !state.skipped.contains_key(step);
    let steps = setting.blueprint.steps().iter().map(|step| &step.name);
    let skipped = steps.filter(|step| is_passed(step)).cloned().collect();
    take(draft, choice, route, END.into(), Way { skipped, ..Way::default() });
    draft.emit(Event::ExecutionCompleted);
}

/// Skips what lies between the step and its target, as far as it waits for the step: in the timeline
/// up to the target, or, where the target is none of the timeline's, up to its end.
fn skip_to(
    draft: &mut Draft,
    setting: &Setting<'_>,
    choice: &Choice<'_>,
    route: &Route,
    (from, to): (usize, usize),
) {
    let steps = setting.blueprint.steps();
    let waits = setting.blueprint.plan().all_after(vec![from]);
    let is_passed = |&place: &usize| {
        waits[place]
            && !setting.blueprint.is_aside(place)
            && !has_begun(draft.state(), &steps[place].name)
    };
    let passed: Vec<usize> = (from + 1..to).filter(is_passed).collect();
    let skipped = passed.iter().map(|&place| steps[place].name.clone()).collect();
    take(draft, choice, route, steps[to].name.clone(), Way { skipped, ..Way::default() });
    let after = |&place: &usize| setting.blueprint.plan().awaited_by(place).iter().copied();
    let candidates: Vec<usize> = passed.iter().chain([&from]).flat_map(after).chain([to]).collect();
    settle(draft, setting, candidates);
}

/// Begins everything from the target on anew, or fails the execution where that was done too often.
fn go_back(
    draft: &mut Draft,
    setting: &Setting<'_>,
    choice: &Choice<'_>,
    route: &Route,
    (from, to): (usize, usize),
) {
    let steps = setting.blueprint.steps();
    let target = &steps[to].name;
    let state = draft.state();
    let most = setting.iterations_max();
    if state.iteration(target).max(choice.iteration) >= most {
        let step = choice.step.clone();
        let message = format!(
            "step `{step}` went back to `{target}`, and one of them has run {most} times, which is \
             the most that is allowed; mend the condition `{}`, or allow more iterations",
            route.when
        );
        let error = Failure { kind: LOOP_LIMIT.to_owned(), message, stacktrace: String::new() };
        draft.emit(Event::ExecutionFailed { step, error });
        return;
    }
    let has_come_to_something = |&place: &usize| {
        let name = &steps[place].name;
        has_begun(state, name) || state.skipped.contains_key(name)
    };
    let anew: Vec<usize> = from_on(setting, to).filter(has_come_to_something).collect();
    let (taken_up, cleared): (Vec<usize>, Vec<usize>) =
        anew.iter().partition(|&&place| is_taken_up(state, setting, (from, to), place));
    let named = |places: Vec<usize>| places.iter().map(|&it| steps[it].name.clone()).collect();
    let way = Way { cleared: named(cleared), taken_up: named(taken_up), ..Way::default() };
    take(draft, choice, route, target.clone(), way);
    // An aside that leads on, past the step that led to it, is not among them: what else waits for it
    // is not chosen.
    let others = setting.blueprint.plan().awaited_by(from).iter().copied();
    settle(draft, setting, anew.into_iter().chain([to]).chain(others));
}

/// Whether the skipped step at `place` is on the way again: it comes after the target to which an aside
/// leads back into the timeline, and what jumped over it was the step that had led to that aside.
fn is_taken_up(
    state: &State,
    setting: &Setting<'_>,
    (from, to): (usize, usize),
    place: usize,
) -> bool {
    let (blueprint, steps) = (setting.blueprint, setting.blueprint.steps());
    let chosen_by = state.chosen.get(&steps[from].name);
    let skipped_by = state.skipped.get(&steps[place].name).and_then(Option::as_ref);
    // What a step that begins anew had jumped over is decided anew with it.
    let still_stands = |step: &StepName| blueprint.step(step).is_some_and(|(at, _)| at < to);
    blueprint.is_aside(from)
        && !blueprint.is_aside(to)
        && place > to
        && chosen_by == skipped_by
        && chosen_by.is_some_and(still_stands)
}

/// The places that begin anew when a rule leads back to `to`: in the timeline those from there on, and
/// of the asides those that wait for any of them. What led to the others still holds.
fn from_on<'a>(setting: &Setting<'a>, to: usize) -> impl Iterator<Item = usize> + use<'a> {
    let blueprint = setting.blueprint;
    let is_in_timeline = !blueprint.is_aside(to);
    let timeline = blueprint.definition().steps.len();
    let first = if is_in_timeline { (to..timeline).collect() } else { vec![to] };
    let waits = blueprint.plan().all_after(first);
    (to..blueprint.steps().len())
        .filter(move |&place| place == to || waits[place] || (is_in_timeline && place < timeline))
}

/// What a transition does to other steps.
#[derive(Debug, Default)]
struct Way {
    skipped: Vec<StepName>,
    cleared: Vec<StepName>,
    taken_up: Vec<StepName>,
}

fn take(draft: &mut Draft, choice: &Choice<'_>, route: &Route, to: StepName, way: Way) {
    let Choice { step, iteration, .. } = choice;
    let Way { skipped, cleared, taken_up } = way;
    draft.emit(Event::TransitionTaken {
        step: step.clone(),
        iteration: *iteration,
        rule: route.kind,
        when: route.when.to_string(),
        to,
        skipped,
        cleared,
        taken_up,
    });
}

/// Schedules those of `candidates` that are ready, skips those that are left to a choice that was not
/// made, and goes on with what waited for those; then completes the execution if all is over.
fn settle(draft: &mut Draft, setting: &Setting<'_>, candidates: impl IntoIterator<Item = usize>) {
    let blueprint = setting.blueprint;
    let mut candidates: BTreeSet<usize> = candidates.into_iter().collect();
    let mut over = Over::default();
    while !candidates.is_empty() {
        let mut left_out = vec![];
        over.look_again();
        for place in past_skipped(draft.state(), setting, candidates) {
            let can_not_begin = has_begun(draft.state(), &blueprint.steps()[place].name)
                || !over.is_all_before(draft.state(), blueprint, place);
            if can_not_begin {
                continue;
            }
            if is_left_out(draft.state(), setting, place) {
                left_out.push(place);
            } else {
                schedule(draft, setting, place);
            }
        }
        if !left_out.is_empty() {
            let names = left_out.iter().map(|&place| blueprint.steps()[place].name.clone());
            draft.emit(Event::StepsSkipped { steps: names.collect() });
        }
        candidates = left_out.into_iter().collect();
    }
    let state = draft.state();
    if state.done.len() + state.skipped.len() == blueprint.steps().len() {
        draft.emit(Event::ExecutionCompleted);
    }
}

/// `from`, where those that are skipped stand for what waits for them.
fn past_skipped(state: &State, setting: &Setting<'_>, from: BTreeSet<usize>) -> BTreeSet<usize> {
    let (steps, plan) = (setting.blueprint.steps(), setting.blueprint.plan());
    let (mut seen, mut way) = (from.clone(), from.into_iter().collect::<Vec<_>>());
    while let Some(place) = way.pop() {
        if state.skipped.contains_key(&steps[place].name) {
            way.extend(plan.awaited_by(place).iter().copied().filter(|&next| seen.insert(next)));
        }
    }
    seen.retain(|&place| !state.skipped.contains_key(&steps[place].name));
    seen
}

fn has_begun(state: &State, step: &StepName) -> bool {
    state.open.contains_key(step) || state.done.contains_key(step)
}

/// Whether the step at `place` runs only by choice, and nobody chose it. One that takes the output of
/// a step that ran after the last choice is on the way all the same.
fn is_left_out(state: &State, setting: &Setting<'_>, place: usize) -> bool {
    let Some(decided_at) = setting.blueprint.plan().decided_at(place) else { return false };
    let step = &setting.blueprint.steps()[place];
    let ran_after = |name: &StepName| {
        let place = setting.blueprint.step(name).map(|(place, _)| place);
        place.is_some_and(|place| place > decided_at) && state.done.contains_key(name)
    };
    !state.chosen.contains_key(&step.name) && !step.depends_on.iter().any(ran_after)
}

fn schedule(draft: &mut Draft, setting: &Setting<'_>, place: usize) {
    let step = setting.blueprint.steps()[place].name.clone();
    let iteration = draft.state().iteration(&step);
    super::schedule(draft, setting, &step, iteration, 1, 0);
}

#[cfg(test)]
mod tests;
