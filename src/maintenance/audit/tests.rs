//! The pure checks: given this state and these entries, exactly these findings.

use std::time::Duration;

use super::{
    chain::Chain,
    finding::Finding,
    index::{Listed, OfRun, Offered},
    judge::{Setting, judge, judge_unnamed},
    shelf,
    verdict::Mend,
};
use crate::{
    log::{Key, NewCommit, Snapshots},
    maintenance::Standing,
    wake::Entry,
    workflow::{
        Attention, CommitFacts, Event, Handle, Namespace, Timestamp, WakeKind, fold,
        given::{self, GUARD_MS, Run, after, run, run_for, sleep, started, succeed, task},
    },
};

const HOUR_MS: u64 = 3_600_000;

fn entry(run: &Run, kind: WakeKind, due_ms: u64, seq: u64) -> Entry {
    let (due, put_at) = (after(due_ms), after(0));
    Entry { shard: 0, kind, due, handle: run.state.handle().at(seq), tries: 0, put_at }
}

fn guard(run: &Run, due_ms: u64, epoch: u64) -> Entry {
    entry(run, WakeKind::Guard, due_ms, epoch)
}

fn timer(run: &Run, due_ms: u64, seq: u64) -> Entry {
    entry(run, WakeKind::Timer, due_ms, seq)
}

/// The run's indexes: these entries, and lists that know where it stands.
fn of(run: &Run, wakes: Vec<Entry>) -> OfRun {
    let listed = Listed {
        handle: run.state.handle(),
        standing: Standing::of(&run.state),
        deleted: None,
        path: "feed/2025112416/x.0".into(),
    };
    OfRun { wakes, listed: Some(listed), ..OfRun::default() }
}

fn judged(run: &Run, of: &OfRun, ms: u64) -> (Vec<(bool, String)>, Mend) {
    let guard = Duration::from_millis(GUARD_MS);
    let setting = Setting { now: after(ms), shards: 1, guard, steps: Some(2) };
    let (findings, mend) = judge(&run.state, of, setting);
    (told(findings), mend)
}

fn told(findings: Vec<Finding>) -> Vec<(bool, String)> {
    findings.into_iter().map(|it| (it.is_fault(), it.what)).collect()
}

fn is_clean(run: &Run, wakes: Vec<Entry>, ms: u64) {
    assert_eq!(judged(run, &of(run, wakes), ms).0, [], "at {ms} ms");
}

fn sleeper() -> Run {
    let mut run = run(&[("a", &[])]);
    run.leased(&["a"]).at(10).given(sleep("a", 1, 5 * HOUR_MS));
    run
}

#[test]
fn an_active_run_is_covered_by_any_guard_of_its_epoch_as_far_as_the_ladder_goes() {
    let run = run(&[("a", &[])]);
    is_clean(&run, vec![guard(&run, GUARD_MS, 0)], 0);
    is_clean(&run, vec![guard(&run, 4 * HOUR_MS, 0)], 3 * HOUR_MS);
    let (findings, mend) = judged(&run, &of(&run, vec![guard(&run, 9 * HOUR_MS, 0)]), 0);
    assert!(matches!(&findings[..], [(true, what)] if what.contains("no guard of its epoch")));
    let due = Attention { kind: WakeKind::Guard, due: after(0), seq: 0 };
    assert_eq!(mend.put, [due]);
}

#[test]
fn a_guard_in_a_part_of_the_index_where_nobody_looks_covers_nothing() {
    let run = run(&[("a", &[])]);
    let lost = Entry { shard: 7, ..guard(&run, GUARD_MS, 0) };
    let (findings, mend) = judged(&run, &of(&run, vec![lost.clone()]), 0);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!((mend.put.len(), mend.remove), (1, vec![lost]));
}

#[test]
fn a_sleeping_run_needs_its_timer_or_an_entry_that_is_due_before() {
    let run = sleeper();
    let due = 10 + 5 * HOUR_MS;
    is_clean(&run, vec![timer(&run, due, 2)], 60);
    let again = Entry { tries: 3, ..timer(&run, due + HOUR_MS, 2) };
    is_clean(&run, vec![again], due);
    let (findings, mend) = judged(&run, &of(&run, vec![]), 60);
    assert!(matches!(&findings[..], [(true, what)] if what.contains("no entry would wake it")));
    let needed = Attention { kind: WakeKind::Timer, due: after(due), seq: 2 };
    assert_eq!(mend.put, [needed]);
}

