//! Holds what was acknowledged against the histories: what is lost, what is there twice, what is stuck.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    history::Run,
    ledger::{Marks, Started, Told, attempt},
};

/// What a report comes to. The same attempt may have failed before it succeeds: both are written down.
const GIVEN: [&str; 3] = ["step_completed", "sleep_started", "approval_requested"];
/// What a failure comes to.
const FAILED: [&str; 3] = ["attempt_failed", "step_retried", "step_failed"];

/// What is wrong; empty where nothing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged, and not in the history.
    pub lost: Vec<String>,
    /// A step with two results, a request that came to two runs or counts twice.
    pub duplicated: Vec<String>,
    /// Runs that did not end in time.
    pub stuck: Vec<String>,
    /// What none of the workflows may come to: a run that failed, a sleep that ended early, a history
    /// with a hole.
    pub wrong: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        let Self { lost, duplicated, stuck, wrong } = self;
        lost.is_empty() && duplicated.is_empty() && stuck.is_empty() && wrong.is_empty()
    }
}

/// Judges `runs` by what clients and workers were told, and by what these had sent.
pub fn judge(
    started: &[Started],
    told: &[Told],
    marks: &Marks,
    runs: &BTreeMap<String, Run>,
) -> Verdict {
    let mut verdict = Verdict::default();
    requests(started, runs, &mut verdict);
    let executions = by_execution(runs);
    for told in told {
        heard(told, marks, runs, &executions, &mut verdict);
    }
    for (id, run) in runs {
        results(id, run, &mut verdict);
        end(id, run, &mut verdict);
    }
    verdict
}

/// Each start that was answered is there, once.
fn requests(started: &[Started], runs: &BTreeMap<String, Run>, verdict: &mut Verdict) {
    let mut of_request: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, run) in runs {
        of_request.entry(run.fact("request")).or_default().insert(id);
    }
    for start in started {
        let is_there = runs.get(&start.run).is_some_and(|run| {
            run.fact("execution") == start.execution
                && run.fact("request") == start.request
                && run.events[0].1["generation"] == start.generation
        });
        if !is_there {
            verdict.lost.push(format!("{start:?}"));
        }
        of_request.entry(&start.request).or_default().insert(&start.run);
    }
    let twice = of_request.into_iter().filter(|(_, runs)| runs.len() > 1);
    verdict.duplicated.extend(twice.map(|(request, runs)| format!("{request} came to {runs:?}")));
}

fn by_execution(runs: &BTreeMap<String, Run>) -> BTreeMap<&str, Vec<&Run>> {
    let mut executions: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs.values() {
        executions.entry(run.fact("execution")).or_default().push(run);
    }
    executions
}

/// What was told stands in the history.
fn heard(
    told: &Told,
    marks: &Marks,
    runs: &BTreeMap<String, Run>,
    executions: &BTreeMap<&str, Vec<&Run>>,
    verdict: &mut Verdict,
) {
    let count = match told {
        Told::Report { run, step, token } => {
            marked(runs.get(run), step, &GIVEN, &marks[&attempt(token)])
        }
        Told::Failure { run, step, token } => {
            let of = runs.get(run);
            marked(of, step, &FAILED, &marks[&attempt(token)]).min(1).max(ended(of, step, token))
        }
        Told::Approval { execution, request } => {
            let of = executions.get(execution.as_str()).map(Vec::as_slice).unwrap_or_default();
            let granted = of.iter().flat_map(|run| run.of_kind("approval_granted"));
            granted.filter(|(_, event)| event["request"] == request.as_str()).count()
        }
    };
    match count {
        0 => verdict.lost.push(format!("{told:?}")),
        1 => {}
        _ => verdict.duplicated.push(format!("{told:?}")),
    }
}

/// 1 if an attempt no older than that of `token` ended the same round of the step: a failure that comes
/// after it changes nothing, and is not written down.
fn ended(run: Option<&Run>, step: &str, token: &str) -> usize {
    let attempt =
        token.rsplit('.').next().and_then(|it| it.parse::<u64>().ok()).expect("an attempt");
    let events = run.map(|run| run.events.as_slice()).unwrap_or_default();
    let ends_it = |(_, event): &(u64, Value)| {
        let kind = event["k"].as_str().unwrap_or_default();
        let is_late = event["attempt"].as_u64().is_some_and(|it| it >= attempt);
        event["step"] == step && (FAILED.contains(&kind) || kind == "step_completed") && is_late
    };
    usize::from(events.iter().any(ends_it))
}

/// How many events of the step and of these kinds have one of the marks.
fn marked(run: Option<&Run>, step: &str, kinds: &[&str], marks: &[String]) -> usize {
    let events = run.map(|run| run.events.as_slice()).unwrap_or_default();
    let is_it = |(_, event): &&(u64, Value)| {
        let (text, kind) = (event.to_string(), event["k"].as_str().unwrap_or_default());
        let is_of_it = event["step"] == step && kinds.contains(&kind);
        is_of_it && marks.iter().any(|mark| text.contains(mark))
    };
    events.iter().filter(is_it).count()
}

/// A step has one result, and a sleep ends when it is due.
fn results(id: &str, run: &Run, verdict: &mut Verdict) {
    let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
    for kind in ["step_completed", "sleep_ended", "approval_granted"] {
        for (_, event) in run.of_kind(kind) {
            *ended.entry(event["step"].as_str().unwrap_or_default()).or_default() += 1;
        }
    }
    let twice = ended.iter().filter(|(_, results)| **results > 1);
    verdict
        .duplicated
        .extend(twice.map(|(step, results)| format!("{id}: {results} results of {step}")));
    for (time, woken) in run.of_kind("sleep_ended") {
        let slept = run.of_kind("sleep_started").find(|(_, event)| event["step"] == woken["step"]);
        if slept.is_none_or(|(_, event)| event["until"].as_u64() > Some(*time)) {
            verdict.wrong.push(format!("{id}: a sleep ended early: {woken}"));
        }
    }
}

