//! The format that is in buckets: every golden file is read, folded and written again to the same
//! bytes. Files are only added, never edited: what was released once is read for ever.
//!
//! The files of one folder are one log each (`0.json` is its start commit). A new event kind fails
//! here until a file carries it: `cargo test --test golden -- --ignored` writes the files that are
//! missing from what `logs` below says.

use std::{collections::BTreeSet, fs, path::PathBuf};

use lazarus::{
    log::{Commit, Encoded, Error, Key, NewCommit, Snapshots},
    workflow::{
        BlueprintRef, CommitFacts, Event, ExecutionId, FOLD_VERSION, Failure, Handle, LossReason,
        Namespace, Payload, Resumed, RuleKind, RunId, Start, State, StepName, Timestamp, Tombstone,
        fold,
    },
};
use serde_json::json;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000 + 1000 * seconds)
}

fn failure(kind: &str) -> Failure {
    Failure {
        kind: kind.to_owned(),
        message: "the card was refused".to_owned(),
        stacktrace: "Traceback: line 1".to_owned(),
    }
}

fn blob() -> Payload {
    let sha256 = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9";
    Payload::Blob { sha256: sha256.into(), bytes: 40_000 }
}

fn handle(run: u128) -> Handle {
    Handle {
        namespace: Namespace::default(),
        execution: ExecutionId::known("Order 17").expect("a valid id").key(),
        generation: 1,
        run: RunId::from_random(run),
        seq: 0,
    }
}

fn start(run: u128, input: Payload) -> Event {
    Event::ExecutionStarted(Box::new(Start {
        namespace: Namespace::default(),
        execution: ExecutionId::known("Order 17").expect("a valid id"),
        generation: 1,
        run: RunId::from_random(run),
        blueprint: BlueprintRef { name: "orders".to_owned(), version: 2, hash: "0f".repeat(32) },
        input,
        request: "start-1".to_owned(),
        timeout_ms: Some(86_400_000),
        deadline: Some(at(86_400)),
        correlation_id: "cart-5".to_owned(),
        tags: vec!["vip".to_owned(), "überseeisch".to_owned()],
        with_inputs: [("ship".into(), true)].into(),
        arguments: [].into(),
        resumed: None,
    }))
}

/// As [`start`], of a run that resumes another.
fn resumed(run: u128, input: Payload) -> Event {
    let Event::ExecutionStarted(mut started) = start(run, input) else { unreachable!() };
    started.arguments = [("apologise".into(), vec!["charge".into(), "inputs".into()])].into();
    started.resumed = Some(Resumed {
        generation: 0,
        run: RunId::from_random(2),
        by: "ana".to_owned(),
        keeps_results: true,
    });
    Event::ExecutionStarted(started)
}

fn scheduled(step: &str, attempt: u32, not_before: Option<Timestamp>) -> Event {
    Event::StepScheduled { step: step.into(), iteration: 1, attempt, not_before, start_by: None }
}

fn started(step: &str, attempt: u32) -> Event {
    let (worker, lease_until) = ("worker-1".to_owned(), at(300));
    Event::StepStarted {
        step: step.into(),
        iteration: 1,
        attempt,
        worker,
        lease_until,
        partial: false,
        close_by: None,
    }
}

fn completed(step: &str, result: Payload) -> Event {
    Event::StepCompleted { step: step.into(), iteration: 1, attempt: 1, result }
}

fn asked(step: &str, timeout_ms: Option<u64>) -> Event {
    Event::ApprovalRequested {
        step: step.into(),
        iteration: 1,
        attempt: 1,
        approval_type: "manager".to_owned(),
        data: Payload::of(json!({"amount": 12.5})),
        timeout_ms,
        due: timeout_ms.map(|_| at(3600)),
    }
}

/// A tombstone, closed from the start.
fn tombstone(run: u128) -> Vec<Event> {
    let tombstone = Tombstone {
        namespace: Namespace::default(),
        execution: ExecutionId::known("Order 17").expect("a valid id"),
        generation: 1,
        run: RunId::from_random(run),
        workflow: ("orders".to_owned(), 2),
        deleted: (RunId::from_random(2), at(3_600)),
    };
    tombstone.events()
}

