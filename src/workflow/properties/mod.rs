//! Whatever commands arrive in whatever order, what every run promises holds.
//!
//! [`Run`] itself checks, for each commit, that folding its events and reading its snapshot back give
//! the state that the draft came to.

mod graphs;

use proptest::{collection::vec, prelude::*};

use super::{
    Attention, Blueprint, Command, Definition, Phase, State, Step, WakeKind,
    given::{
        GUARD_MS, Run, approve, ask, begun, cancel, extend, fail, lease, mismatch, not_found,
        reject, sleep, succeed, undelivered,
    },
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A graph of up to five steps, of which each may depend on earlier ones.
fn blueprints() -> impl Strategy<Value = Blueprint> {
    vec(0_u8..16, 1..=NAMES.len()).prop_map(|masks| {
        let steps = masks.iter().enumerate().map(|(at, mask)| Step {
            name: NAMES[at].into(),
            depends_on: (0..at)
                .filter(|on| mask >> on & 1 == 1)
                .map(|on| NAMES[on].into())
                .collect(),
            ..Step::default()
        });
        let definition = Definition {
            name: "orders".to_owned(),
            steps: steps.collect(),
            ..Definition::default()
        };
        Blueprint::new(definition).expect("a graph in order")
    })
}

/// A command, sensible or not.
fn commands() -> impl Strategy<Value = Command> {
    (0_usize..NAMES.len(), 0_u32..4, 0_usize..3, 0_u32..40).prop_map(|(at, attempt, who, kind)| {
        let (step, worker) = (NAMES[at], ["w1", "w2", "w3"][who]);
        match kind {
            0..=9 => lease(step, attempt, worker),
            10..=16 => succeed(step, attempt),
            17 => fail(step, attempt),
            18..=19 => sleep(step, attempt, 40_000 * u64::from(attempt)),
            20..=21 => ask(step, attempt, (who > 0).then_some(90_000)),
            22..=23 => mismatch(step, attempt, who == 0),
            24..=26 => not_found(step, attempt, worker),
            27..=28 => extend(step, attempt, worker),
            29 => approve((who > 0).then_some(step), worker),
            30 => reject(Some(step), worker, ""),
            31 => cancel(worker),
            32..=34 => undelivered(step, attempt, worker),
            _ => Command::Wake,
        }
    })
}

/// How much later, and what arrives together then.
fn moments() -> impl Strategy<Value = Vec<(u64, Vec<Command>)>> {
    vec((prop_oneof![0_u64..2_000, 0_u64..400_000], vec(commands(), 1..4)), 0..60)
}

/// What holds after every commit.
fn check(run: &Run, before: &State) {
    let state = &run.state;
    for (step, done) in &before.done {
        assert_eq!(state.done.get(step), Some(done), "`{step}` completed once and for all");
        assert!(!state.open.contains_key(step), "`{step}` is over and open");
    }
    if before.is_closed() {
        assert_eq!(state, before, "closed is final");
    }
    assert!(state.is_closed() || !state.open.is_empty(), "a run that goes on has something open");
    assert_eq!(state.is_active(), state.guard.is_some(), "active runs have a guard, others none");
    let kept: u64 = state.kept.iter().map(|(step, _)| state.done[step].6).sum();
    assert_eq!(state.kept_bytes, kept);
    let entries = state.attention();
    let guard = entries.iter().any(|entry| entry.kind == WakeKind::Guard);
    if let (Some(due), false) = (state.next_due(run.now()), guard) {
        let has_entry = |entry: &Attention| entry.kind == WakeKind::Timer && entry.due <= due;
        assert!(entries.iter().any(has_entry), "nothing wakes the run at {due}");
    }
}

/// What a worker, a person or time would do next to move the run on.
fn help(run: &mut Run) -> Option<Command> {
    let (step, open) = run.state.open.iter().next()?;
    let attempt = open.attempt;
    Some(match &open.phase {
        Phase::Ready { .. } => lease(step, attempt, "helper"),
        Phase::Leased { .. } => succeed(step, attempt),
        Phase::Sleeping { .. } => Command::Wake,
        Phase::Approval { due: Some(due), .. } if *due <= run.now() => Command::Wake,
        Phase::Approval { .. } => approve(Some(step), &format!("help {step}")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_promise_holds_and_every_run_ends_when_workers_answer(
        blueprint in blueprints(),
        timeout_ms in proptest::option::of(1_000_u64..5_000_000),
        moments in moments(),
    ) {
        let (mut run, _) = begun(blueprint, timeout_ms);
        let mut now = 0;
        for (later, commands) in moments {
            now += later;
            run.at(now);
            let before = run.state.clone();
            let again = run.clone().batch(&commands);
            let first = run.batch(&commands);
            prop_assert_eq!(&first, &again, "the same state and commands, another decision");
            check(&run, &before);
        }
        for _ in 0..100 {
            now += 100_000;
            let before = run.state.clone();
            let Some(command) = help(run.at(now)).filter(|_| !run.state.is_closed()) else { break };
            run.batch(&[command]);
            check(&run, &before);
        }
        prop_assert!(run.state.is_closed(), "stuck: {:?}", run.state.open);
        prop_assert!(run.state.attention().is_empty());
    }

    #[test]
    fn what_is_repeated_changes_nothing(
        blueprint in blueprints(),
        moments in moments(),
    ) {
        let (mut run, _) = begun(blueprint, None);
        let mut now = 0;
        for (later, commands) in moments {
            now += later;
            run.at(now);
            for command in commands {
                let (answers, _) = run.batch(std::slice::from_ref(&command));
                let (repeated, events) = run.batch(&[command]);
                if answers[0].is_ok() {
                    prop_assert_eq!(events, [], "{:?}", repeated);
                }
            }
        }
    }

    #[test]
    fn a_guard_moves_past_no_due_time_and_at_most_as_far_as_the_run_stood_still(
        blueprint in blueprints(),
        moments in moments(),
        still in 0_u64..20_000_000,
    ) {
        let (mut run, _) = begun(blueprint, Some(30_000_000));
        let mut now = 0;
        for (later, commands) in moments {
            now += later;
            run.at(now).batch(&commands);
        }
        run.at(now + still).batch(&[Command::Wake]);
        let at = run.now();
        let since_ms = u64::try_from(at.since(run.state.moved).as_millis()).unwrap();
        let longest = (2 * since_ms).clamp(GUARD_MS, 3_600_000);
        for entry in run.state.attention_at(at, std::time::Duration::from_millis(GUARD_MS)) {
            if entry.kind == WakeKind::Guard {
                prop_assert!(entry.due > at && entry.due <= at.after_millis(longest));
                let stood = run.state.guard.is_some_and(|guard| guard.due == entry.due);
                prop_assert!(stood || run.state.next_due(at).is_none_or(|due| entry.due <= due));
            }
        }
    }
}
