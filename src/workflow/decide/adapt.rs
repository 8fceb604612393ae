//! The call of a step's function was guessed wrongly: the same attempt is handed out once more, called
//! as Python's message asks for.
//!
//! Nothing ran, so that it counts as nothing. A call that can not be corrected (any more), or that
//! contradicts how it was sent, is the step's own failure.

use super::{Setting, failure, schedule, submit_result::is_leased};
use crate::workflow::{
    command::Answer,
    draft::Draft,
    event::Event,
    id::{StepName, Task},
    inputs::{self, INPUTS},
    outcome::Mismatch,
    state::OpenStep,
};

/// How often the call of an aside is corrected: a message of Python names one argument too many, or
/// all that are missing.
const ADAPTATIONS_MAX: u32 = 8;

/// Corrects the call of `task`; none: it is a failure.
pub(super) fn decide(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    open: &OpenStep,
    mismatch: &Mismatch,
) -> Option<Answer> {
    if open.answer.is_some() {
        // Whoever answered said that the step takes the answer as its `inputs`.
        return None;
    }
    let place = setting.blueprint.step(&task.step).map(|(place, _)| place);
    if place.is_some_and(|place| setting.blueprint.is_aside(place)) {
        return of_aside(draft, setting, task, open, mismatch);
    }
    let with_inputs = mismatch.with_inputs()?;
    let is_sent_so =
        inputs::with_inputs(setting.blueprint, draft.state(), &task.step) == with_inputs;
    let was_guessed = match open.adapted {
        // Called before the correction, or (the one attempt that was handed out twice) perhaps.
        Some(adapted) => task.attempt <= adapted && is_sent_so,
        None => !is_sent_so,
    };
    if !was_guessed {
        return None;
    }
    if open.adapted.is_some() || !is_leased(open, task.attempt) {
        // Corrected already; or the newer attempt finds it out by itself.
        return Some(Answer::Unchanged);
    }
    let Task { step, attempt, .. } = task.clone();
    draft.emit(Event::InputsAdapted { step, attempt, with_inputs });
    Some(hand_out_again(draft, setting, task))
}

/// Of an aside nothing is known but its name: it is sent what its messages ask for.
fn of_aside(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    open: &OpenStep,
    mismatch: &Mismatch,
) -> Option<Answer> {
    if !is_leased(open, task.attempt) {
        return Some(Answer::Unchanged);
    }
    let (blueprint, state) = (setting.blueprint, draft.state());
    let before = inputs::argument_names(blueprint, state, &task.step);
    let is_known = |name: &String| name == INPUTS || blueprint.step(name).is_some();
    let mut arguments = before.clone();
    arguments.retain(|name| mismatch.unexpected.as_deref() != Some(name));
    let missing = mismatch.missing.iter().map(|name| StepName::from(name.as_str()));
    arguments.extend(missing.filter(|name| !before.contains(name)));
    let can_be_corrected = mismatch.missing.iter().all(is_known)
        && arguments != before
        && open.adaptations < ADAPTATIONS_MAX;
    if !can_be_corrected {
        return None;
    }
    let Task { step, attempt, .. } = task.clone();
    draft.emit(Event::ArgumentsAdapted { step, attempt, arguments });
    Some(hand_out_again(draft, setting, task))
}

fn hand_out_again(draft: &mut Draft, setting: &Setting<'_>, task: &Task) -> Answer {
    if !failure::count_kept(draft, setting, &task.step) {
        let Task { step, iteration, attempt } = task;
        schedule(draft, setting, step, *iteration, *attempt, 0);
    }
    Answer::Applied
}