/// The logs, by folder: the events of each commit.
#[expect(clippy::too_many_lines, reason = "data: one entry for each event kind")]
fn logs() -> Vec<(&'static str, Vec<Vec<Event>>)> {
    let input = || Payload::of(json!({"total": 0.1, "note": "a \"quoted\" \u{1f600}", "n": null}));
    let guard = |epoch, due| Event::GuardArmed { epoch, due: at(due) };
    let step = || "charge".into();
    let failed = |attempt| Event::StepFailed {
        step: "charge".into(),
        iteration: 1,
        attempt,
        error: failure("CardError"),
    };
    let ended = || Event::ExecutionFailed { step: "charge".into(), error: failure("CardError") };
    let (by, reason) = ("ana".to_owned(), "too much".to_owned());
    let sleep = Event::SleepStarted {
        step: "wait".into(),
        iteration: 1,
        attempt: 1,
        duration_ms: 10_000,
        until: at(20),
        data: Payload::of(json!({"slept": true})),
    };
    let lost = |attempt, reason| Event::AttemptLost { step: "charge".into(), attempt, reason };
    let rerouted = Event::StepRerouted {
        step: step(),
        attempt: 1,
        worker: "worker-1".to_owned(),
        until: at(400),
    };
    let adapted = Event::InputsAdapted { step: step(), attempt: 2, with_inputs: true };
    let extended = Event::LeaseExtended { step: step(), attempt: 2, lease_until: at(500) };
    let attempt_failed =
        Event::AttemptFailed { step: step(), attempt: 2, error: failure("CardError") };
    let granted = Event::ApprovalGranted {
        step: "sign".into(),
        by: by.clone(),
        request: "approve-1".to_owned(),
        response: Payload::of(json!({"ok": true})),
    };
    let rejected = Event::ApprovalRejected {
        step: "charge".into(),
        by: by.clone(),
        request: "reject-1".to_owned(),
        reason: reason.clone(),
    };
    let cancelled = Event::ExecutionCancelled { by, request: "cancel-1".to_owned(), reason };
    vec![
        (
            "completes",
            vec![
                vec![start(1, input()), scheduled("charge", 1, None), guard(0, 60)],
                vec![started("charge", 1)],
                vec![completed("charge", blob()), scheduled("wait", 1, None), started("wait", 1)],
                vec![sleep],
                vec![],
                vec![
                    Event::SleepEnded { step: "wait".into() },
                    scheduled("sign", 1, None),
                    started("sign", 1),
                    guard(5, 80),
                ],
                vec![asked("sign", Some(3_600_000))],
                vec![granted, Event::ExecutionCompleted],
            ],
        ),
        (
            "fails",
            vec![
                vec![start(2, blob()), scheduled("charge", 1, None), guard(0, 60)],
                vec![started("charge", 1)],
                vec![rerouted, scheduled("charge", 2, None), started("charge", 2)],
                vec![adapted, scheduled("charge", 2, None)],
                vec![started("charge", 2)],
                vec![extended],
                vec![
                    lost(2, LossReason::LeaseEnded),
                    scheduled("charge", 3, Some(at(61))),
                    guard(0, 120),
                ],
                vec![started("charge", 3), lost(3, LossReason::NotFetched), started("charge", 4)],
                vec![attempt_failed],
                vec![failed(4), ended()],
            ],
        ),
        (
            "rejected",
            vec![
                vec![start(3, input()), scheduled("charge", 1, None), started("charge", 1)],
                vec![asked("charge", None)],
                vec![rejected, ended()],
            ],
        ),
        (
            "unanswered",
            vec![
                vec![start(4, input()), scheduled("charge", 1, None), started("charge", 1)],
                vec![asked("charge", Some(3_600_000))],
                vec![Event::ApprovalTimedOut { step: step() }, ended()],
            ],
        ),
        ("cancelled", vec![vec![start(5, input()), guard(0, 60)], vec![cancelled]]),
        (
            "out_of_time",
            vec![
                vec![start(6, input()), guard(0, 60)],
                vec![Event::ExecutionTimedOut { timeout_ms: 86_400_000 }],
            ],
        ),
        ("routed", routed(7)),
        ("resumed", kept()),
        // The same as `routed`, by a fold that remembers which failures were caught.
        ("led_back", routed(9)),
        ("deleted", vec![tombstone(10)]),
        ("undelivered", undelivered(11)),
    ]
}

