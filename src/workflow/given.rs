//! Runs for the tests of this folder: given these events, when this command, exactly these events.
//!
//! Each commit that a test makes is also folded anew from its events and read back from its
//! snapshot; both must equal what the draft came to.

use std::collections::HashMap;

use serde_json::json;

use super::{
    Answer, At, Blueprint, BlueprintRef, Command, CommitFacts, Definition, Done, Draft, Event,
    ExecutionId, Failure, Guard, Json, LossReason, Mismatch, Namespace, Outcome, Payload, Policy,
    Rejection, Rule, RunId, Sealed, Setting, Start, State, Status, Step, StepName, Task, Timestamp,
    Values, blueprint::tests::blueprint, decide, fold, reads, start,
};

/// When the runs of tests start, in milliseconds.
const STARTED_MS: u64 = 1_764_000_000_000;
/// The default lease.
pub(crate) const LEASE_MS: u64 = 300_000;
/// The guard interval.
pub(crate) const GUARD_MS: u64 = 60_000;
/// Makes the jitter of the second event of a commit zero.
pub(crate) const NO_JITTER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A run under test, and the clock that its commands are decided by.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) blueprint: Blueprint,
    pub(crate) state: State,
    /// The guard that the last commit put first.
    pub(crate) guard_first: Option<Guard>,
    pub(crate) random: u64,
    /// The payloads of all events so far, as the log has them.
    payloads: HashMap<At, Json>,
    now: Timestamp,
}

/// A run of `steps` that has just started.
pub(crate) fn run(steps: &[(&str, &[&str])]) -> Run {
    started(steps, None).0
}

/// As [`run`], with a time of its own.
pub(crate) fn run_for(steps: &[(&str, &[&str])], timeout_ms: u64) -> Run {
    started(steps, Some(timeout_ms)).0
}

/// A run that has just started, and the events of its start after the first.
pub(crate) fn started(steps: &[(&str, &[&str])], timeout_ms: Option<u64>) -> (Run, Vec<Event>) {
    begun(blueprint(steps), timeout_ms)
}

/// As [`started`], of a blueprint.
pub(crate) fn begun(blueprint: Blueprint, timeout_ms: Option<u64>) -> (Run, Vec<Event>) {
    let now = after(0);
    let mut draft = Draft::begin(start_of(&blueprint, timeout_ms), now, NO_JITTER);
    let (policy, values) = (Policy::default(), Values::default());
    let setting = Setting { blueprint: &blueprint, policy: &policy, values: &values };
    start(&mut draft, &setting, vec![]);
    let sealed = draft.seal(GUARD_MS);
    let (state, guard_first) = (checked(None, &sealed), sealed.guard_first);
    let payloads = payloads_of(&sealed).collect();
    let run = Run { blueprint, state, guard_first, random: NO_JITTER, payloads, now };
    (run, sealed.events.into_iter().skip(1).filter(|event| !is_guard(event)).collect())
}

pub(crate) fn start_of(blueprint: &Blueprint, timeout_ms: Option<u64>) -> Start {
    Start {
        namespace: Namespace::default(),
        execution: ExecutionId::known("order-17").expect("a valid id"),
        generation: 0,
        run: RunId::from_random(17),
        blueprint: BlueprintRef {
            name: blueprint.name().to_owned(),
            version: 1,
            hash: blueprint.hash().to_owned(),
        },
        input: Payload::of(json!({"total": 5})),
        request: "start-1".to_owned(),
        timeout_ms,
        deadline: timeout_ms.map(after),
        correlation_id: String::new(),
        tags: vec![],
        with_inputs: [].into(),
        arguments: [].into(),
        resumed: None,
    }
}

/// The state that a commit led to, checked against its events and its snapshot.
fn checked(before: Option<State>, sealed: &Sealed) -> State {
    let Sealed { events, facts, state, .. } = sealed;
    let CommitFacts { seq, time } = *facts;
    assert_eq!(
        fold(before, CommitFacts { seq, time }, events).as_ref(),
        Ok(&**state),
        "the fold differs"
    );
    let text = serde_json::to_string(state).expect("a state serializes");
    assert_eq!(
        serde_json::from_str::<State>(&text).expect("json"),
        **state,
        "the snapshot differs"
    );
    State::clone(state)
}

fn payloads_of(sealed: &Sealed) -> impl Iterator<Item = (At, Json)> {
    let payload = |(index, event): (u32, &Event)| match event.payload()? {
        Payload::Json(value) => Some((At(sealed.facts.seq, index), value.clone())),
        Payload::Blob { .. } => panic!("tests have no blobs"),
    };
    (0..).zip(&sealed.events).filter_map(payload).collect::<Vec<_>>().into_iter()
}

