//! One event in words: whom it is about, what happened.

use crate::{
    cli::{
        clock::length,
        output::{BAD, CARE, DIM, GOOD},
    },
    workflow::{Event, Failure, LossReason, Payload, Start, StepName, Timestamp},
};
use anstyle::Style;
use std::{collections::BTreeMap, time::Duration};

/// An event as a line of the timeline says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// The step, or the workflow.
    pub(super) subject: String,
    /// What happened.
    pub(super) text: String,
}

/// `event` in words; `at`: when it was committed, from which due times are told as lengths.
#[expect(clippy::too_many_lines, reason = "one arm a kind: none can be forgotten")]
pub(super) fn words(event: &Event, at: Timestamp) -> Words {
    let (subject, text) = match event {
        Event::ExecutionStarted(start) => (start.blueprint.name.clone(), started(start)),
        Event::GuardArmed { epoch, due } => (
            String::new(),
            format!("looked after from commit {epoch}, next in {}", until(*due, at)),
        ),
        Event::StepScheduled { step, iteration, attempt, not_before, start_by } => {
            let bound = within(", must begin within", *start_by, at);
            let back_off = back_off(*not_before, at);
            (step.to_string(), format!("{}attempt {attempt}{back_off}{bound}", round(*iteration)))
        }
        Event::StepStarted { step, iteration, attempt, worker, lease_until, close_by, partial } => {
            let lacks = if *partial { " (it lacks other steps of the workflow)" } else { "" };
            let (round, lease) = (round(*iteration), until(*lease_until, at));
            let bound = within(", must end within", *close_by, at);
            let text =
                format!("{round}attempt {attempt} → worker {worker}{lacks}, lease {lease}{bound}");
            (step.to_string(), text)
        }
        Event::LeaseExtended { step, attempt, lease_until } => (
            step.to_string(),
            format!("attempt {attempt} goes on, lease {}", until(*lease_until, at)),
        ),
        Event::StepCompleted { step, iteration, attempt, result } => (
            step.to_string(),
            format!("{}attempt {attempt}, result {}", round(*iteration), size(result)),
        ),
        Event::AttemptFailed { step, attempt, error } => (
            step.to_string(),
            format!("attempt {attempt}: {}; another attempt holds the lease", told(error)),
        ),
        Event::StepFailed { step, attempt, error, .. } => {
            (step.to_string(), format!("attempt {attempt}: {}", told(error)))
        }
        Event::StepRetried { step, attempt, error, .. } => {
            (step.to_string(), format!("attempt {attempt}: {}; it is tried again", told(error)))
        }
        Event::FailureCaught { step, .. } => {
            (step.to_string(), "a rule goes on from the failure".to_owned())
        }
        Event::TransitionTaken { step, when, to, skipped, cleared, .. } => {
            (step.to_string(), transition(when, to, skipped, cleared))
        }
        Event::StepsSkipped { steps } => (steps.join(", "), "not chosen by any rule".to_owned()),
        Event::ConditionNotEvaluated { step, when, reason, .. } => {
            (step.to_string(), format!("`{when}` counts as false: {reason}"))
        }
        Event::AttemptLost { step, attempt, reason } => {
            (step.to_string(), format!("attempt {attempt}: {}", lost(*reason)))
        }
        Event::DeliveryFailed { step, attempt, reason } => {
            (step.to_string(), format!("attempt {attempt}: the push target {reason}"))
        }
        Event::StepRerouted { step, attempt, worker, until: again } => (
            step.to_string(),
            format!(
                "attempt {attempt}: worker {worker} does not have this step, not asked again for {}",
                until(*again, at)
            ),
        ),
        Event::InputsAdapted { step, attempt, with_inputs } => (
            step.to_string(),
            format!("attempt {attempt} is called {} `inputs`", with(*with_inputs)),
        ),
        Event::ArgumentsAdapted { step, attempt, arguments } => {
            (step.to_string(), format!("attempt {attempt} is called with {}", named(arguments)))
        }
        Event::SleepStarted { step, attempt, until: end, .. } => {
            (step.to_string(), format!("attempt {attempt} sleeps for {}", until(*end, at)))
        }
        Event::SleepEnded { step } => (step.to_string(), "is over, the step completed".to_owned()),
        Event::ApprovalRequested { step, approval_type, due, .. } => {
            (step.to_string(), approval(approval_type, *due, at))
        }
        Event::ApprovalGranted { step, by, response, .. } => {
            (step.to_string(), format!("by {by}, response {}", size(response)))
        }
        Event::ApprovalAnswered { step, by, response, .. } => (
            step.to_string(),
            format!("by {by}, response {}; the step runs again with it", size(response)),
        ),
        Event::ApprovalRejected { step, by, reason, .. } => {
            (step.to_string(), format!("by {by}{}", because(reason)))
        }
        Event::ApprovalTimedOut { step } => {
            (step.to_string(), "nobody answered in time".to_owned())
        }
        Event::ResultKept { step, iteration, result, error, .. } => {
            (step.to_string(), kept(*iteration, result, error.is_some()))
        }
        Event::WayKept { skipped, chosen, iterations } => {
            (String::new(), way(skipped, chosen, iterations))
        }
        Event::ExecutionCompleted => (String::new(), "every step is over".to_owned()),
        Event::ExecutionFailed { step, error } => (step.to_string(), told(error)),
        Event::ExecutionCancelled { by, reason, .. } => {
            (String::new(), format!("by {by}{}", because(reason)))
        }
        Event::ExecutionTimedOut { timeout_ms } => {
            (String::new(), format!("its {} are over", length(Duration::from_millis(*timeout_ms))))
        }
        Event::ExecutionDeleted { run, .. } => {
            (String::new(), format!("run {run}, the one before, is deleted by retention"))
        }
    };
    Words { subject, text }
}