/// A step whose push target did not answer at first.
fn undelivered(run: u128) -> Vec<Vec<Event>> {
    let scheduled = |attempt, not_before| Event::StepScheduled {
        step: "charge".into(),
        iteration: 1,
        attempt,
        not_before,
        start_by: None,
    };
    let started = |attempt| Event::StepStarted {
        step: "charge".into(),
        iteration: 1,
        attempt,
        worker: "push:payments".to_owned(),
        lease_until: at(300),
        partial: false,
        close_by: None,
    };
    let reason = "answered 503 Service Unavailable".to_owned();
    let failed = Event::DeliveryFailed { step: "charge".into(), attempt: 1, reason };
    let completed = Event::StepCompleted {
        step: "charge".into(),
        iteration: 1,
        attempt: 2,
        result: Payload::of(json!({"ok": true})),
    };
    vec![
        vec![start(run, Payload::of(json!({"order": 17}))), scheduled(1, None), started(1)],
        vec![failed, scheduled(2, Some(at(2)))],
        vec![started(2)],
        vec![completed, Event::ExecutionCompleted],
    ]
}

fn transition(step: &str, rule: RuleKind, when: &str, to: &str) -> Event {
    Event::TransitionTaken {
        step: step.into(),
        iteration: 1,
        rule,
        when: when.to_owned(),
        to: to.into(),
        skipped: vec![],
        cleared: vec![],
        taken_up: vec![],
    }
}

/// Retries, a caught failure, a step of which only the name is known, and a loop.
#[expect(clippy::too_many_lines, reason = "data: the events of one log")]
fn routed(run: u128) -> Vec<Vec<Event>> {
    let scheduled = |iteration, attempt| Event::StepScheduled {
        step: "charge".into(),
        iteration,
        attempt,
        not_before: (attempt > 1).then_some(at(4)),
        start_by: Some(at(900)),
    };
    let started = |step: &str, iteration, attempt| Event::StepStarted {
        step: step.into(),
        iteration,
        attempt,
        worker: "worker-1".to_owned(),
        lease_until: at(300),
        partial: true,
        close_by: Some(at(60)),
    };
    let retried = Event::StepRetried {
        step: "charge".into(),
        iteration: 1,
        attempt: 1,
        error: failure("CardError"),
    };
    let failed = Event::StepFailed {
        step: "charge".into(),
        iteration: 1,
        attempt: 2,
        error: failure("CardError"),
    };
    let caught = Event::FailureCaught {
        step: "charge".into(),
        iteration: 1,
        attempt: 2,
        output: Payload::of(json!({"error": "the card was refused", "kind": "CardError"})),
    };
    let Event::TransitionTaken { step, iteration, rule, when, to, cleared, taken_up, .. } =
        transition("charge", RuleKind::Diverge, "error", "apologise")
    else {
        unreachable!()
    };
    let skipped = vec!["pack".into(), "ship".into()];
    let astray =
        Event::TransitionTaken { step, iteration, rule, when, to, skipped, cleared, taken_up };
    let aside = |attempt| Event::StepScheduled {
        step: "apologise".into(),
        iteration: 1,
        attempt,
        not_before: None,
        start_by: None,
    };
    let adapted = Event::ArgumentsAdapted {
        step: "apologise".into(),
        attempt: 1,
        arguments: vec!["inputs".into()],
    };
    let asked = Event::ApprovalRequested {
        step: "apologise".into(),
        iteration: 1,
        attempt: 1,
        approval_type: "wording".to_owned(),
        data: Payload::of(json!({})),
        timeout_ms: None,
        due: None,
    };
    let answered = Event::ApprovalAnswered {
        step: "apologise".into(),
        by: "ana".to_owned(),
        request: "answer-1".to_owned(),
        response: Payload::of(json!({"text": "sorry"})),
    };
    let said = Event::StepCompleted {
        step: "apologise".into(),
        iteration: 1,
        attempt: 2,
        result: Payload::of(json!({"again": true})),
    };
    let unclear = Event::ConditionNotEvaluated {
        step: "apologise".into(),
        iteration: 1,
        when: "score > 3".to_owned(),
        reason: "`score` is not a field of the output".to_owned(),
    };
    let Event::TransitionTaken { step, iteration, rule, when, to, skipped, taken_up, .. } =
        transition("apologise", RuleKind::Branch, "again", "charge")
    else {
        unreachable!()
    };
    let cleared = vec!["charge".into(), "pack".into(), "ship".into(), "apologise".into()];
    let back =
        Event::TransitionTaken { step, iteration, rule, when, to, skipped, cleared, taken_up };
    let done = |step: &str, iteration| Event::StepCompleted {
        step: step.into(),
        iteration,
        attempt: 1,
        result: Payload::of(json!({"ok": 1})),
    };
    let left_out = Event::StepsSkipped { steps: vec!["apologise".into()] };
    let end = Event::TransitionTaken {
        step: "charge".into(),
        iteration: 2,
        rule: RuleKind::Branch,
        when: "ok == 1".to_owned(),
        to: "END".into(),
        skipped: vec![],
        cleared: vec![],
        taken_up: vec![],
    };
    vec![
        vec![
            start(run, Payload::of(json!({"order": 17}))),
            scheduled(1, 1),
            started("charge", 1, 1),
        ],
        vec![retried, scheduled(1, 2), started("charge", 1, 2)],
        vec![failed, caught, astray, aside(1), started("apologise", 1, 1)],
        vec![adapted, aside(1), started("apologise", 1, 1)],
        vec![asked],
        vec![answered, aside(2), started("apologise", 1, 2)],
        vec![said, unclear, back, scheduled(2, 1), started("charge", 2, 1)],
        vec![done("charge", 2), end, left_out, Event::ExecutionCompleted],
    ]
}

