//! The scenarios: three requests that meet at two instances, and what stands there when they come.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use lazarus::workflow::{Definition, Namespace, Step, TaskToken};

use super::{
    super::workload::Work,
    operation::Operation,
    stage::{GUARD, LEASE, Stage},
};

/// A request of a scenario.
#[derive(Clone, Debug)]
pub struct Act {
    pub operation: Operation,
    /// The instance that is asked first.
    pub place: usize,
    /// When, from the beginning of the scenario.
    pub after: Duration,
}

/// A scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Sets the stage, and says what is played on it.
    pub set: fn(&Stage) -> BoxFuture<'_, Vec<Act>>,
}

/// All of them.
pub const SCENARIOS: [Scenario; 11] = [
    Scenario { name: "one start sent twice, and a poll", set: |it| start_twice(it).boxed() },
    Scenario { name: "the same with an id that is made", set: |it| start_any_twice(it).boxed() },
    Scenario { name: "one result sent twice, and a look", set: |it| result_twice(it).boxed() },
    Scenario { name: "a result, a cancellation, a due guard", set: |it| cancelled(it).boxed() },
    Scenario { name: "one approval sent twice, and its timeout", set: |it| approval(it).boxed() },
    Scenario { name: "a due sleep woken twice, and a result", set: |it| sleep(it).boxed() },
    Scenario { name: "an offer claimed twice, and a late result", set: |it| offer(it).boxed() },
    Scenario {
        name: "two starts of a closed id, and an old one",
        set: |it| used_again(it).boxed(),
    },
    Scenario { name: "a guard goes, moves, and is put", set: |it| guards(it).boxed() },
    Scenario { name: "one resumption sent twice, and a start", set: |it| resumption(it).boxed() },
    Scenario { name: "a start is slow, and its guard is due", set: |it| slow_start(it).boxed() },
];

/// Right away.
const NOW: Duration = Duration::ZERO;
/// How long an approval waits, and a sleep takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// Until all records for lists are written.
const SETTLED: Duration = Duration::from_secs(6);

fn act(place: usize, after: Duration, operation: Operation) -> Act {
    Act { operation, place, after }
}

/// The workflows: `one` step; `two`, one after the other; `side`, two beside each other, and one
/// before and one after both.
async fn workflows(stage: &Stage) {
    let side = vec![
        step("begin", &[]),
        step("left", &["begin"]),
        step("right", &["begin"]),
        step("after", &["left", "right"]),
    ];
    let workflows = [
        ("one", vec![step("only", &[])]),
        ("two", vec![step("first", &[]), step("second", &["first"])]),
        ("side", side),
    ];
    for (name, steps) in workflows {
        let definition = Definition { name: name.to_owned(), steps, ..Definition::default() };
        for instance in &stage.instances {
            // The second finds what the first put, and knows it from then on.
            let (namespace, engine) = (Namespace::default(), &instance.engine);
            let put = engine.put_blueprint(&namespace, definition.clone(), "python", false);
            put.await.expect("nothing can go wrong yet");
        }
    }
}

fn step(name: &str, after: &[&str]) -> Step {
    let depends_on = after.iter().map(|it| (*it).into()).collect();
    Step { name: name.into(), depends_on, ..Step::default() }
}

async fn start_twice(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    let start = Operation::Start { workflow: "one", request: "start" };
    vec![
        act(0, NOW, start.clone()),
        act(1, NOW, start),
        act(1, NOW, Operation::Poll { worker: "w" }),
    ]
}

async fn start_any_twice(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    let start = Operation::StartAny { workflow: "one", request: "start" };
    vec![
        act(0, NOW, start.clone()),
        act(1, NOW, start),
        act(1, NOW, Operation::Poll { worker: "w" }),
    ]
}

async fn result_twice(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "two", request: "start" }).await;
    let token = stage.task("w").await;
    let submit = Operation::Submit { worker: "w", token, work: Work::Result(1) };
    stage.wait(SETTLED).await;
    vec![act(0, NOW, submit.clone()), act(1, NOW, submit), act(1, NOW, Operation::Describe)]
}