/// How a kind of event looks: what ends well, what ends badly, what waits, what is bookkeeping.
pub(super) fn style(event: &Event) -> Style {
    match event {
        Event::StepCompleted { .. }
        | Event::SleepEnded { .. }
        | Event::ApprovalGranted { .. }
        | Event::ApprovalAnswered { .. }
        | Event::ExecutionCompleted => GOOD,
        Event::StepFailed { .. }
        | Event::AttemptFailed { .. }
        | Event::ApprovalRejected { .. }
        | Event::ApprovalTimedOut { .. }
        | Event::ExecutionFailed { .. }
        | Event::ExecutionCancelled { .. }
        | Event::ExecutionTimedOut { .. } => BAD,
        Event::AttemptLost { .. }
        | Event::DeliveryFailed { .. }
        | Event::StepRetried { .. }
        | Event::FailureCaught { .. }
        | Event::ConditionNotEvaluated { .. }
        | Event::StepRerouted { .. }
        | Event::SleepStarted { .. }
        | Event::ApprovalRequested { .. }
        | Event::ExecutionDeleted { .. } => CARE,
        Event::GuardArmed { .. }
        | Event::StepScheduled { .. }
        | Event::LeaseExtended { .. }
        | Event::StepsSkipped { .. }
        | Event::ResultKept { .. }
        | Event::WayKept { .. }
        | Event::ArgumentsAdapted { .. }
        | Event::InputsAdapted { .. } => DIM,
        Event::ExecutionStarted(_) | Event::StepStarted { .. } | Event::TransitionTaken { .. } => {
            Style::new()
        }
    }
}

fn started(start: &Start) -> String {
    let version = format!("version {}, input {}", start.blueprint.version, size(&start.input));
    let resumed = start.resumed.as_ref().map(|resumed| {
        let how = if resumed.keeps_results { "with its results" } else { "from the start" };
        format!("resumed by {} from run {} {how}", resumed.by, resumed.run)
    });
    let timeout =
        start.timeout_ms.map(|ms| format!("timeout {}", length(Duration::from_millis(ms))));
    joined([Some(version), resumed, timeout])
}

/// The parts that there are, in a row.
fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `words` and the steps; none where there are no steps.
fn list<'a>(words: &str, steps: impl IntoIterator<Item = &'a StepName>) -> Option<String> {
    let steps: Vec<&str> = steps.into_iter().map(|step| &**step).collect();
    (!steps.is_empty()).then(|| format!("{words} {}", steps.join(", ")))
}

/// Which iteration it is, where rules have gone back.
fn round(iteration: u32) -> String {
    if iteration > 1 { format!("iteration {iteration}, ") } else { String::new() }
}

fn transition(when: &str, to: &str, skipped: &[StepName], cleared: &[StepName]) -> String {
    let back = if cleared.is_empty() { "" } else { "back to " };
    joined([
        Some(format!("`{when}` → {back}{to}")),
        list("begins anew:", cleared),
        list("skips", skipped),
    ])
}

fn way(
    skipped: &BTreeMap<StepName, Option<StepName>>,
    chosen: &BTreeMap<StepName, StepName>,
    iterations: &BTreeMap<StepName, u32>,
) -> String {
    let iteration = |(step, iteration): (&StepName, &u32)| format!("{step} in {iteration}");
    let iterations: Vec<String> = iterations.iter().map(iteration).collect();
    let iterations =
        (!iterations.is_empty()).then(|| format!("iterations: {}", iterations.join(", ")));
    let parts = [list("chosen:", chosen.keys()), list("skipped:", skipped.keys()), iterations];
    format!(
        "the way of the run before; {}",
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    )
}

fn kept(iteration: u32, result: &Payload, is_caught: bool) -> String {
    let what = if is_caught { "caught failure" } else { "result" };
    format!("{}{what} of the run before, {}", round(iteration), size(result))
}