/// A run that resumes another.
fn kept() -> Vec<Vec<Event>> {
    let kept = |step: &str, error| Event::ResultKept {
        step: step.into(),
        iteration: 2,
        attempt: 1,
        started: Timestamp::from_millis(1_763_999_000_000),
        ended: Timestamp::from_millis(1_763_999_001_500),
        result: Payload::of(json!({"ok": step})),
        error,
    };
    let way = Event::WayKept {
        skipped: [("pack".into(), Some("charge".into())), ("apologise".into(), None)].into(),
        chosen: [("ship".into(), "charge".into())].into(),
        iterations: [("charge".into(), 2), ("ship".into(), 2)].into(),
    };
    let step = |event: fn(StepName) -> Event| event("ship".into());
    vec![
        vec![
            resumed(8, Payload::of(json!({"order": 17}))),
            kept("charge", None),
            kept("check", Some(failure("ValueError"))),
            way,
            step(|step| Event::StepScheduled {
                step,
                iteration: 2,
                attempt: 1,
                not_before: None,
                start_by: None,
            }),
        ],
        vec![step(|step| Event::StepStarted {
            step,
            iteration: 2,
            attempt: 1,
            worker: "worker-1".to_owned(),
            lease_until: at(300),
            partial: false,
            close_by: None,
        })],
        vec![
            step(|step| Event::StepCompleted {
                step,
                iteration: 2,
                attempt: 1,
                result: Payload::of(json!({"ok": true})),
            }),
            Event::ExecutionCompleted,
        ],
    ]
}

/// Whether a stored commit carries a state that this version reads.
fn has_readable_state(bytes: &[u8]) -> bool {
    let document: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    document["snap"]["fold_v"] == FOLD_VERSION
}

/// The commits of a log; the state stands in every second one.
fn written(run: u128, events: &[Vec<Event>]) -> Vec<Encoded> {
    let mut state: Option<State> = None;
    let mut commits: Vec<Encoded> = vec![];
    for (seq, events) in (0..).zip(events) {
        let time = at(seq);
        let folded = fold(state, CommitFacts { seq, time }, events).expect("it follows");
        let before = commits.last();
        let new = NewCommit {
            run: RunId::from_random(run),
            seq,
            prev: before.map(|before| before.sum),
            time,
            by: "lazarus/0.1.0",
            requests: if seq == 0 { &["start-1".to_owned()] } else { &[] },
            events,
            snapshots: before.map_or(Snapshots::NONE, |before| before.snapshots),
            snapshot: (seq % 2 == 1).then_some(&folded),
        };
        commits.push(new.encode(run << 64 | u128::from(seq)));
        state = Some(folded);
    }
    commits
}

