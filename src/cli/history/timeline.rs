//! A history as lines: one per event, and one wherever time passed or another engine went on.
//!
//! Pure: commits in, lines out. Knows of the run only what it needs to say what it waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::Style;
use serde::Deserialize as _;

use super::words::{Words, style, words};
use crate::{
    cli::{
        clock::{length, offset, time_of_day},
        output::{DIM, NOTE, painted},
    },
    workflow::{END, Event, StepName, Timestamp},
};

/// Time between two commits that is worth a line of its own.
const GAP: Duration = Duration::from_secs(1);

/// One event as a server sends it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The commit that it stands in.
    pub(super) seq: u64,
    /// When that was decided.
    pub(super) time: Timestamp,
    /// The instance and build that decided it.
    pub(super) by: String,
    /// The event, as it is stored.
    pub(super) json: serde_json::Value,
}

/// What a step does between two commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// A worker has it.
    Working,
    /// It sleeps.
    Sleeping,
    /// A person is asked.
    Asking,
    /// It is for any worker.
    Ready,
    /// It is for any worker from this time on: its last attempt failed or was lost.
    Resting(Timestamp),
}

/// Turns entries, oldest first, into lines.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    began: Option<Timestamp>,
    last: Option<(Timestamp, String)>,
    steps: BTreeMap<StepName, Doing>,
    /// A rule led to the end, which is why the execution completes.
    is_led_to_end: bool,
}

impl Timeline {
    /// The lines of one more entry.
    pub(super) fn lines(&mut self, entry: &Entry) -> Vec<String> {
        let began = *self.began.get_or_insert(entry.time);
        let mut lines: Vec<String> = self.gap(entry).into_iter().collect();
        let event = event_of(&entry.json);
        let time = painted(DIM, time_of_day(entry.time));
        let since = offset(entry.time.since(began));
        let what = match &event {
            Some(event) => self.known(event, entry.time),
            None => unknown(&entry.json),
        };
        lines.push(format!("{time}  {since:>10}  {what}"));
        if let Some(event) = &event {
            self.follow(event);
        }
        self.last = Some((entry.time, entry.by.clone()));
        lines
    }

    /// What passed between the last commit and this one, if it is worth a line.
    fn gap(&self, entry: &Entry) -> Option<String> {
        let Some((time, by)) = &self.last else {
            return Some(painted(NOTE, format_args!("... engine: {}", entry.by)));
        };
        let passed = entry.time.since(*time);
        let waited = (passed >= GAP)
            .then(|| format!("{} {}", self.waited(*time, entry.time), length(passed)));
        let changed = (*by != entry.by).then(|| format!("engine changed: {by} → {}", entry.by));
        let said: Vec<String> = waited.into_iter().chain(changed).collect();
        (!said.is_empty()).then(|| painted(NOTE, format_args!("... {}", said.join(", "))))
    }