fn named(arguments: &[StepName]) -> String {
    if arguments.is_empty() {
        return "no arguments".to_owned();
    }
    arguments.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn approval(approval_type: &str, due: Option<Timestamp>, at: Timestamp) -> String {
    match due {
        Some(due) => format!("{approval_type}, waits for {}", until(due, at)),
        None => format!("{approval_type}, waits without end"),
    }
}

fn back_off(not_before: Option<Timestamp>, at: Timestamp) -> String {
    not_before.map_or_else(String::new, |time| format!(", not before {} from now", until(time, at)))
}

fn within(words: &str, time: Option<Timestamp>, at: Timestamp) -> String {
    time.map_or_else(String::new, |time| format!("{words} {}", until(time, at)))
}

fn until(time: Timestamp, at: Timestamp) -> String {
    length(time.since(at))
}

fn size(payload: &Payload) -> String {
    match payload.bytes() {
        bytes @ ..1024 => format!("{bytes} bytes"),
        bytes => format!("{} KiB", bytes.div_ceil(1024)),
    }
}

fn told(error: &Failure) -> String {
    let message = error.message.lines().next().unwrap_or_default();
    format!("{}: {message}", error.kind)
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn lost(reason: LossReason) -> &'static str {
    match reason {
        LossReason::LeaseEnded => "the lease ended without a result",
        LossReason::NotFetched => "the worker did not come for it",
    }
}

fn with(with_inputs: bool) -> &'static str {
    if with_inputs { "with" } else { "without" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_000_000);

    fn said(event: &Event) -> String {
        let Words { subject, text } = words(event, AT);
        format!("{} | {subject} | {text}", event.kind())
    }

    fn of_json(event: serde_json::Value) -> String {
        said(&serde_json::from_value(event).expect("an event"))
    }

    #[test]
    fn a_step_from_worker_to_result() {
        assert_eq!(
            of_json(json!({"k": "step_started", "step": "charge", "iteration": 0, "attempt": 1,
                "worker": "python-1", "lease_until": 1_300_000})),
            "step_started | charge | attempt 1 → worker python-1, lease 5m"
        );
        assert_eq!(
            of_json(json!({"k": "step_completed", "step": "charge", "iteration": 0, "attempt": 1,
                "result": {"json": {"ok": true}}})),
            "step_completed | charge | attempt 1, result 11 bytes"
        );
        assert_eq!(
            of_json(json!({"k": "step_failed", "step": "charge", "iteration": 0, "attempt": 2,
                "error": {"kind": "ValueError", "message": "no card\nat line 3"}})),
            "step_failed | charge | attempt 2: ValueError: no card"
        );
    }

    #[test]
    fn lost_work_and_its_back_off() {
        assert_eq!(
            of_json(
                json!({"k": "attempt_lost", "step": "a", "attempt": 1, "reason": "lease_ended"})
            ),
            "attempt_lost | a | attempt 1: the lease ended without a result"
        );
        assert_eq!(
            of_json(json!({"k": "step_scheduled", "step": "a", "iteration": 0, "attempt": 2,
                "not_before": 1_002_000})),
            "step_scheduled | a | attempt 2, not before 2.0 s from now"
        );
    }

    #[test]
    fn sleeps_and_approvals_say_how_long() {
        assert_eq!(
            of_json(json!({"k": "sleep_started", "step": "wait", "iteration": 0, "attempt": 1,
                "duration_ms": 10_000, "until": 1_010_000, "data": {"json": {}}})),
            "sleep_started | wait | attempt 1 sleeps for 10.0 s"
        );
        assert_eq!(
            of_json(json!({"k": "approval_requested", "step": "ok", "iteration": 0, "attempt": 1,
                "approval_type": "manual", "data": {"blob": {"sha256": "ab", "bytes": 40_000}}})),
            "approval_requested | ok | manual, waits without end"
        );
        assert_eq!(
            of_json(json!({"k": "approval_rejected", "step": "ok", "by": "ann", "request": "r",
                "reason": "too dear"})),
            "approval_rejected | ok | by ann: too dear"
        );
    }

    #[test]
    fn bounds_of_a_step_are_told_as_lengths() {
        assert_eq!(
            of_json(json!({"k": "step_scheduled", "step": "a", "iteration": 2, "attempt": 1,
                "start_by": 1_060_000})),
            "step_scheduled | a | iteration 2, attempt 1, must begin within 1m"
        );
        assert_eq!(
            of_json(json!({"k": "step_started", "step": "a", "iteration": 1, "attempt": 1,
                "worker": "w", "lease_until": 1_300_000, "close_by": 1_030_000})),
            "step_started | a | attempt 1 → worker w, lease 5m, must end within 30.0 s"
        );
    }

    #[test]
    fn a_failure_is_tried_again_or_caught() {
        let error = json!({"kind": "ValueError", "message": "no card\nat line 3"});
        assert_eq!(
            of_json(json!({"k": "step_retried", "step": "a", "iteration": 1, "attempt": 1,
                "error": error})),
            "step_retried | a | attempt 1: ValueError: no card; it is tried again"
        );
        assert_eq!(
            of_json(json!({"k": "failure_caught", "step": "a", "iteration": 1, "attempt": 2,
                "output": {"json": {"error": "no card"}}})),
            "failure_caught | a | a rule goes on from the failure"
        );
    }

    #[test]
    fn a_rule_says_why_and_where_it_leads() {
        let taken = |to: &str, skipped: &[&str], cleared: &[&str]| {
            of_json(json!({"k": "transition_taken", "step": "check", "iteration": 1,
                "rule": "branch", "when": "x > 1", "to": to, "skipped": skipped,
                "cleared": cleared}))
        };
        assert_eq!(taken("ship", &[], &[]), "transition_taken | check | `x > 1` → ship");
        assert_eq!(taken("END", &[], &[]), "transition_taken | check | `x > 1` → END");
        assert_eq!(
            taken("ship", &["pack", "mail"], &[]),
            "transition_taken | check | `x > 1` → ship, skips pack, mail"
        );
        assert_eq!(
            taken("charge", &[], &["charge", "check"]),
            "transition_taken | check | `x > 1` → back to charge, begins anew: charge, check"
        );
        assert_eq!(
            of_json(json!({"k": "steps_skipped", "steps": ["refund", "mail"]})),
            "steps_skipped | refund, mail | not chosen by any rule"
        );
        assert_eq!(
            of_json(json!({"k": "condition_not_evaluated", "step": "check", "iteration": 1,
                "when": "x > 1", "reason": "there is no `x`"})),
            "condition_not_evaluated | check | `x > 1` counts as false: there is no `x`"
        );
    }

    #[test]
    fn an_answer_with_which_a_step_runs_again() {
        assert_eq!(
            of_json(json!({"k": "approval_answered", "step": "ok", "by": "ana", "request": "r",
                "response": {"json": {}}})),
            "approval_answered | ok | by ana, response 2 bytes; the step runs again with it"
        );
        assert_eq!(
            of_json(json!({"k": "arguments_adapted", "step": "a", "attempt": 1,
                "arguments": ["b", "inputs"]})),
            "arguments_adapted | a | attempt 1 is called with `b`, `inputs`"
        );
    }

    #[test]
    fn a_run_that_resumes_another_says_what_it_keeps() {
        let run = "0123456789abcdef0123456789abcdef";
        let started = |keeps_results: bool| {
            of_json(json!({"k": "execution_started", "namespace": "default",
                "execution": "order-7", "generation": 1, "run": run,
                "blueprint": {"name": "orders", "version": 3, "hash": "h"},
                "input": {"json": {}}, "request": "r",
                "resumed": {"generation": 0, "run": run, "by": "ana",
                    "keeps_results": keeps_results}}))
        };
        let resumed =
            "execution_started | orders | version 3, input 2 bytes, resumed by ana from run";
        assert_eq!(started(true), format!("{resumed} {run} with its results"));
        assert_eq!(started(false), format!("{resumed} {run} from the start"));
        let mut kept = json!({"k": "result_kept", "step": "a", "iteration": 2, "attempt": 1,
            "started": 1, "ended": 2, "result": {"json": {}}});
        assert_eq!(
            of_json(kept.clone()),
            "result_kept | a | iteration 2, result of the run before, 2 bytes"
        );
        kept["error"] = json!({"kind": "ValueError", "message": "no card"});
        assert_eq!(
            of_json(kept),
            "result_kept | a | iteration 2, caught failure of the run before, 2 bytes"
        );
        assert_eq!(
            of_json(json!({"k": "way_kept", "skipped": {"mail": "check", "refund": null},
                "chosen": {"ship": "check"}, "iterations": {"charge": 2}})),
            "way_kept |  | the way of the run before; chosen: ship; skipped: mail, refund; \
             iterations: charge in 2"
        );
    }

    #[test]
    fn an_execution_begins_and_ends() {
        assert_eq!(
            of_json(
                json!({"k": "execution_started", "namespace": "default", "execution": "order-7",
                "generation": 0, "run": "0123456789abcdef0123456789abcdef",
                "blueprint": {"name": "orders", "version": 3, "hash": "h"},
                "input": {"blob": {"sha256": "ab", "bytes": 40_000}}, "request": "r",
                "timeout_ms": 3_600_000})
            ),
            "execution_started | orders | version 3, input 40 KiB, timeout 1h"
        );
        assert_eq!(said(&Event::ExecutionCompleted), "execution_completed |  | every step is over");
    }
}