#[test]
fn the_guard_of_an_epoch_that_is_over_covers_a_timer_that_was_never_put() {
    let run = sleeper();
    let (findings, mend) = judged(&run, &of(&run, vec![guard(&run, GUARD_MS, 0)]), 60);
    assert!(matches!(&findings[..], [(false, _)]), "a leftover, no missing timer: {findings:?}");
    assert_eq!(mend.first.len(), 1, "the timer is put before the guard goes");
    assert!(mend.record.is_some(), "and the record of the run that parked");
}

#[test]
fn an_entry_that_nothing_needs_is_a_fault_once_it_is_two_hours_due() {
    let mut run = run(&[("a", &[])]);
    run.leased(&["a"]).given(succeed("a", 1));
    let left = vec![guard(&run, GUARD_MS, 0)];
    for (ms, is_fault) in [(0, false), (2 * HOUR_MS + GUARD_MS, false), (3 * HOUR_MS, true)] {
        let (findings, mend) = judged(&run, &of(&run, left.clone()), ms);
        assert_eq!(findings.iter().map(|it| it.0).collect::<Vec<_>>(), [is_fault], "at {ms}");
        assert_eq!((&mend.remove, mend.first.len()), (&left, 0));
        assert!(mend.record.is_some());
    }
}

#[test]
fn a_guard_whose_commit_may_still_come_is_left_alone_and_a_timer_is_proof_of_a_loss() {
    let run = sleeper();
    let due = 10 + 5 * HOUR_MS;
    let (seq, needed) = (run.state.seq + 1, timer(&run, due, 2));
    is_clean(&run, vec![needed.clone(), guard(&run, GUARD_MS, seq)], 60);
    let wakes = vec![needed.clone(), guard(&run, GUARD_MS, seq)];
    let (findings, mend) = judged(&run, &of(&run, wakes), HOUR_MS);
    assert!(matches!(&findings[..], [(false, _)]), "{findings:?}");
    assert_eq!(mend.remove, [], "it is settled by a waker, never deleted before");
    let (findings, mend) = judged(&run, &of(&run, vec![needed, timer(&run, due, seq)]), 60);
    assert!(matches!(&findings[..], [(true, what)] if what.contains("the log ends at 2")));
    assert_eq!(mend.remove, []);
}

#[test]
fn a_run_that_was_put_aside_needs_no_entries_and_is_not_brought_back() {
    let run = sleeper();
    let handle = run.state.handle();
    let aside = OfRun { dead: Some(handle), ..of(&run, vec![guard(&run, GUARD_MS, 0)]) };
    let (findings, mend) = judged(&run, &aside, 60);
    assert!(findings.iter().any(|(is_fault, what)| *is_fault && what.contains("put aside")));
    assert!(mend.put.is_empty() && mend.remove.is_empty());
}

#[test]
fn an_offer_is_over_with_its_task() {
    let mut run = run(&[("a", &[])]);
    let offer = |run: &Run, attempt, seq| Offered {
        path: "queue/0/x".into(),
        handle: run.state.handle().at(seq),
        task: task("a", attempt),
    };
    let offered = |run: &Run, offer| {
        let offers = vec![offer];
        judged(run, &OfRun { offers, ..of(run, vec![guard(run, GUARD_MS, 0)]) }, 0)
    };
    assert_eq!(offered(&run, offer(&run, 1, 0)).0, []);
    let (findings, mend) = offered(&run, offer(&run, 2, 0));
    assert_eq!((findings[0].0, mend.retract.len()), (false, 1));
    let (findings, mend) = offered(&run, offer(&run, 1, 9));
    assert_eq!(
        (findings[0].0, mend.retract.len()),
        (true, 0),
        "written after a commit that is lost"
    );
    run.leased(&["a"]);
    assert_eq!(offered(&run, offer(&run, 1, 0)).0, [], "its claimer deletes it");
}

#[test]
fn lists_may_be_behind_for_minutes_but_never_ahead() {
    let run = run(&[("a", &[])]);
    let unlisted = OfRun { listed: None, ..of(&run, vec![guard(&run, GUARD_MS, 0)]) };
    assert_eq!(judged(&run, &unlisted, 60_000).0, []);
    let (findings, mend) = judged(&run, &unlisted, 300_001);
    assert!(findings[0].0 && mend.record.is_some());
    let mut ahead = of(&run, vec![guard(&run, GUARD_MS, 0)]);
    ahead.listed.as_mut().expect("it is listed").handle.seq = 3;
    let (findings, mend) = judged(&run, &ahead, 0);
    assert!(findings[0].0 && mend.record.is_none(), "commits are lost: {findings:?}");
}

