//! Events in a few words, for traces.

use lazarus::workflow::Event;

/// What happened.
pub fn in_words(event: &Event) -> String {
    let kind = event.kind();
    match event {
        Event::StepStarted { step, attempt, worker, .. } => {
            format!("{kind} {step} #{attempt} by {worker}")
        }
        Event::StepScheduled { step, attempt, .. }
        | Event::StepCompleted { step, attempt, .. }
        | Event::AttemptFailed { step, attempt, .. }
        | Event::StepFailed { step, attempt, .. }
        | Event::AttemptLost { step, attempt, .. } => format!("{kind} {step} #{attempt}"),
        Event::DeliveryFailed { step, attempt, reason } => {
            format!("{kind} {step} #{attempt}: {reason}")
        }
        Event::SleepStarted { step, duration_ms, .. } => {
            format!("{kind} {step} for {duration_ms} ms")
        }
        Event::SleepEnded { step }
        | Event::ApprovalTimedOut { step }
        | Event::ApprovalRequested { step, .. } => format!("{kind} {step}"),
        Event::ApprovalGranted { step, request, .. } => format!("{kind} {step} by {request}"),
        Event::TransitionTaken { step, iteration, to, .. } => {
            format!("{kind} {step} ({iteration}) to {to}")
        }
        Event::GuardArmed { epoch, due } => format!("{kind} {epoch} due {due}"),
        Event::ExecutionStarted(start) => {
            format!("{kind} {} {} by {}", start.execution, start.generation, start.request)
        }
        _ => kind.to_owned(),
    }
}