fn is_guard(event: &Event) -> bool {
    event.kind() == "guard_armed"
}

impl Run {
    /// Sets the clock to `ms` after the start.
    pub(crate) fn at(&mut self, ms: u64) -> &mut Self {
        self.now = after(ms);
        self
    }

    /// The clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Decides the commands in one draft and commits it: their answers, and the events but for the
    /// guard's.
    pub(crate) fn batch(
        &mut self,
        commands: &[Command],
    ) -> (Vec<Result<Answer, Rejection>>, Vec<Event>) {
        let policy = Policy::default();
        let values = self.values(commands);
        let setting = Setting { blueprint: &self.blueprint, policy: &policy, values: &values };
        let mut draft = Draft::next(self.state.clone(), self.now, self.random);
        let answers =
            commands.iter().map(|command| decide(&mut draft, &setting, command)).collect();
        if draft.is_empty() {
            assert_eq!(*draft.discard(), self.state, "nothing was decided, but the state changed");
            return (answers, vec![]);
        }
        let sealed = draft.seal(GUARD_MS);
        self.state = checked(Some(self.state.clone()), &sealed);
        self.guard_first = sealed.guard_first;
        self.payloads.extend(payloads_of(&sealed));
        let armed = sealed.events.iter().filter(|event| is_guard(event)).count();
        assert_eq!(armed, usize::from(self.guard_first.is_some()), "a guard that no event names");
        (answers, sealed.events.into_iter().filter(|event| !is_guard(event)).collect())
    }

    /// What conditions may look at, as whoever decides fetches it from the events so far.
    fn values(&self, commands: &[Command]) -> Values {
        let mut values = Values::default();
        let read = commands.iter().flat_map(|it| reads(&self.blueprint, &self.state, it));
        for stored in read {
            values.put_stored(stored.at, self.payloads[&stored.at].clone());
        }
        values
    }

    /// When `command` is applied, exactly these events follow.
    pub(crate) fn when(&mut self, command: Command) -> Vec<Event> {
        let (answers, events) = self.batch(&[command]);
        assert!(
            matches!(
                answers[..],
                [Ok(Answer::Applied | Answer::Leased { .. } | Answer::Holds { .. })]
            ),
            "{answers:?}"
        );
        events
    }

    /// As [`Run::when`], for what the test only builds upon.
    pub(crate) fn given(&mut self, command: Command) -> &mut Self {
        assert!(!self.when(command).is_empty(), "nothing was decided");
        self
    }

    /// Asserts that `command` is answered as applied before, and no event follows.
    pub(crate) fn unchanged(&mut self, command: Command) {
        assert_eq!(self.batch(&[command]), (vec![Ok(Answer::Unchanged)], vec![]));
    }

    /// Why `command` is refused; asserts that no event follows.
    pub(crate) fn refused(&mut self, command: Command) -> Rejection {
        let (mut answers, events) = self.batch(&[command]);
        assert_eq!(events, []);
        answers.remove(0).expect_err("a refusal")
    }

    /// Commits nothing, as a waker does that settles a slot.
    pub(crate) fn settle(&mut self) {
        let sealed = Draft::next(self.state.clone(), self.now, 0).settle();
        self.state = checked(Some(self.state.clone()), &sealed);
    }

    /// Hands the newest attempt of each of `steps` to `w1`.
    pub(crate) fn leased(&mut self, steps: &[&str]) -> &mut Self {
        for step in steps {
            let attempt = self.state.open[*step].attempt;
            self.given(lease(step, attempt, "w1"));
        }
        self
    }
}

/// The time `ms` after the start.
pub(crate) fn after(ms: u64) -> Timestamp {
    Timestamp::from_millis(STARTED_MS).after_millis(ms)
}

pub(crate) fn task(step: &str, attempt: u32) -> Task {
    Task { step: step.into(), iteration: 1, attempt }
}

/// A result that says which step and attempt it is of.
pub(crate) fn output(step: &str, attempt: u32) -> Payload {
    Payload::of(json!({"ok": format!("{step}/{attempt}")}))
}

pub(crate) fn failure(message: &str) -> Failure {
    Failure { kind: "Boom".to_owned(), message: message.to_owned(), stacktrace: String::new() }
}

pub(crate) fn lease(step: &str, attempt: u32, worker: &str) -> Command {
    Command::LeaseStep { task: task(step, attempt), worker: worker.to_owned(), partial: false }
}