/// It completed, and its numbers have no gaps.
fn end(id: &str, run: &Run, verdict: &mut Verdict) {
    if !run.seqs.iter().copied().eq(0..run.seqs.len() as u64) {
        verdict.wrong.push(format!("{id}: commits {:?}", run.seqs));
    }
    let closings =
        ["execution_completed", "execution_failed", "execution_cancelled", "execution_timed_out"];
    let closed: Vec<&str> =
        closings.into_iter().filter(|kind| run.of_kind(kind).next().is_some()).collect();
    match closed.as_slice() {
        [] => verdict.stuck.push(format!("{id}: execution {:?}", run.fact("execution"))),
        ["execution_completed"] => {}
        other => verdict.wrong.push(format!("{id}: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    const T1: &str = "default.e.0.1.2.a.1.1";
    const T2: &str = "default.e.0.1.3.b.1.1";

    /// A run that sleeps, is approved and completes, and what was told of it.
    fn sound() -> (Vec<Started>, Vec<Told>, BTreeMap<String, Run>) {
        let events = vec![
            (
                1,
                json!({"k": "execution_started", "execution": "e", "generation": 0, "request": "r"}),
            ),
            (2, json!({"k": "step_completed", "step": "a", "result": {"json": {"mark": "m1"}}})),
            (
                3,
                json!({"k": "sleep_started", "step": "b", "until": 9, "data": {"json": {"mark": "m2"}}}),
            ),
            (9, json!({"k": "sleep_ended", "step": "b"})),
            (10, json!({"k": "approval_granted", "step": "c", "request": "ok"})),
            (11, json!({"k": "execution_completed"})),
        ];
        let run = Run { seqs: (0..6).collect(), events };
        let started = Started {
            execution: "e".to_owned(),
            request: "r".to_owned(),
            generation: 0,
            run: "1".to_owned(),
        };
        let report = |step: &str, token: &str| Told::Report {
            run: "1".to_owned(),
            step: step.to_owned(),
            token: token.to_owned(),
        };
        let approval = Told::Approval { execution: "e".to_owned(), request: "ok".to_owned() };
        let told = vec![report("a", T1), report("b", T2), approval];
        (vec![started], told, BTreeMap::from([("1".to_owned(), run)]))
    }

    /// Under each token, what was sent; under the first one twice.
    fn marks() -> Marks {
        let sent = |marks: &[&str]| marks.iter().map(|mark| (*mark).to_owned()).collect();
        HashMap::from([(attempt(T1), sent(&["m0", "m1"])), (attempt(T2), sent(&["m2"]))])
    }

    /// The verdict after `change` of the run.
    fn after(change: impl FnOnce(&mut Run)) -> Verdict {
        let (started, told, mut runs) = sound();
        change(runs.get_mut("1").expect("the run"));
        judge(&started, &told, &marks(), &runs)
    }

    #[test]
    fn a_sound_history_is_clean() {
        assert!(after(|_| {}).is_clean());
    }

    #[test]
    fn an_attempt_that_was_handed_out_twice_may_come_to_both() {
        let (started, mut told, mut runs) = sound();
        let again = "default.e.0.1.7.a.1.1".to_owned();
        let (run, step) = ("1".to_owned(), "a".to_owned());
        told.push(Told::Report { run: run.clone(), step: step.clone(), token: again.clone() });
        told.push(Told::Failure { run, step, token: again });
        let failed = json!({"k": "step_retried", "step": "a", "attempt": 1, "error": "m0"});
        runs.get_mut("1").expect("the run").events.insert(1, (1, failed));
        assert_eq!(judge(&started, &told, &marks(), &runs), Verdict::default());
    }

    #[test]
    fn whatever_was_acknowledged_and_is_gone_is_lost() {
        for (event, lost) in [(1, T1), (2, T2), (4, "ok")] {
            let verdict = after(|run| drop(run.events.remove(event)));
            assert!(verdict.lost.len() == 1 && verdict.lost[0].contains(lost), "{verdict:?}");
        }
        let (started, told, _) = sound();
        assert_eq!(judge(&started, &told, &marks(), &BTreeMap::new()).lost.len(), 4);
    }

    #[test]
    fn what_is_there_twice_is_duplicated() {
        for event in [1, 3, 4] {
            let verdict = after(|run| run.events.insert(event, run.events[event].clone()));
            assert!(!verdict.duplicated.is_empty(), "{verdict:?}");
        }
        let (started, told, mut runs) = sound();
        runs.insert("2".to_owned(), runs["1"].clone());
        assert!(!judge(&started, &told, &marks(), &runs).duplicated.is_empty());
    }

    #[test]
    fn what_did_not_end_is_stuck_and_what_ended_otherwise_is_wrong() {
        assert_eq!(after(|run| drop(run.events.pop())).stuck.len(), 1);
        let failed = after(|run| run.events[5].1["k"] = "execution_failed".into());
        assert_eq!(failed.wrong.len(), 1);
        assert_eq!(after(|run| run.events[3].0 = 8).wrong.len(), 1);
        assert_eq!(after(|run| _ = run.seqs.remove(2)).wrong.len(), 1);
    }
}