    /// What the run did between two commits: what says most about it, where steps differ.
    fn waited(&self, last: Timestamp, now: Timestamp) -> &'static str {
        match self.steps.values().min() {
            Some(Doing::Working) => "worked",
            Some(Doing::Sleeping) => "slept",
            Some(Doing::Asking) => "waited for approval",
            Some(Doing::Resting(end)) if end.since(last) >= now.since(*end) => {
                "waited to try again"
            }
            Some(Doing::Ready | Doing::Resting(_)) => "waited for a worker",
            None => "nothing happened for",
        }
    }

    fn known(&self, event: &Event, at: Timestamp) -> String {
        let Words { subject, mut text } = words(event, at);
        if self.is_led_to_end && *event == Event::ExecutionCompleted {
            "a rule led to the end".clone_into(&mut text);
        }
        columns(event.kind(), style(event), &subject, &text)
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::StepScheduled { step, not_before: Some(end), .. } => {
                self.is(step, Doing::Resting(*end));
            }
            Event::StepScheduled { step, .. }
            | Event::StepRerouted { step, .. }
            | Event::AttemptLost { step, .. }
            | Event::DeliveryFailed { step, .. }
            | Event::StepRetried { step, .. }
            | Event::ApprovalAnswered { step, .. }
            | Event::ArgumentsAdapted { step, .. }
            | Event::InputsAdapted { step, .. } => self.is(step, Doing::Ready),
            Event::StepStarted { step, .. } => self.is(step, Doing::Working),
            Event::SleepStarted { step, .. } => self.is(step, Doing::Sleeping),
            Event::ApprovalRequested { step, .. } => self.is(step, Doing::Asking),
            Event::StepCompleted { step, .. }
            | Event::StepFailed { step, .. }
            | Event::SleepEnded { step }
            | Event::ApprovalGranted { step, .. }
            | Event::ApprovalRejected { step, .. }
            | Event::ApprovalTimedOut { step } => {
                self.steps.remove(step);
            }
            Event::TransitionTaken { cleared, to, .. } => {
                self.steps.retain(|step, _| !cleared.contains(step));
                self.is_led_to_end = &**to == END;
            }
            Event::ExecutionStarted(_)
            | Event::GuardArmed { .. }
            | Event::FailureCaught { .. }
            | Event::StepsSkipped { .. }
            | Event::ConditionNotEvaluated { .. }
            | Event::ResultKept { .. }
            | Event::WayKept { .. }
            | Event::LeaseExtended { .. }
            | Event::AttemptFailed { .. } => {}
            Event::ExecutionCompleted
            | Event::ExecutionFailed { .. }
            | Event::ExecutionCancelled { .. }
            | Event::ExecutionTimedOut { .. }
            | Event::ExecutionDeleted { .. } => self.steps.clear(),
        }
    }

    fn is(&mut self, step: &StepName, doing: Doing) {
        self.steps.insert(step.clone(), doing);
    }
}

/// Whether `entry` is the last of its run.
pub(super) fn closes(entry: &Entry) -> bool {
    event_of(&entry.json).is_some_and(|event| event.closes())
}

/// An event of a newer server: its kind and the event itself say more than nothing.
fn unknown(event: &serde_json::Value) -> String {
    let kind = event.get("k").and_then(serde_json::Value::as_str).unwrap_or("?");
    columns(kind, Style::new(), "", &event.to_string())
}

fn columns(kind: &str, style: Style, subject: &str, text: &str) -> String {
    let subject = if subject.is_empty() { String::new() } else { format!("{subject}  ") };
    format!("{}  {subject}{text}", painted(style, format_args!("{kind:<20}")))
}

