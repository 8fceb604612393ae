//! A run under test: commands are decided, committed, folded and written as an engine does it, and
//! each of these is checked against the others.

use std::{collections::HashMap, sync::Arc};

use lazarus::{
    log::{Commit, DUE_MAX, Key, NewCommit, Snapshots, Sum, shard_of},
    workflow::{
        Answer, At, Blueprint, BlueprintRef, Command, CommitFacts, Draft, ExecutionId, Json,
        Namespace, Outcome, Payload, Phase, Policy, Rejection, RunId, Sealed, Setting, Start,
        State, Task, Timestamp, Values, decide, fold, reads, start,
    },
};
use serde_json::json;

/// When runs start, in milliseconds.
const STARTED_MS: u64 = 1_764_000_000_000;

/// What became of commands that were decided together.
type Decided = (Vec<Result<Answer, Rejection>>, Option<Sealed>);

#[derive(Debug)]
pub struct World {
    blueprint: Blueprint,
    state: State,
    now: Timestamp,
    sum: Sum,
    snapshots: Snapshots,
    /// The payloads of all events so far, as the log has them.
    payloads: HashMap<At, Payload>,
    blobs: HashMap<Arc<str>, Json>,
    moves: u64,
}

impl World {
    /// A run of `blueprint` that has just started.
    pub fn of(blueprint: Blueprint) -> Self {
        Self::begin(blueprint, None)
    }

    /// As [`World::of`], with a time of its own.
    pub fn begin(blueprint: Blueprint, timeout_ms: Option<u64>) -> Self {
        let now = Timestamp::from_millis(STARTED_MS);
        let begin = Start {
            namespace: Namespace::default(),
            execution: ExecutionId::known("order-17").expect("a valid id"),
            generation: 0,
            run: RunId::from_random(17),
            blueprint: BlueprintRef {
                name: blueprint.name().to_owned(),
                version: 1,
                hash: blueprint.hash().to_owned(),
            },
            input: Payload::of(json!({"total": 5, "status": "y"})),
            request: "start-1".to_owned(),
            timeout_ms,
            deadline: timeout_ms.map(|timeout_ms| now.after_millis(timeout_ms)),
            correlation_id: String::new(),
            tags: vec![],
            with_inputs: [].into(),
            arguments: [].into(),
            resumed: None,
        };
        let mut draft = Draft::begin(begin, now, 7);
        let (policy, values) = (Policy::default(), Values::default());
        let setting = Setting { blueprint: &blueprint, policy: &policy, values: &values };
        start(&mut draft, &setting, vec![]);
        let sealed = draft.seal(policy.guard_ms());
        let (state, none) = (State::clone(&sealed.state), Snapshots::NONE);
        let sum = Sum::of(b"");
        let (payloads, blobs) = (HashMap::new(), HashMap::new());
        let mut world =
            Self { blueprint, state, now, sum, snapshots: none, payloads, blobs, moves: 0 };
        world.commit(None, &sealed);
        world
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn wait(&mut self, millis: u64) {
        self.now = self.now.after_millis(millis);
    }

    /// The attempt that the `pick`th open step is at; none: nothing is open.
    pub fn open(&self, pick: usize) -> Option<Task> {
        let (step, open) = self.state.open.iter().nth(pick % self.state.open.len().max(1))?;
        Some(Task { step: step.clone(), iteration: open.iteration, attempt: open.attempt })
    }

    /// Keeps a value as a blob, as whoever takes a command in does with a large one.
    pub fn blob(&mut self, value: &Json) -> Payload {
        let text = value.to_string();
        let sha256: Arc<str> = Sum::of(text.as_bytes()).to_string().into();
        self.blobs.insert(sha256.clone(), value.clone());
        Payload::Blob { sha256, bytes: text.len() as u64 }
    }

    /// Moves the `pick`th open step on, as a willing worker, a person or time would.
    pub fn help(&mut self, pick: usize) {
        let Some(task) = self.open(pick) else { return };
        let worker = "helper".to_owned();
        let command = match &self.state.open[&task.step].phase {
            Phase::Ready { not_before, .. } => {
                self.now = self.now.max(not_before.unwrap_or_default());
                Command::LeaseStep { task, worker, partial: false }
            }
            Phase::Leased { .. } => {
                let outcome = Outcome::Succeeded(Payload::of(json!({"ok": "x", "n": 9})));
                Command::SubmitResult { task, worker, outcome }
            }
            Phase::Sleeping { until, .. } => {
                self.now = self.now.max(*until);
                Command::Wake
            }
            Phase::Approval { .. } => Command::Approve {
                step: Some(task.step),
                by: "ana".to_owned(),
                request: format!("help {}", self.moves),
                response: Payload::of(json!({"ok": "y"})),
                again: false,
            },
        };
        self.batch(&[command]);
    }

    /// Decides the commands for one commit and commits it; whether any was applied.
    pub fn batch(&mut self, commands: &[Command]) -> bool {
        self.moves += 1;
        let before = self.state.clone();
        let (answers, sealed) = self.decided(commands);
        let (again, sealed_again) = self.decided(commands);
        assert_eq!(answers, again, "the same state and commands, other answers");
        let events = |sealed: &Option<Sealed>| sealed.as_ref().map(|it| it.events.clone());
        assert_eq!(events(&sealed), events(&sealed_again), "the same, other events");
        for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(!refused.to_string().is_empty(), "a refusal says why");
        }
        if let Some(sealed) = sealed {
            assert!(!before.is_closed(), "closed is final: {:?}", sealed.events);
            self.commit(Some(before), &sealed);
        }
        answers.iter().any(|answer| matches!(answer, Ok(Answer::Applied | Answer::Leased { .. })))
    }