#[test]
fn lists_that_contradict_an_older_commit_are_written_again() {
    let run = sleeper();
    let mut other = of(&run, vec![timer(&run, 10 + 5 * HOUR_MS, 2)]);
    let listed = other.listed.as_mut().expect("it is listed");
    (listed.standing, listed.handle.seq) = (Standing::Completed, 1);
    let (findings, mend) = judged(&run, &other, 60);
    assert_eq!(findings.iter().map(|it| it.0).collect::<Vec<_>>(), [false]);
    assert_eq!(mend.record.expect("a record").status, Standing::Sleeping);
}

#[test]
fn what_no_start_names_is_young_for_half_an_hour() {
    let run = run(&[("a", &[])]);
    let lone = OfRun { wakes: vec![guard(&run, GUARD_MS, 0)], ..OfRun::default() };
    assert_eq!(told(judge_unnamed(&lone, after(30 * 60_000)).0), []);
    let (findings, mend) = judge_unnamed(&lone, after(30 * 60_000 + 1));
    assert_eq!((findings[0].is_fault(), mend.remove.len()), (false, 1));
    let (findings, _) = judge_unnamed(&of(&run, vec![]), after(0));
    assert!(findings[0].is_fault(), "lists know what was committed");
}

/// The start and one commit after it, as stored; `events` are the second one's.
fn log(events: &[Event], time: Timestamp) -> (Handle, Vec<(Key, Vec<u8>)>) {
    let (run, rest) = started(&[("a", &[])], None);
    let handle = run.state.handle().at(0);
    let start = given::start_of(&run.blueprint, None);
    let first: Vec<Event> =
        [Event::ExecutionStarted(Box::new(start))].into_iter().chain(rest).collect();
    let facts = CommitFacts { seq: 0, time: after(0) };
    let state = fold(None, facts, &first).expect("it follows");
    let new = |seq, prev, time, events| NewCommit {
        run: handle.run,
        seq,
        prev,
        time,
        by: "x/1",
        requests: &[],
        events,
        snapshots: Snapshots::NONE,
        snapshot: None,
    };
    let zero = new(0, None, after(0), &first).encode(1);
    let one = new(1, Some(zero.sum), time, events).encode(2);
    assert_eq!(state.run, handle.run);
    let keys = [Key::of_start(&handle), Key::Run { run: handle.run, seq: 1 }];
    let bodies = [zero.bytes.to_vec(), one.bytes.to_vec()];
    (handle, keys.into_iter().zip(bodies).collect())
}

fn checked(commits: &[(Key, Vec<u8>)]) -> Chain {
    let mut chain = Chain::default();
    for (seq, (key, bytes)) in commits.iter().enumerate() {
        chain.add(key, seq as u64, bytes).expect("a finding, never an error");
    }
    chain
}

#[test]
fn events_that_do_not_follow_are_a_finding_and_no_panic() {
    let (_, commits) = log(&[Event::SleepEnded { step: "a".into() }], after(1));
    let chain = checked(&commits);
    let told = told(chain.findings);
    assert!(matches!(&told[..], [(true, what)] if what.contains("do not follow")), "{told:?}");
    assert!(chain.state.is_none());
}

#[test]
fn time_never_goes_back() {
    let (_, mut commits) = log(&[], after(1));
    assert_eq!(told(checked(&commits).findings), []);
    commits = log(&[], Timestamp::from_millis(after(0).as_millis() - 1)).1;
    let told = told(checked(&commits).findings);
    assert!(matches!(&told[..], [(true, what)] if what.contains("before that of commit 0")));
}

#[test]
fn versions_of_a_blueprint_have_no_gaps() {
    let key = |version| Key::Blueprint {
        namespace: Namespace::default(),
        name: "orders".to_owned(),
        version,
    };
    assert_eq!(shelf::gaps(&[key(2), key(1), key(3)]), []);
    let gaps = told(shelf::gaps(&[key(5), key(2)]));
    let whats: Vec<&str> = gaps.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(
        whats,
        ["versions 1 to 1 of `orders` are missing", "versions 3 to 4 of `orders` are missing"]
    );
}

#[test]
fn the_deadline_of_a_parked_run_is_needed_too() {
    let mut run = run_for(&[("a", &[])], HOUR_MS);
    run.leased(&["a"]).given(given::ask("a", 1, None));
    let (findings, mend) = judged(&run, &of(&run, vec![]), 60);
    assert_eq!((findings.len(), mend.put.len()), (1, 1), "{findings:?}");
    is_clean(&run, vec![timer(&run, HOUR_MS, 2)], 60);
}