async fn cancelled(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "one", request: "start" }).await;
    let token = stage.task("w").await;
    stage.wait(GUARD).await;
    vec![
        act(0, NOW, Operation::Submit { worker: "w", token, work: Work::Result(1) }),
        act(1, NOW, Operation::Cancel { request: "cancel" }),
        act(1, NOW, Operation::Tick),
    ]
}

async fn approval(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "two", request: "start" }).await;
    let token = stage.task("w").await;
    stage.ask(Operation::Submit { worker: "w", token, work: Work::Approval(PATIENCE) }).await;
    stage.wait(PATIENCE).await;
    let approve = Operation::Approve { request: "approve" };
    vec![act(0, NOW, approve.clone()), act(1, NOW, approve), act(1, NOW, Operation::Tick)]
}

/// Two tasks, `left` for `w` and `right` for `v`.
async fn two_tasks(stage: &Stage) -> (TaskToken, TaskToken) {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "side", request: "start" }).await;
    let token = stage.task("w").await;
    stage.ask(Operation::Submit { worker: "w", token, work: Work::Result(1) }).await;
    (stage.task("w").await, stage.task("v").await)
}

async fn sleep(stage: &Stage) -> Vec<Act> {
    let (sleeper, token) = two_tasks(stage).await;
    stage.ask(Operation::Submit { worker: "w", token: sleeper, work: Work::Sleep(PATIENCE) }).await;
    stage.wait(PATIENCE).await;
    vec![
        act(0, NOW, Operation::Tick),
        act(1, NOW, Operation::Tick),
        act(0, NOW, Operation::Submit { worker: "v", token, work: Work::Result(1) }),
    ]
}

async fn offer(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "one", request: "start" }).await;
    let token = stage.task("w").await;
    stage.wait(LEASE).await;
    stage.ask(Operation::Tick).await;
    vec![
        act(0, NOW, Operation::Poll { worker: "v" }),
        act(1, NOW, Operation::Poll { worker: "x" }),
        act(1, NOW, Operation::Submit { worker: "w", token, work: Work::Result(1) }),
    ]
}

async fn used_again(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "one", request: "old" }).await;
    let token = stage.task("w").await;
    stage.ask(Operation::Submit { worker: "w", token, work: Work::Result(1) }).await;
    stage.wait(SETTLED).await;
    vec![
        act(0, NOW, Operation::Start { workflow: "one", request: "new" }),
        act(1, NOW, Operation::Start { workflow: "one", request: "other" }),
        act(1, NOW, Operation::Start { workflow: "one", request: "old" }),
    ]
}

async fn guards(stage: &Stage) -> Vec<Act> {
    let (waiter, token) = two_tasks(stage).await;
    let approval = Work::Approval(Duration::ZERO);
    stage.ask(Operation::Submit { worker: "w", token: waiter, work: approval }).await;
    stage.wait(GUARD).await;
    vec![
        // Parks the run, and its guard goes; makes it active again; moves whichever guard is there.
        act(0, NOW, Operation::Submit { worker: "v", token, work: Work::Sleep(PATIENCE) }),
        act(1, NOW, Operation::Approve { request: "approve" }),
        act(1, NOW, Operation::Tick),
    ]
}

async fn resumption(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    stage.ask(Operation::Start { workflow: "one", request: "old" }).await;
    let token = stage.task("w").await;
    stage.ask(Operation::Submit { worker: "w", token, work: Work::Failure }).await;
    stage.wait(SETTLED).await;
    let resume = Operation::Resume { request: "resume" };
    vec![
        act(0, NOW, resume.clone()),
        act(1, NOW, Operation::Start { workflow: "one", request: "new" }),
        act(1, NOW, resume),
    ]
}

async fn slow_start(stage: &Stage) -> Vec<Act> {
    workflows(stage).await;
    let start = Operation::Start { workflow: "one", request: "start" };
    let half_an_hour = Duration::from_mins(31);
    vec![
        act(0, NOW, start.clone()),
        act(1, half_an_hour, Operation::Tick),
        act(1, half_an_hour, start),
    ]
}