pub(crate) fn extend(step: &str, attempt: u32, worker: &str) -> Command {
    Command::ExtendLease { task: task(step, attempt), worker: worker.to_owned() }
}

pub(crate) fn undelivered(step: &str, attempt: u32, worker: &str) -> Command {
    let (task, worker) = (task(step, attempt), worker.to_owned());
    Command::ReturnTask { task, worker, reason: "answered 503".to_owned() }
}

/// `w1` submits `outcome`.
pub(crate) fn submit(step: &str, attempt: u32, outcome: Outcome) -> Command {
    Command::SubmitResult { task: task(step, attempt), worker: "w1".to_owned(), outcome }
}

pub(crate) fn succeed(step: &str, attempt: u32) -> Command {
    submit(step, attempt, Outcome::Succeeded(output(step, attempt)))
}

pub(crate) fn fail(step: &str, attempt: u32) -> Command {
    submit(step, attempt, Outcome::Failed(failure(&format!("{step}/{attempt}"))))
}

pub(crate) fn sleep(step: &str, attempt: u32, duration_ms: u64) -> Command {
    submit(step, attempt, Outcome::Sleep { duration_ms, data: output(step, attempt) })
}

pub(crate) fn ask(step: &str, attempt: u32, timeout_ms: Option<u64>) -> Command {
    let (approval_type, data) = ("manager".to_owned(), output(step, attempt));
    submit(step, attempt, Outcome::Approval { approval_type, data, timeout_ms })
}

pub(crate) fn mismatch(step: &str, attempt: u32, with_inputs: bool) -> Command {
    let inputs = "inputs".to_owned();
    let mismatch = if with_inputs {
        Mismatch { unexpected: None, missing: vec![inputs] }
    } else {
        Mismatch { unexpected: Some(inputs), missing: vec![] }
    };
    let failure = failure(&format!("{step}/{attempt} called wrongly"));
    submit(step, attempt, Outcome::CallMismatch { mismatch, failure })
}

pub(crate) fn not_found(step: &str, attempt: u32, worker: &str) -> Command {
    let (task, worker) = (task(step, attempt), worker.to_owned());
    Command::SubmitResult { task, worker, outcome: Outcome::NotFound }
}

pub(crate) fn approve(step: Option<&str>, request: &str) -> Command {
    Command::Approve {
        step: step.map(StepName::from),
        by: "ana".to_owned(),
        request: request.to_owned(),
        response: Payload::of(json!({"limit": 7})),
        again: false,
    }
}

pub(crate) fn reject(step: Option<&str>, request: &str, reason: &str) -> Command {
    Command::Reject {
        step: step.map(StepName::from),
        by: "ana".to_owned(),
        request: request.to_owned(),
        reason: reason.to_owned(),
    }
}

pub(crate) fn cancel(request: &str) -> Command {
    Command::Cancel {
        by: "ana".to_owned(),
        request: request.to_owned(),
        reason: "no stock".to_owned(),
    }
}

/// The first attempt of a step may be handed out.
pub(crate) fn scheduled(step: &str) -> Event {
    again(step, 1, None)
}

/// An attempt of a step may be handed out, from `not_before` ms after the start.
pub(crate) fn again(step: &str, attempt: u32, not_before: Option<u64>) -> Event {
    let not_before = not_before.map(after);
    Event::StepScheduled { step: step.into(), iteration: 1, attempt, not_before, start_by: None }
}

/// `worker` has the attempt until `until` ms after the start.
pub(crate) fn begun_by(step: &str, attempt: u32, worker: &str, until: u64) -> Event {
    Event::StepStarted {
        step: step.into(),
        iteration: 1,
        attempt,
        worker: worker.to_owned(),
        lease_until: after(until),
        partial: false,
        close_by: None,
    }
}

pub(crate) fn completed(step: &str, attempt: u32) -> Event {
    let result = output(step, attempt);
    Event::StepCompleted { step: step.into(), iteration: 1, attempt, result }
}

pub(crate) fn lost(step: &str, attempt: u32, reason: LossReason) -> Event {
    Event::AttemptLost { step: step.into(), attempt, reason }
}

/// The failure of `attempt` counted, and with it the execution's.
pub(crate) fn failed(step: &str, attempt: u32, error: Failure) -> Vec<Event> {
    let step = StepName::from(step);
    let execution = Event::ExecutionFailed { step: step.clone(), error: error.clone() };
    vec![Event::StepFailed { step, iteration: 1, attempt, error }, execution]
}