    fn decided(&self, commands: &[Command]) -> Decided {
        let policy = Policy::default();
        let values = self.values(commands);
        let setting = Setting { blueprint: &self.blueprint, policy: &policy, values: &values };
        let mut draft = Draft::next(self.state.clone(), self.now, self.moves);
        let answers = commands.iter().map(|command| decide(&mut draft, &setting, command));
        let answers = answers.collect();
        if draft.is_empty() {
            assert_eq!(*draft.discard(), self.state, "nothing was decided, but the state changed");
            return (answers, None);
        }
        (answers, Some(draft.seal(policy.guard_ms())))
    }

    /// What conditions may look at, as whoever decides fetches it.
    fn values(&self, commands: &[Command]) -> Values {
        let mut values = Values::default();
        for stored in commands.iter().flat_map(|it| reads(&self.blueprint, &self.state, it)) {
            let value = match &self.payloads[&stored.at] {
                Payload::Json(value) => value.clone(),
                Payload::Blob { sha256, .. } => self.blobs[sha256].clone(),
            };
            values.put_stored(stored.at, value);
        }
        for (sha256, value) in &self.blobs {
            values.put_blob(sha256.clone(), value.clone());
        }
        values
    }

    /// Takes a commit in: its fold, its snapshot, its bytes and its wake entries agree.
    fn commit(&mut self, before: Option<State>, sealed: &Sealed) {
        let Sealed { events, facts, state, .. } = sealed;
        let CommitFacts { seq, time } = *facts;
        let next = before.as_ref().map_or(0, |before| before.seq + 1);
        assert_eq!(seq, next);
        assert!(before.as_ref().is_none_or(|before| before.time <= time), "time goes back");
        let folded = fold(before, CommitFacts { seq, time }, events);
        assert_eq!(folded.as_ref(), Ok(&**state), "the fold differs");
        assert!(state.is_closed() || !state.open.is_empty(), "nothing is open, and it goes on");
        assert_eq!(state.is_active(), state.guard.is_some());
        self.write(sealed);
        for entry in state.attention() {
            let due = entry.due.min(DUE_MAX);
            let (shard, kind) = (shard_of(state.run, 4), entry.kind);
            let handle = state.handle().at(entry.seq);
            let key = Key::Wake { shard, kind, due, handle, tries: 0 };
            assert_eq!(Key::parse(&key.path()), Some(key));
        }
        for (index, event) in (0..).zip(events) {
            if let Some(payload) = event.payload() {
                self.payloads.insert(At(seq, index), payload.clone());
            }
        }
        self.state = State::clone(state);
    }

    fn write(&mut self, sealed: &Sealed) {
        let Sealed { events, facts: CommitFacts { seq, time }, state, .. } = sealed;
        let commit = NewCommit {
            run: state.run,
            seq: *seq,
            prev: (*seq > 0).then_some(self.sum),
            time: *time,
            by: "fuzz/0",
            requests: &[],
            events,
            snapshots: self.snapshots,
            snapshot: Some(state),
        };
        let encoded = commit.encode(u128::from(*seq));
        let key = Key::of_commit(&state.handle());
        let read = Commit::decode(&key, &encoded.bytes).expect("what is written can be read");
        assert_eq!(&read.events, events);
        assert_eq!(read.snapshot.as_ref(), Some(&**state), "the snapshot differs");
        assert_eq!(read.to_new().encode(read.cid).bytes, encoded.bytes);
        (self.sum, self.snapshots) = (encoded.sum, Snapshots::after(&encoded));
    }
}
