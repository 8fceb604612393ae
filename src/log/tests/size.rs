//! What a run costs to store and to load, however long it gets.

use serde_json::json;

use super::support::{handle, start};
use crate::{
    log::{Encoded, Keeps, NewCommit, Snapshots, Sum},
    workflow::{CommitFacts, Event, Payload, Timestamp, fold},
};

/// The commits of a chain of `steps` steps, one worker, results of `bytes` bytes, by a writer that
/// remembers the run or does not.
fn chain(steps: u64, bytes: usize, keeps: Keeps) -> Vec<Encoded> {
    let mut commits: Vec<Encoded> = vec![];
    let mut state = None;
    for seq in 0..=steps {
        let facts = CommitFacts { seq, time: Timestamp::from_millis(1_764_000_000_000 + 50 * seq) };
        let events = [ended(seq, bytes), begun(seq + 1, facts.time)].concat();
        let folded = fold(state, facts, &events).expect("it follows");
        let last = commits.last();
        let snapshots = last.map_or(Snapshots::NONE, Snapshots::after);
        let new = NewCommit {
            run: handle().run,
            seq,
            prev: last.map(|last| last.sum),
            time: facts.time,
            by: "ip-10-0-0-17/0.1.0",
            requests: &[Sum::of(b"request").to_string()],
            events: &events,
            snapshots,
            snapshot: snapshots.is_due(seq, keeps).then_some(&folded),
        };
        commits.push(new.encode(seq.into()));
        state = Some(folded);
    }
    commits
}

fn ended(step: u64, bytes: usize) -> Vec<Event> {
    if step == 0 {
        return start(json!({}));
    }
    let result = Payload::of(json!({"ok": "x".repeat(bytes - 9)}));
    assert_eq!(result.bytes(), bytes as u64);
    let step = format!("step_number_{step}").as_str().into();
    vec![Event::StepCompleted { step, iteration: 1, attempt: 1, result }]
}

fn begun(step: u64, now: Timestamp) -> Vec<Event> {
    let step: crate::workflow::StepName = format!("step_number_{step}").as_str().into();
    let (iteration, attempt) = (1, 1);
    let (worker, lease_until) = ("worker-1".to_owned(), now.after_millis(300_000));
    vec![
        Event::StepScheduled {
            step: step.clone(),
            iteration,
            attempt,
            not_before: None,
            start_by: None,
        },
        Event::StepStarted {
            step,
            iteration,
            attempt,
            worker,
            lease_until,
            partial: false,
            close_by: None,
        },
    ]
}

#[test]
fn any_32_commits_of_a_long_run_take_at_most_4_kib_each() {
    let sizes: Vec<usize> =
        chain(1000, 100, Keeps::Nothing).iter().map(|commit| commit.bytes.len()).collect();
    let most = sizes.windows(32).map(|window| window.iter().sum::<usize>() / 32).max();
    assert!(most.is_some_and(|mean| mean <= 4096), "{most:?}");
}

#[test]
fn a_chain_of_ten_steps_with_results_of_1_kib_loads_with_one_get() {
    for keeps in [Keeps::State, Keeps::Nothing] {
        for commit in chain(10, 1024, keeps).iter().skip(1) {
            assert_eq!(commit.snapshots.seq, commit.seq, "{:?}", commit.snapshots);
        }
    }
}

#[test]
fn a_writer_that_owns_its_store_puts_the_state_of_a_short_run_only_where_it_ends() {
    let commits = chain(10, 100, Keeps::StateAndStore);
    assert!(commits.iter().all(|commit| commit.snapshots.seq == 0));
    let with_state = chain(10, 100, Keeps::State);
    let bytes = |commits: &[Encoded]| commits.iter().map(|it| it.bytes.len()).sum::<usize>();
    let (without, with) = (bytes(&commits), bytes(&with_state));
    assert!(without * 2 < with, "{without} of {with}");
}

#[test]
fn no_load_reads_more_than_32_commits_or_128_of_a_long_run_that_somebody_remembered() {
    let behind = |steps, keeps| {
        let commits = chain(steps, 1024, keeps);
        commits.iter().map(|commit| commit.seq - commit.snapshots.seq).max()
    };
    assert_eq!(behind(1000, Keeps::Nothing), Some(31));
    assert_eq!(behind(6000, Keeps::State), Some(127));
}

#[test]
fn the_last_commits_of_a_run_of_six_thousand_steps_take_a_few_kib_each_where_it_is_remembered() {
    let sizes: Vec<usize> =
        chain(6000, 100, Keeps::State).iter().map(|it| it.bytes.len()).collect();
    let last = &sizes[sizes.len() - 1024..];
    let mean = last.iter().sum::<usize>() / last.len();
    assert!(mean <= 5 * 1024, "{mean}");
}
