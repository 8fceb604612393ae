//! A worker says how its attempt ended.
//!
//! The first success of any attempt that was handed out counts while the step is open; the others
//! are superseded. A failure counts at once when it is the current attempt's, or when no lease runs;
//! any other is kept and counts if the running lease ends without a result. Were it otherwise, a step
//! that outlasts its lease and is silent until it submits would be superseded for ever.

use super::{Policy, advance, still_open};
use crate::workflow::{
    blueprint::Blueprint,
    command::Answer,
    draft::Draft,
    event::{Event, Failure},
    id::Task,
    inputs,
    outcome::Outcome,
    payload::Payload,
    rejection::Rejection,
    state::{OpenStep, Phase},
};

pub(super) fn decide(
    draft: &mut Draft,
    blueprint: &Blueprint,
    policy: &Policy,
    task: &Task,
    worker: &str,
    outcome: &Outcome,
) -> Result<Answer, Rejection> {
    if is_repetition(draft, task) {
        return Ok(Answer::Unchanged);
    }
    still_open(draft)?;
    let open = open_step(draft, blueprint, task)?.clone();
    match &outcome {
        Outcome::Succeeded(result) => complete(draft, blueprint, task, result),
        Outcome::Sleep { duration_ms, data } => sleep(draft, task, *duration_ms, data),
        Outcome::Approval { approval_type, data, timeout_ms } => {
            ask(draft, task, approval_type, data, *timeout_ms);
        }
        Outcome::Failed(failure) => return Ok(fail(draft, task, &open, failure)),
        Outcome::NotFound => return Ok(reroute(draft, policy, task, worker, &open)),
        Outcome::CallMismatch { with_inputs, failure } => {
            return Ok(adapt(draft, blueprint, task, &open, *with_inputs, failure));
        }
    }
    Ok(Answer::Applied)
}

/// Whether this very attempt's end stands in the log already.
fn is_repetition(draft: &Draft, task: &Task) -> bool {
    let state = draft.state();
    if let Some(done) = state.done.get(&task.step) {
        return done.iteration() == task.iteration && done.attempt() == task.attempt;
    }
    let Some(open) = state.open.get(&task.step) else { return false };
    if open.iteration != task.iteration {
        return false;
    }
    let has_failed = open.failure.as_ref().is_some_and(|(attempt, _)| *attempt == task.attempt);
    match open.phase {
        Phase::Sleeping { .. } | Phase::Approval { .. } => open.attempt == task.attempt,
        // A later success of an attempt whose failure was kept still counts, so that only a
        // closed run answers from the failure.
        Phase::Ready { .. } | Phase::Leased { .. } => has_failed && state.is_closed(),
    }
}

/// The open step that a result of `task` can still count for.
fn open_step<'a>(
    draft: &'a Draft,
    blueprint: &Blueprint,
    task: &Task,
) -> Result<&'a OpenStep, Rejection> {
    let state = draft.state();
    let step = task.step.clone();
    let never_handed_out =
        || Rejection::UnknownAttempt { step: step.clone(), attempt: task.attempt };
    let Some(open) = state.open.get(&task.step) else {
        if blueprint.step(&task.step).is_none() {
            return Err(Rejection::UnknownStep { step, workflow: blueprint.name().to_owned() });
        }
        let is_done = state.done.contains_key(&task.step);
        return Err(if is_done { Rejection::Superseded { step } } else { never_handed_out() });
    };
    if task.iteration < open.iteration {
        return Err(Rejection::Superseded { step });
    }
    if task.iteration > open.iteration || task.attempt == 0 || task.attempt > open.attempt {
        return Err(never_handed_out());
    }
    match open.phase {
        Phase::Ready { .. } | Phase::Leased { .. } => Ok(open),
        Phase::Sleeping { .. } | Phase::Approval { .. } => Err(Rejection::Superseded { step }),
    }
}

fn complete(draft: &mut Draft, blueprint: &Blueprint, task: &Task, result: &Payload) {
    let Task { step, iteration, attempt } = task.clone();
    let result = result.clone();
    draft.emit(Event::StepCompleted { step, iteration, attempt, result });
    advance::after_completion(draft, blueprint, &task.step);
}

fn sleep(draft: &mut Draft, task: &Task, duration_ms: u64, data: &Payload) {
    let Task { step, iteration, attempt } = task.clone();
    let until = draft.now().after_millis(duration_ms);
    let data = data.clone();
    draft.emit(Event::SleepStarted { step, iteration, attempt, duration_ms, until, data });
}

fn ask(
    draft: &mut Draft,
    task: &Task,
    approval_type: &str,
    data: &Payload,
    timeout_ms: Option<u64>,
) {
    let Task { step, iteration, attempt } = task.clone();
    let due = timeout_ms.map(|millis| draft.now().after_millis(millis));
    draft.emit(Event::ApprovalRequested {
        step,
        iteration,
        attempt,
        approval_type: approval_type.to_owned(),
        data: data.clone(),
        timeout_ms,
        due,
    });
}

fn fail(draft: &mut Draft, task: &Task, open: &OpenStep, failure: &Failure) -> Answer {
    let Task { step, iteration, attempt } = task.clone();
    let error = failure.clone();
    if attempt < open.attempt && has_running_lease(draft, open) {
        if open.failure.as_ref().is_some_and(|(failed, _)| *failed == attempt) {
            return Answer::Unchanged;
        }
        draft.emit(Event::AttemptFailed { step, attempt, error });
    } else {
        draft.emit(Event::StepFailed { step, iteration, attempt, error });
        advance::fail(draft, &task.step, failure.clone());
    }
    Answer::Applied
}

fn has_running_lease(draft: &Draft, open: &OpenStep) -> bool {
    match &open.phase {
        Phase::Leased { until, .. } => *until > draft.now(),
        Phase::Ready { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => false,
    }
}

/// The worker lacks the step: another one is asked, and this one not again for the time of a lease.
fn reroute(
    draft: &mut Draft,
    policy: &Policy,
    task: &Task,
    worker: &str,
    open: &OpenStep,
) -> Answer {
    if open.without.iter().any(|(name, until)| name == worker && *until > draft.now()) {
        return Answer::Unchanged;
    }
    let Task { step, iteration, attempt } = task.clone();
    let until = draft.now().after(policy.lease);
    draft.emit(Event::StepRerouted {
        step: step.clone(),
        attempt,
        worker: worker.to_owned(),
        until,
    });
    let is_current = match &open.phase {
        Phase::Leased { .. } => attempt == open.attempt,
        Phase::Ready { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => false,
    };
    if is_current {
        let attempt = attempt + 1;
        draft.emit(Event::StepScheduled { step, iteration, attempt, not_before: None });
    }
    Answer::Applied
}

/// The call was guessed wrongly: the same attempt is handed out once more, called the other way.
fn adapt(
    draft: &mut Draft,
    blueprint: &Blueprint,
    task: &Task,
    open: &OpenStep,
    with_inputs: bool,
    failure: &Failure,
) -> Answer {
    let is_called_so = inputs::with_inputs(blueprint, draft.state(), &task.step) == with_inputs;
    if open.adapted && is_called_so {
        return Answer::Unchanged;
    }
    if open.adapted || is_called_so || task.attempt != open.attempt {
        return fail(draft, task, open, failure);
    }
    let Task { step, iteration, attempt } = task.clone();
    draft.emit(Event::InputsAdapted { step: step.clone(), attempt, with_inputs });
    draft.emit(Event::StepScheduled { step, iteration, attempt, not_before: None });
    Answer::Applied
}
