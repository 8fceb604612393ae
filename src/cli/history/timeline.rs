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
    workflow::{Event, StepName, Timestamp},
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
}

/// Turns entries, oldest first, into lines.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    began: Option<Timestamp>,
    last: Option<(Timestamp, String)>,
    steps: BTreeMap<StepName, Doing>,
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
            Some(event) => known(event, entry.time),
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
        let waited = (passed >= GAP).then(|| format!("{} {}", self.waited(), length(passed)));
        let changed = (*by != entry.by).then(|| format!("engine changed: {by} → {}", entry.by));
        let said: Vec<String> = waited.into_iter().chain(changed).collect();
        (!said.is_empty()).then(|| painted(NOTE, format_args!("... {}", said.join(", "))))
    }

    fn waited(&self) -> &'static str {
        match self.steps.values().min() {
            Some(Doing::Working) => "worked",
            Some(Doing::Sleeping) => "slept",
            Some(Doing::Asking) => "waited for approval",
            Some(Doing::Ready) => "waited for a worker",
            None => "nothing happened for",
        }
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::StepScheduled { step, .. }
            | Event::StepRerouted { step, .. }
            | Event::AttemptLost { step, .. }
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
            Event::TransitionTaken { cleared, .. } => {
                self.steps.retain(|step, _| !cleared.contains(step));
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
            | Event::ExecutionTimedOut { .. } => self.steps.clear(),
        }
    }

    fn is(&mut self, step: &StepName, doing: Doing) {
        self.steps.insert(step.clone(), doing);
    }
}

/// Whether `entry` is the last of its run.
pub(super) fn closes(entry: &Entry) -> bool {
    matches!(
        event_of(&entry.json),
        Some(
            Event::ExecutionCompleted
                | Event::ExecutionFailed { .. }
                | Event::ExecutionCancelled { .. }
                | Event::ExecutionTimedOut { .. }
        )
    )
}

fn known(event: &Event, at: Timestamp) -> String {
    let Words { subject, text } = words(event, at);
    columns(event.kind(), style(event), &subject, &text)
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