/// The event that `json` is; none when it is of a kind that this version does not know.
fn event_of(json: &serde_json::Value) -> Option<Event> {
    Event::deserialize(json).ok()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::*;

    const T0: u64 = 1_764_000_000_000;

    fn lines(entries: &[(u64, u64, &str, Value)]) -> Vec<String> {
        let mut timeline = Timeline::default();
        let entry = |(seq, after, by, json): &(u64, u64, &str, Value)| Entry {
            seq: *seq,
            time: Timestamp::from_millis(T0 + after),
            by: (*by).to_owned(),
            json: json.clone(),
        };
        let lines = entries.iter().flat_map(|it| timeline.lines(&entry(it)));
        lines.map(|line| strip_str(&line).to_string()).collect()
    }

    fn start() -> Value {
        json!({"k": "execution_started", "namespace": "default", "execution": "order-7",
            "generation": 0, "run": "0123456789abcdef0123456789abcdef",
            "blueprint": {"name": "orders", "version": 1, "hash": "h"},
            "input": {"json": {}}, "request": "r"})
    }

    #[test]
    fn a_sleep_that_another_engine_ends_is_seen() {
        let sleep = json!({"k": "sleep_started", "step": "wait", "iteration": 0, "attempt": 1,
            "duration_ms": 10_000, "until": T0 + 10_012, "data": {"json": {}}});
        assert_eq!(
            lines(&[
                (0, 0, "a/1", start()),
                (1, 12, "a/1", sleep),
                (2, 10_012, "b/1", json!({"k": "sleep_ended", "step": "wait"})),
                (2, 10_012, "b/1", json!({"k": "execution_completed"})),
            ]),
            [
                "... engine: a/1",
                "16:00:00.000     +0.000s  execution_started     orders  version 1, input 2 bytes",
                "16:00:00.012     +0.012s  sleep_started         wait  attempt 1 sleeps for 10.0 s",
                "... slept 10.0 s, engine changed: a/1 → b/1",
                "16:00:10.012    +10.012s  sleep_ended           wait  is over, the step completed",
                "16:00:10.012    +10.012s  execution_completed   every step is over",
            ]
        );
    }

    #[test]
    fn what_was_waited_for_is_said() {
        let scheduled = json!({"k": "step_scheduled", "step": "a", "iteration": 0, "attempt": 1});
        let leased = json!({"k": "step_started", "step": "a", "iteration": 0, "attempt": 1,
            "worker": "w", "lease_until": T0 + 302_000});
        let done = json!({"k": "step_completed", "step": "a", "iteration": 0, "attempt": 1,
            "result": {"json": 1}});
        let lines = lines(&[
            (0, 0, "a", scheduled),
            (1, 2_000, "a", leased),
            (2, 5_500, "b", done),
            (3, 9_000, "b", json!({"k": "guard_armed", "epoch": 3, "due": T0 + 69_000})),
        ]);
        assert_eq!(lines[2], "... waited for a worker 2.0 s");
        assert_eq!(lines[4], "... worked 3.5 s, engine changed: a → b");
        assert_eq!(lines[6], "... nothing happened for 3.5 s");
    }

    fn scheduled(step: &str, iteration: u32, attempt: u32) -> Value {
        json!({"k": "step_scheduled", "step": step, "iteration": iteration, "attempt": attempt})
    }

    fn started(step: &str, iteration: u32, attempt: u32) -> Value {
        json!({"k": "step_started", "step": step, "iteration": iteration, "attempt": attempt,
            "worker": "w", "lease_until": T0 + 900_000})
    }

    fn completed(step: &str, iteration: u32) -> Value {
        json!({"k": "step_completed", "step": step, "iteration": iteration, "attempt": 1,
            "result": {"json": 1}})
    }

    fn taken(from: &str, to: &str, skipped: &[&str], cleared: &[&str]) -> Value {
        json!({"k": "transition_taken", "step": from, "iteration": 1, "rule": "branch",
            "when": "x", "to": to, "skipped": skipped, "cleared": cleared})
    }

    /// Only what passed between commits.
    fn gaps(entries: &[(u64, u64, &str, Value)]) -> Vec<String> {
        lines(entries).into_iter().filter(|line| line.starts_with("...")).skip(1).collect()
    }

    #[test]
    fn a_loop_and_a_skip_are_told_and_what_follows_is_waited_for() {
        assert_eq!(
            lines(&[
                (0, 0, "a", started("check", 1, 1)),
                (1, 2_000, "a", completed("check", 1)),
                (1, 2_000, "a", taken("check", "check", &[], &["check"])),
                (1, 2_000, "a", scheduled("check", 2, 1)),
                (2, 5_000, "a", started("check", 2, 1)),
                (3, 6_500, "a", completed("check", 2)),
                (3, 6_500, "a", taken("check", "ship", &["pack"], &[])),
                (3, 6_500, "a", scheduled("ship", 1, 1)),
                (4, 6_600, "a", started("ship", 1, 1)),
                (5, 7_000, "a", completed("ship", 1)),
                (5, 7_000, "a", taken("ship", "END", &[], &[])),
                (5, 7_000, "a", json!({"k": "execution_completed"})),
            ]),
            [
                "... engine: a",
                "16:00:00.000     +0.000s  step_started          check  attempt 1 → worker w, lease 15m",
                "... worked 2.0 s",
                "16:00:02.000     +2.000s  step_completed        check  attempt 1, result 1 bytes",
                "16:00:02.000     +2.000s  transition_taken      check  `x` → back to check, begins anew: check",
                "16:00:02.000     +2.000s  step_scheduled        check  iteration 2, attempt 1",
                "... waited for a worker 3.0 s",
                "16:00:05.000     +5.000s  step_started          check  iteration 2, attempt 1 → worker w, lease 14m 55s",
                "... worked 1.5 s",
                "16:00:06.500     +6.500s  step_completed        check  iteration 2, attempt 1, result 1 bytes",
                "16:00:06.500     +6.500s  transition_taken      check  `x` → ship, skips pack",
                "16:00:06.500     +6.500s  step_scheduled        ship  attempt 1",
                "16:00:06.600     +6.600s  step_started          ship  attempt 1 → worker w, lease 14m 53s",
                "16:00:07.000     +7.000s  step_completed        ship  attempt 1, result 1 bytes",
                "16:00:07.000     +7.000s  transition_taken      ship  `x` → END",
                "16:00:07.000     +7.000s  execution_completed   a rule led to the end",
            ]
        );
    }

    #[test]
    fn what_a_loop_began_anew_does_nothing_more() {
        let sleep = json!({"k": "sleep_started", "step": "wait", "iteration": 1, "attempt": 1,
            "duration_ms": 60_000, "until": T0 + 60_000, "data": {"json": {}}});
        let skipped = json!({"k": "steps_skipped", "steps": ["refund"]});
        assert_eq!(
            gaps(&[
                (0, 0, "a", sleep),
                (0, 0, "a", started("check", 1, 1)),
                (1, 1_000, "a", completed("check", 1)),
                (1, 1_000, "a", skipped),
                (2, 3_000, "a", started("other", 1, 1)),
                (3, 4_000, "a", completed("other", 1)),
                (3, 4_000, "a", taken("other", "wait", &[], &["wait", "check", "other"])),
                (3, 4_000, "a", scheduled("wait", 2, 1)),
                (4, 6_000, "a", started("wait", 2, 1)),
            ]),
            [
                "... worked 1.0 s",
                "... slept 2.0 s",
                "... worked 1.0 s",
                "... waited for a worker 2.0 s",
            ]
        );
    }

    #[test]
    fn a_back_off_is_no_lack_of_workers_until_it_is_over() {
        let retried = json!({"k": "step_retried", "step": "a", "iteration": 1, "attempt": 1,
            "error": {"kind": "ValueError", "message": "no card"}});
        let resting = |attempt: u32, end: u64| {
            let mut scheduled = scheduled("a", 1, attempt);
            scheduled["not_before"] = (T0 + end).into();
            scheduled
        };
        assert_eq!(
            gaps(&[
                (0, 0, "a", started("a", 1, 1)),
                (1, 1_000, "a", retried.clone()),
                (1, 1_000, "a", resting(2, 5_000)),
                (2, 5_100, "a", started("a", 1, 2)),
                (3, 6_100, "a", retried),
                (3, 6_100, "a", resting(3, 8_100)),
                (4, 60_000, "a", started("a", 1, 3)),
            ]),
            [
                "... worked 1.0 s",
                "... waited to try again 4.1 s",
                "... worked 1.0 s",
                "... waited for a worker 53.9 s",
            ]
        );
    }

    #[test]
    fn a_step_that_is_answered_runs_again() {
        let asked = json!({"k": "approval_requested", "step": "ok", "iteration": 1, "attempt": 1,
            "approval_type": "manual", "data": {"json": {}}});
        let answered = json!({"k": "approval_answered", "step": "ok", "by": "ana", "request": "r",
            "response": {"json": {}}});
        assert_eq!(
            gaps(&[
                (0, 0, "a", asked),
                (1, 9_000, "a", answered),
                (1, 9_000, "a", scheduled("ok", 1, 2)),
                (2, 11_000, "a", started("ok", 1, 2)),
                (3, 14_000, "a", json!({"k": "execution_completed"})),
            ]),
            ["... waited for approval 9.0 s", "... waited for a worker 2.0 s", "... worked 3.0 s"]
        );
    }

    #[test]
    fn an_event_of_a_newer_server_is_shown_as_it_is() {
        let lines = lines(&[(0, 0, "a", json!({"k": "step_skipped", "step": "x"}))]);
        assert_eq!(
            lines[1],
            "16:00:00.000     +0.000s  step_skipped          {\"k\":\"step_skipped\",\"step\":\"x\"}"
        );
    }

    #[test]
    fn only_the_end_of_a_run_closes_it() {
        let entry = |json| Entry { seq: 0, time: Timestamp::default(), by: String::new(), json };
        assert!(closes(&entry(json!({"k": "execution_completed"}))));
        assert!(!closes(&entry(start())));
    }
}
