//! Whatever graph somebody draws, with rules that lead anywhere and steps that end in any way: every
//! run ends, or waits for a thing that can be named; it never has work that nobody may do.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use crate::workflow::{
    Blueprint, Command, Definition, END, Outcome, Payload, Phase, RetryPolicy, Rule, RuleKind,
    Status, Step, StepName, Task, WakeKind,
    given::{Run, begun, cancel, failure},
};

const STEPS_MAX: usize = 30;
const ASIDES: [&str; 3] = ["aside0", "aside1", "aside2"];
/// What steps give, and what rules ask for.
const WORDS: [&str; 3] = ["x", "y", "z"];

/// A step of a drawn graph: what it depends on (bits, among the steps before it), and its fields.
#[derive(Clone, Debug)]
struct Drawn {
    depends_on: u32,
    retries: Option<u32>,
    closes: bool,
    starts: bool,
}

/// A rule: from which step, of which kind, and its arms: what it asks for, where it leads.
type DrawnRule = (usize, bool, Vec<(usize, usize)>);

fn drawn() -> impl Strategy<Value = Drawn> {
    let retries = proptest::option::weighted(0.2, 1_u32..4);
    (any::<u32>(), any::<u32>(), any::<u32>(), retries, 0..10_u8, 0..10_u8).prop_map(
        |(one, two, three, retries, closes, starts)| Drawn {
            // Few edges, or every graph is a line.
            depends_on: one & two & three,
            retries,
            closes: closes == 0,
            starts: starts == 0,
        },
    )
}

fn definitions() -> impl Strategy<Value = Definition> {
    let rules =
        vec((0..STEPS_MAX + 3, any::<bool>(), vec((0..7_usize, 0..STEPS_MAX + 4), 1..4)), 0..8);
    (vec(drawn(), 1..=STEPS_MAX), rules, 1_u32..6).prop_map(|(steps, rules, most)| {
        let count = steps.len();
        let steps = steps.into_iter().enumerate().map(|(at, drawn)| step(at, &drawn)).collect();
        let mut rules: Vec<Rule> = rules.iter().map(|drawn| rule(drawn, count)).collect();
        // A rule of an aside that no other leads to is refused; that is tested elsewhere.
        // Taking one out may leave another without one.
        for _ in ASIDES {
            let targets: Vec<StepName> =
                rules.iter().flat_map(|rule| &rule.arms).map(|arm| arm.to.clone()).collect();
            rules.retain(|rule| !ASIDES.contains(&&*rule.from) || targets.contains(&rule.from));
        }
        Definition { name: "drawn".to_owned(), steps, rules, iterations_max: Some(most) }
    })
}

fn name(at: usize) -> StepName {
    format!("s{at:02}").as_str().into()
}

fn step(at: usize, drawn: &Drawn) -> Step {
    let retry = drawn
        .retries
        .map(|most| RetryPolicy { attempts_max: Some(most), ..RetryPolicy::default() });
    Step {
        name: name(at),
        depends_on: (0..at).filter(|on| drawn.depends_on >> on & 1 == 1).map(name).collect(),
        retry,
        start_to_close_ms: drawn.closes.then_some(50_000),
        schedule_to_start_ms: drawn.starts.then_some(200_000),
        ..Step::default()
    }
}

fn rule((from, is_diverge, arms): &DrawnRule, steps: usize) -> Rule {
    let place = |at: usize| match at {
        at if at >= STEPS_MAX + 3 => END.into(),
        at if at >= STEPS_MAX => ASIDES[at - STEPS_MAX].into(),
        at => name(at % steps),
    };
    let (kind, words) = if *is_diverge {
        (RuleKind::Diverge, ["error", "ok", "_", "x", "y", "{:ok, v}", "x"])
    } else {
        (
            RuleKind::Branch,
            ["result == 'x'", "result == 'y'", "else", "n > 3", "<lambda>==true", "z", "else"],
        )
    };
    let arms = arms.iter().map(|&(word, to)| (words[word].to_owned(), place(to)));
    match kind {
        RuleKind::Diverge => Rule::diverge(place(*from), arms),
        RuleKind::Branch => Rule::branch(place(*from), arms),
    }
}