/// A step that depends on `depends_on`.
pub(crate) fn step(name: &str, depends_on: &[&str]) -> Step {
    let depends_on = depends_on.iter().map(|&name| name.into()).collect();
    Step { name: name.into(), depends_on, ..Step::default() }
}

/// Patterns of the outcome of `from`, and where each leads.
pub(crate) fn diverge(from: &str, arms: &[(&str, &str)]) -> Rule {
    Rule::diverge(from.into(), arms.iter().map(|(when, to)| ((*when).to_owned(), (*to).into())))
}

/// Conditions on the output of `from`, and where each leads.
pub(crate) fn branch(from: &str, arms: &[(&str, &str)]) -> Rule {
    Rule::branch(from.into(), arms.iter().map(|(when, to)| ((*when).to_owned(), (*to).into())))
}

/// A blueprint with rules.
pub(crate) fn ruled(steps: &[(&str, &[&str])], rules: &[Rule]) -> Blueprint {
    of_steps(steps.iter().map(|(name, depends_on)| step(name, depends_on)).collect(), rules)
}

/// As [`ruled`], of steps that say more than what they depend on.
pub(crate) fn of_steps(steps: Vec<Step>, rules: &[Rule]) -> Blueprint {
    let (name, rules) = ("orders".to_owned(), rules.to_vec());
    Blueprint::new(Definition { name, steps, rules, iterations_max: None }).expect("valid")
}

impl Run {
    /// `w1` takes whatever is ready of `step` and submits `value`.
    pub(crate) fn gives(&mut self, step: &str, value: serde_json::Value) -> Vec<Event> {
        self.ends(step, Outcome::Succeeded(Payload::of(value)))
    }

    /// `w1` takes whatever is ready of `step`, which fails.
    pub(crate) fn breaks(&mut self, step: &str) -> Vec<Event> {
        self.ends(step, Outcome::Failed(failure("boom")))
    }

    /// `w1` takes whatever is ready of `step`, and it ends as `outcome` says.
    pub(crate) fn ends(&mut self, step: &str, outcome: Outcome) -> Vec<Event> {
        let task = self.take(step);
        self.when(Command::SubmitResult { task, worker: "w1".to_owned(), outcome })
    }

    /// `w1` takes whatever is ready of `step`.
    pub(crate) fn take(&mut self, step: &str) -> Task {
        let open = self.state.open.get(step).unwrap_or_else(|| panic!("`{step}` is not open"));
        let task = Task { step: step.into(), iteration: open.iteration, attempt: open.attempt };
        let worker = "w1".to_owned();
        self.given(Command::LeaseStep { task: task.clone(), worker, partial: false });
        task
    }

    /// The steps that a worker may have, or has.
    pub(crate) fn open(&self) -> Vec<&str> {
        self.state.open.keys().map(|step| &**step).collect()
    }

    /// The steps that are skipped.
    pub(crate) fn skipped(&self) -> Vec<&str> {
        self.state.skipped.keys().map(|step| &**step).collect()
    }
}

impl Run {
    /// The run that resumes this one, which is closed, with the results that it kept.
    pub(crate) fn resumed(&self) -> Self {
        let failed = match &self.state.status {
            Status::Failed { step, .. } => Some(step),
            Status::Running
            | Status::Completed
            | Status::Cancelled { .. }
            | Status::TimedOut { .. } => None,
        };
        let is_kept = |step: &StepName| Some(step) != failed;
        let done = self.state.done.iter().filter(|(step, _)| is_kept(step));
        let result_kept = |(step, done): (&StepName, &Done)| {
            let (started, ended) = self.state.times(done);
            Event::ResultKept {
                step: step.clone(),
                iteration: done.iteration(),
                attempt: done.attempt(),
                started,
                ended,
                result: Payload::Json(self.payloads[&done.at()].clone()),
                error: self.state.caught.get(step).cloned(),
            }
        };
        let kept = done.map(result_kept).chain(self.state.way()).collect();
        let (blueprint, now) = (self.blueprint.clone(), self.now);
        let mut draft = Draft::begin(start_of(&blueprint, None), now, NO_JITTER);
        let (policy, values) = (Policy::default(), Values::default());
        let setting = Setting { blueprint: &blueprint, policy: &policy, values: &values };
        start(&mut draft, &setting, kept);
        let sealed = draft.seal(GUARD_MS);
        let (state, guard_first) = (checked(None, &sealed), sealed.guard_first);
        let payloads = payloads_of(&sealed).collect();
        Self { blueprint, state, guard_first, random: NO_JITTER, payloads, now }
    }
}