/// The stored commits of one log, oldest first.
fn stored(folder: &str) -> Vec<Vec<u8>> {
    let path = |seq: usize| self::folder().join(folder).join(format!("{seq}.json"));
    (0..).map_while(|seq| fs::read(path(seq)).ok()).collect()
}

/// The commits of one log, checked as a reader checks them.
fn decoded(run: u128, stored: &[Vec<u8>]) -> Result<Vec<Commit>, Error> {
    let read = |(seq, bytes): (u64, &Vec<u8>)| {
        Commit::decode(&Key::of_commit(&handle(run).at(seq)), bytes)
    };
    (0..).zip(stored).map(read).collect()
}

#[test]
#[ignore = "writes the files that are missing; run it after adding a log or an event kind"]
fn write_missing_files() {
    for (run, (name, events)) in (1..).zip(logs()) {
        let folder = folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        for commit in written(run, &events) {
            let path = folder.join(format!("{}.json", commit.seq));
            if !path.exists() {
                fs::write(path, &commit.bytes).unwrap();
            }
        }
    }
}

#[test]
fn golden_files_mean_what_they_meant() {
    for (run, (name, events)) in (1..).zip(logs()) {
        let commits = decoded(run, &stored(name)).unwrap();
        let found: Vec<Vec<Event>> = commits.iter().map(|commit| commit.events.clone()).collect();
        assert_eq!(found, events, "{name}");
    }
}

#[test]
fn golden_files_chain_and_fold_to_their_snapshots() {
    for (run, (name, _)) in (1..).zip(logs()) {
        let commits = decoded(run, &stored(name)).unwrap();
        let mut state = None;
        for (at, commit) in commits.iter().enumerate() {
            if at > 0 {
                commit.check_follows(&commits[at - 1].sum).unwrap();
            }
            let facts = CommitFacts { seq: commit.seq, time: commit.time };
            let folded = fold(state, facts, &commit.events).expect("it follows");
            // A state of an older fold is not read; the events are.
            let is_readable = has_readable_state(&stored(name)[at]);
            assert_eq!(commit.snapshot.is_some(), is_readable, "{name} {at}");
            assert_eq!(commit.snapshot.as_ref().unwrap_or(&folded), &folded, "{name} {at}");
            state = Some(folded);
        }
        assert!(state.is_some_and(|state| state.is_closed()), "{name}");
    }
}

#[test]
fn golden_files_are_written_again_to_the_same_bytes() {
    for (run, (name, _)) in (1..).zip(logs()) {
        let stored = stored(name);
        for (commit, bytes) in decoded(run, &stored).unwrap().iter().zip(&stored) {
            let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            if !document["snap"].is_null() && !has_readable_state(bytes) {
                continue;
            }
            let again = commit.to_new().encode(commit.cid);
            assert_eq!(again.bytes, bytes, "{name} {}", commit.seq);
        }
    }
}

#[test]
fn every_event_kind_has_a_golden_file() {
    let mut found = BTreeSet::new();
    for (run, (name, _)) in (1..).zip(logs()) {
        let commits = decoded(run, &stored(name)).unwrap();
        found.extend(commits.iter().flat_map(|commit| commit.events.iter().map(Event::kind)));
    }
    let known = known_kinds();
    let found: BTreeSet<String> = found.into_iter().map(str::to_owned).collect();
    assert_eq!(found, known, "a kind without a golden file, or a file of an unknown kind");
}

/// The kinds that this version reads, as it names them itself when it meets one that it does not.
fn known_kinds() -> BTreeSet<String> {
    let unknown =
        serde_json::from_value::<Event>(json!({"k": "?"})).expect_err("no such kind").to_string();
    let (_, kinds) = unknown.split_once("expected one of ").expect("serde lists the kinds");
    kinds.split(", ").map(|kind| kind.trim_matches('`').to_owned()).collect()
}