/// How a step ends when its turn comes.
#[derive(Clone, Copy, Debug)]
enum End {
    Gives(&'static str),
    Fails,
    Sleeps,
    Asks { answered: bool },
    Vanishes,
    Lacks,
}

fn ends() -> impl Strategy<Value = Vec<(usize, End)>> {
    let end = prop_oneof![
        8 => select(WORDS.to_vec()).prop_map(End::Gives),
        3 => Just(End::Fails),
        1 => Just(End::Sleeps),
        1 => any::<bool>().prop_map(|answered| End::Asks { answered }),
        1 => Just(End::Vanishes),
        1 => Just(End::Lacks),
    ];
    vec((any::<prop::sample::Index>().prop_map(|at| at.index(64)), end), 0..200)
}

/// Moves one open step on, as `end` says, or as its phase allows; `pick` says which.
fn advance(run: &mut Run, now: &mut u64, pick: usize, end: End) {
    let open: Vec<StepName> = run.state.open.keys().cloned().collect();
    let step = &open[pick % open.len()];
    let it = run.state.open[step].clone();
    let task = Task { step: step.clone(), iteration: it.iteration, attempt: it.attempt };
    let submit = |outcome| {
        let (task, worker) = (task.clone(), "w1".to_owned());
        Command::SubmitResult { task, worker, outcome }
    };
    match &it.phase {
        Phase::Ready { not_before, .. } => {
            let wait = not_before.map_or(0, |due| due.since(run.now()).as_millis());
            *now += u64::try_from(wait).expect("short");
            let (task, worker) = (task.clone(), "helper".to_owned());
            let lease = Command::LeaseStep { task, worker, partial: false };
            run.at(*now).batch(&[Command::Wake, lease]);
        }
        Phase::Leased { .. } => {
            let command = match end {
                End::Gives(word) => submit(Outcome::Succeeded(Payload::of(json!({"ok": word})))),
                End::Fails => submit(Outcome::Failed(failure("boom"))),
                End::Sleeps => {
                    submit(Outcome::Sleep { duration_ms: 1_000, data: Payload::of(json!("y")) })
                }
                End::Asks { .. } => submit(Outcome::Approval {
                    approval_type: "manual".to_owned(),
                    data: Payload::of(json!({})),
                    timeout_ms: Some(30_000),
                }),
                End::Lacks => submit(Outcome::NotFound),
                End::Vanishes => {
                    *now += 400_000;
                    Command::Wake
                }
            };
            run.at(*now).batch(&[command]);
        }
        Phase::Sleeping { .. } => {
            *now += 1_000;
            run.at(*now).batch(&[Command::Wake]);
        }
        Phase::Approval { .. } => {
            let request = format!("r{now}");
            *now += 1;
            let (by, step) = ("ana".to_owned(), Some(step.clone()));
            let command = if matches!(end, End::Asks { answered: false } | End::Fails) {
                Command::Reject { step, by, request, reason: String::new() }
            } else {
                let (response, again) = (Payload::of(json!("x")), matches!(end, End::Lacks));
                Command::Approve { step, by, request, response, again }
            };
            run.at(*now).batch(&[command]);
        }
    }
}

/// What holds after every commit.
fn check(run: &Run, blueprint: &Blueprint) {
    let state = &run.state;
    if state.is_closed() {
        return;
    }
    assert!(!state.open.is_empty(), "a run that goes on has something open");
    assert_eq!(state.is_active(), state.guard.is_some());
    for step in state.open.keys() {
        assert!(!state.done.contains_key(step), "`{step}` is open and done");
        assert!(!state.skipped.contains_key(step), "`{step}` is open and skipped");
        let (_, step) = blueprint.step(step).expect("a step of the blueprint");
        for before in &step.depends_on {
            let (place, _) = blueprint.step(&step.name).expect("a step");
            let is_over = state.done.contains_key(before) || state.skipped.contains_key(before);
            assert!(
                is_over || blueprint.is_aside(place),
                "`{}` began before `{before}`",
                step.name
            );
        }
    }
    for step in state.done.keys() {
        assert!(!state.skipped.contains_key(step), "`{step}` is done and skipped");
    }
    let timers = state.attention();
    if let (Some(_), false) = (state.next_due(run.now()), state.is_active()) {
        assert!(timers.iter().any(|entry| entry.kind == WakeKind::Timer));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_graph_ends_whatever_its_steps_do(
        definition in definitions(),
        ends in ends(),
    ) {
        let blueprint = Blueprint::new(definition).expect("a graph in order");
        let (mut run, _) = begun(blueprint.clone(), None);
        check(&run, &blueprint);
        let mut now = 0;
        for (pick, end) in ends {
            if run.state.is_closed() {
                break;
            }
            advance(&mut run, &mut now, pick, end);
            check(&run, &blueprint);
        }
        // From here on every worker answers; rules that always go back run into their bound.
        let mut moves = 0;
        while !run.state.is_closed() {
            advance(&mut run, &mut now, 0, End::Gives("z"));
            check(&run, &blueprint);
            moves += 1;
            prop_assert!(moves < 20_000, "no end: {:?}", run.state.open);
        }
        if run.state.status == Status::Completed && run.state.open.is_empty() {
            let over = run.state.done.len() + run.state.skipped.len();
            let has_ended = over == blueprint.steps().len();
            let ends_early = blueprint.definition().rules.iter().flat_map(|it| &it.arms).any(|it| &*it.to == END);
            prop_assert!(has_ended || ends_early);
        }
        prop_assert!(run.state.attention().is_empty());
    }

    #[test]
    fn a_resumed_run_stands_where_the_one_before_it_stood_and_ends(
        definition in definitions(),
        ends in ends(),
    ) {
        let blueprint = Blueprint::new(definition).expect("a graph in order");
        let (mut run, _) = begun(blueprint.clone(), None);
        let mut now = 0;
        for (pick, end) in ends {
            if run.state.is_closed() {
                break;
            }
            advance(&mut run, &mut now, pick, end);
        }
        if !run.state.is_closed() {
            run.batch(&[cancel("r")]);
        }
        if run.state.status != Status::Completed {
            let mut again = run.resumed();
            let failed = match &run.state.status {
                Status::Failed { step, .. } => Some(step),
                Status::Running
                | Status::Completed
                | Status::Cancelled { .. }
                | Status::TimedOut { .. } => None,
            };
            let stood: BTreeSet<&StepName> = run.state.open.keys().chain(failed).collect();
            prop_assert_eq!(stood, again.state.open.keys().collect::<BTreeSet<_>>());
            prop_assert_eq!(&run.state.skipped, &again.state.skipped);
            for (step, open) in &again.state.open {
                prop_assert_eq!(open.iteration, run.state.iteration(step));
            }
            for _ in 0..20_000 {
                check(&again, &blueprint);
                if again.state.is_closed() {
                    break;
                }
                advance(&mut again, &mut now, 0, End::Gives("z"));
            }
            prop_assert!(again.state.is_closed(), "no end: {:?}", again.state.open);
        }
    }
}
