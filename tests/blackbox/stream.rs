//! Workers on a stream: the Rust worker as users have it, and the bare protocol under it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lazarus::{
    engine::PollRequest,
    env::SystemEnv,
    proto::{
        cerebelum::ExecutionState as State,
        lazarus::{
            self as v1, Hello, Report, Verdict, WorkRequest, WorkResponse,
            task_service_client::TaskServiceClient, work_request, work_response,
        },
    },
    store::Latency,
    worker::{self, Call, Failed, Output},
    workflow::{Outcome, Payload},
};
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tokio::{
    sync::{Barrier, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Streaming};

use crate::{
    cost::on_the_way,
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{Bucket, Done, Instance, Setup, lone_instance},
};

const CHAIN: [&str; 10] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"];

fn steps_of_chain() -> Vec<(&'static str, Vec<&'static str>)> {
    let before = |n: usize| if n == 0 { vec![] } else { vec![CHAIN[n - 1]] };
    CHAIN.iter().enumerate().map(|(n, name)| (*name, before(n))).collect()
}

async fn put_chain(instance: &Instance) -> u32 {
    let steps = steps_of_chain();
    let steps: Vec<(&str, &[&str])> =
        steps.iter().map(|(name, on)| (*name, on.as_slice())).collect();
    instance.client().await.blueprint("chain", &steps).await
}

/// A worker that has every step of the chain.
fn chain_worker(instance: &Instance, id: &str, slots: u32) -> worker::Worker {
    let address = format!("http://{}", instance.address);
    let mut chained = worker::Worker::new(&address, id).expect("an address").slots(slots);
    for name in CHAIN {
        chained = chained.step(name, async |call: Call| Ok(Output::value(json!(call.step))));
    }
    chained
}

/// A worker that runs beside the test; it goes gracefully when told to.
struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), worker::Error>>,
}

impl Running {
    fn start(worker: worker::Worker) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(worker.run(async { drop(stopped.await) }));
        Self { stop, ended }
    }

    async fn end(self) {
        drop(self.stop);
        self.ended.await.expect("it does not panic").expect("it ends well");
    }
}

/// A bare stream.
struct Bare {
    say: mpsc::UnboundedSender<WorkRequest>,
    hear: Streaming<WorkResponse>,
}

impl Bare {
    async fn open(
        instance: &Instance,
        first: work_request::Message,
    ) -> Result<Self, tonic::Status> {
        let address = format!("http://{}", instance.address);
        let mut client = TaskServiceClient::connect(address).await.expect("it serves");
        let (say, said) = mpsc::unbounded_channel();
        say.send(WorkRequest { message: Some(first) }).expect("open");
        let hear = client.work(UnboundedReceiverStream::new(said)).await?.into_inner();
        Ok(Self { say, hear })
    }

    async fn hello(instance: &Instance, slots: u32, running: &[&str]) -> Self {
        let running = running.iter().map(|token| (*token).to_owned()).collect();
        let hello = Hello { worker_id: "bare".to_owned(), slots, running, ..Hello::default() };
        Self::open(instance, work_request::Message::Hello(hello)).await.expect("it is taken")
    }

    fn say(&self, message: work_request::Message) {
        self.say.send(WorkRequest { message: Some(message) }).expect("open");
    }

    fn report(&self, token: &str, output: &Value) {
        let outcome = Some(v1::report::Outcome::OutputJson(output.to_string().into_bytes()));
        self.say(work_request::Message::Report(Report { token: token.to_owned(), outcome }));
    }

    /// What comes within `millis`.
    async fn hear_within(&mut self, millis: u64) -> Option<work_response::Message> {
        let heard = tokio::time::timeout(Duration::from_millis(millis), self.hear.message()).await;
        heard.ok()?.expect("no error").and_then(|it| it.message)
    }

    async fn task(&mut self) -> v1::WorkTask {
        match self.hear_within(10_000).await {
            Some(work_response::Message::Task(task)) => task,
            other => panic!("no task: {other:?}"),
        }
    }

    async fn ack(&mut self) -> v1::Ack {
        match self.hear_within(10_000).await {
            Some(work_response::Message::Ack(ack)) => ack,
            other => panic!("no ack: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_chain_of_ten_costs_12_put_and_its_outputs_are_the_next_inputs() {
    let instance = Instance::start(Bucket::in_memory().store().await, &Setup::counted()).await;
    let version = put_chain(&instance).await;
    let seen: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
    let mut worker = worker::Worker::new(&format!("http://{}", instance.address), "rust-1")
        .expect("an address")
        .slots(4);
    for (n, name) in CHAIN.into_iter().enumerate() {
        let seen = Arc::clone(&seen);
        worker = worker.step(name, move |call: Call| {
            let seen = Arc::clone(&seen);
            async move {
                let inputs = Value::Object(call.inputs.clone());
                seen.lock().expect("a map").insert(call.step.clone(), inputs);
                Ok(Output::value(json!({ "n": n })))
            }
        });
    }
    let running = Running::start(worker);
    instance.until_polling(4).await;
    let before = instance.engine.store().requests();
    let mut client = instance.client().await;
    let request = v1::StartRequest { workflow: "chain".to_owned(), version, ..Default::default() };
    let id = client.start(request).await.expect("it starts").execution_id;
    while !seen.lock().expect("a map").contains_key("s9") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It goes once everything is acknowledged.
    running.end().await;
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(on_the_way(cost), (12, 0, 0), "{cost}");
    client.until(&id, State::ExecutionCompleted).await;
    let seen = seen.lock().expect("a map");
    assert_eq!(seen["s9"], json!({"s8": {"n": 8}}));
    assert_eq!(seen.len(), 10);
}

/// Whatever comes during a commit is in the next one. How many there are depends on how long a put takes,
/// and on when results come: it takes long here, and all end in one moment.
#[tokio::test]
async fn a_hundred_steps_beside_each_other_and_a_join_cost_at_most_20_put() {
    let slow: Latency = "put=200ms,get=1ms,list=1ms,delete=1ms".parse().expect("times");
    let store = Bucket::in_memory().store().await.slowed(slow, &SystemEnv::shared());
    let instance = Instance::start(store, &Setup::counted()).await;
    let mut client = instance.client().await;
    let parts: Vec<String> = (0..100).map(|n| format!("part{n}")).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut steps: Vec<(&str, &[&str])> = vec![("split", &[])];
    steps.extend(parts.iter().map(|part| (*part, &["split"] as &[&str])));
    steps.push(("join", &parts));
    let version = client.blueprint("fan", &steps).await;
    let address = format!("http://{}", instance.address);
    let mut worker = worker::Worker::new(&address, "rust-1").expect("an address").slots(100);
    let all_run = Arc::new(Barrier::new(parts.len()));
    for (step, _) in &steps {
        let all_run = Arc::clone(&all_run);
        worker = worker.step(step, move |call: Call| {
            let all_run = Arc::clone(&all_run);
            async move {
                if call.step.starts_with("part") {
                    all_run.wait().await;
                }
                Ok(Output::value(json!({"ok": 1})))
            }
        });
    }
    let running = Running::start(worker);
    instance.until_polling(100).await;
    let before = instance.engine.store().requests();
    let request = v1::StartRequest { workflow: "fan".to_owned(), version, ..Default::default() };
    let id = client.start(request).await.expect("it starts").execution_id;
    client.until(&id, State::ExecutionCompleted).await;
    running.end().await;
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    let (put, ..) = on_the_way(cost);
    assert!((5..=20).contains(&put), "{cost}");
    let events = client.events(&id).await;
    let results = events.iter().filter(|event| event["k"] == "step_completed").count();
    assert_eq!(results, 102, "{events:#?}");
}

#[tokio::test]
async fn sixty_chains_on_eight_slots_complete_once_each() {
    const EXECUTIONS: usize = 60;
    let instance = lone_instance().await;
    put_chain(&instance).await;
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let address = format!("http://{}", instance.address);
    let mut worker = worker::Worker::new(&address, "rust-1").expect("an address").slots(8);
    for name in CHAIN {
        let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
        worker = worker.step(name, move |_| {
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            async move {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                Ok(Output::value(json!(1)))
            }
        });
    }
    let running = Running::start(worker);
    let mut client = instance.client().await;
    let mut ids = vec![];
    for _ in 0..EXECUTIONS {
        ids.push(client.execute("chain", json!({})).await);
    }
    for id in &ids {
        client.until(id, State::ExecutionCompleted).await;
        let events = client.events(id).await;
        let results = events.iter().filter(|event| event["k"] == "step_completed").count();
        assert_eq!(results, 10, "{events:#?}");
    }
    running.end().await;
    assert!(most.load(Ordering::SeqCst) <= 8, "{most:?} ran at once");
}

#[tokio::test]
async fn a_worker_finds_the_engine_that_comes_after_one_that_was_killed() {
    let bucket = Bucket::new();
    let setup = Setup::new().guard(Duration::from_secs(1)).lease(Duration::from_secs(2));
    let first = Instance::start(bucket.store().await, &setup).await;
    put_chain(&first).await;
    // The worker is told of an address behind which one instance follows the other.
    let (front, backend) = crate::support::forwarder(first.address).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let mut worker =
        worker::Worker::new(&format!("http://{front}"), "rust-1").expect("an address").slots(8);
    for name in CHAIN {
        let runs = Arc::clone(&runs);
        worker = worker.step(name, move |_| {
            let runs = Arc::clone(&runs);
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(30)).await;
                Ok(Output::value(json!(1)))
            }
        });
    }
    let running = Running::start(worker);
    let mut client = first.client().await;
    let mut ids = vec![];
    for _ in 0..12 {
        ids.push(client.execute("chain", json!({})).await);
    }
    while runs.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill();
    let second = Instance::start(bucket.store().await, &setup).await;
    backend.send_replace(second.address);
    let mut client = second.client().await;
    for id in &ids {
        client.until(id, State::ExecutionCompleted).await;
        let events = client.events(id).await;
        let results = events.iter().filter(|event| event["k"] == "step_completed").count();
        assert_eq!(results, 10, "{events:#?}");
    }
    running.end().await;
}

#[tokio::test]
async fn what_a_kill_took_on_its_way_to_a_worker_is_handed_out_when_the_worker_comes_again() {
    // Before the engine has looked at the logs, and after it.
    for wait in [0, 500] {
        let bucket = Bucket::new();
        let first = Instance::start(bucket.store().await, &Setup::new()).await;
        put_chain(&first).await;
        let mut client = first.client().await;
        let mut before = Bare::hello(&first, 8, &[]).await;
        for _ in 0..2 {
            client.execute("chain", json!({})).await;
        }
        let (heard, lost) = (before.task().await, before.task().await);
        first.kill();
        let second = Instance::start(bucket.store().await, &Setup::new()).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let mut after = Bare::hello(&second, 8, &[&heard.token]).await;
        let again = after.task().await;
        let named = |task: &v1::WorkTask| (task.execution_id.clone(), task.step.clone());
        assert_eq!(named(&again), named(&lost));
        // The lease is its own still. Without reservations it is offered to all: the next attempt.
        let attempt = if std::env::var("LAZARUS_TEST_SHAPE").is_ok() { 2 } else { 1 };
        assert_eq!(again.attempt, attempt);
        assert_eq!(after.hear_within(300).await, None, "it is at the other one");
        for task in [&heard, &again] {
            after.report(&task.token, &json!(1));
        }
        let mut recorded = 0;
        for _ in 0..4 {
            match after.hear_within(10_000).await {
                Some(work_response::Message::Ack(ack)) => {
                    assert_eq!(ack.verdict(), Verdict::Recorded, "{ack:?}");
                    recorded += 1;
                }
                Some(work_response::Message::Task(next)) => assert_eq!(next.step, "s1"),
                None => panic!("neither an ack nor a task"),
            }
        }
        assert_eq!(recorded, 2);
    }
}

#[tokio::test]
async fn steps_fail_panic_sleep_and_ask() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("calm", &[("nap", &[]), ("after", &["nap"])]).await;
    client.blueprint("bad", &[("fail", &[])]).await;
    client.blueprint("worse", &[("panic", &[])]).await;
    client.blueprint("gate", &[("ask", &[])]).await;
    let address = format!("http://{}", instance.address);
    let worker = worker::Worker::new(&address, "rust-1")
        .expect("an address")
        .slots(4)
        .step("nap", async |_| {
            let duration = Duration::from_millis(300);
            Ok(Output::Sleep { duration, data: json!({"slept": true}) })
        })
        .step("after", async |call: Call| Ok(Output::Value(call.input("nap")?)))
        .step("fail", async |_| Err(Failed::of("no_money", "the card is empty")))
        .step("panic", async |_| panic!("it is on fire"))
        .step("ask", async |_| {
            Ok(Output::Approval {
                approval_type: "manual".to_owned(),
                data: json!({"sum": 7}),
                timeout: Some(Duration::from_millis(200)),
            })
        });
    let running = Running::start(worker);
    let calm = client.execute("calm", json!({})).await;
    let status = client.until(&calm, State::ExecutionCompleted).await;
    assert!(status.error.is_none(), "{status:?}");
    let described = client.describe(&calm).await;
    let after = described.steps.iter().find(|step| step.name == "after").expect("it ran");
    let value = after.value.clone().expect("an output");
    assert!(format!("{value:?}").contains("slept"), "{value:?}");
    for (workflow, kind, message) in [
        ("bad", "no_money", "the card is empty"),
        ("worse", "panic", "it is on fire"),
        ("gate", "approval_timeout", ""),
    ] {
        let id = client.execute(workflow, json!({})).await;
        client.until(&id, State::ExecutionFailed).await;
        let error = client.describe(&id).await.execution.expect("it").error.expect("an error");
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(message), "{error:?}");
    }
    running.end().await;
}

#[tokio::test]
async fn a_step_that_this_worker_lacks_is_given_to_another() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("single", &[("rare", &[])]).await;
    let mut bare = Bare::hello(&instance, 1, &[]).await;
    let id = client.execute("single", json!({})).await;
    let task = bare.task().await;
    let missing = Some(v1::report::Outcome::Missing(v1::StepMissing {}));
    let report = Report { token: task.token, outcome: missing };
    bare.say(work_request::Message::Report(report));
    assert_eq!(bare.ack().await.verdict(), Verdict::Recorded);
    let other = client.poll("w2", 10_000).await.expect("another worker gets it");
    assert_eq!(other.step_name, "rare");
    client.submit("w2", &other, Done::Success(json!({}))).await;
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn never_are_more_tasks_out_than_there_are_slots_and_each_ack_is_for_what_is_in_the_log() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("single", &[("only", &[])]).await;
    let mut bare = Bare::hello(&instance, 2, &[]).await;
    for _ in 0..3 {
        client.execute("single", json!({})).await;
    }
    let (one, two) = (bare.task().await, bare.task().await);
    assert_ne!(one.token, two.token);
    assert_eq!(bare.hear_within(300).await, None, "both slots are taken");
    bare.report(&one.token, &json!(1));
    assert_eq!(
        bare.ack().await,
        v1::Ack {
            token: one.token.clone(),
            verdict: Verdict::Recorded.into(),
            message: String::new()
        }
    );
    let status = client.status(&one.execution_id).await;
    assert_eq!(status.status(), State::ExecutionCompleted);
    let three = bare.task().await;
    // Twice is once, and what is over is said.
    bare.report(&one.token, &json!(1));
    assert_eq!(bare.ack().await.verdict(), Verdict::Recorded);
    bare.report(&three.token, &json!(1));
    assert_eq!(bare.ack().await.verdict(), Verdict::Recorded);
    bare.say(work_request::Message::Drain(v1::Drain {}));
    bare.report(&two.token, &json!(1));
    assert_eq!(bare.ack().await.verdict(), Verdict::Recorded);
    assert_eq!(bare.hear_within(5_000).await, None, "the stream ends once everything is reported");
}

#[tokio::test]
async fn what_is_claimed_while_a_worker_drains_is_still_handed_to_it() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    let instance =
        Instance::start(Bucket::over(faulty.objects()).store().await, &Setup::new()).await;
    let mut client = instance.client().await;
    client.blueprint("single", &[("only", &[])]).await;
    let id = client.execute("single", json!({})).await;
    faulty.plan(Rule::on(Op::Put, "run/", Fault::AnswerLate));
    let mut bare = Bare::hello(&instance, 2, &[]).await;
    while faulty.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bare.say(work_request::Message::Drain(v1::Drain {}));
    assert_eq!(bare.hear_within(300).await, None, "its claim is not in the log yet");
    faulty.open();
    let task = bare.task().await;
    bare.report(&task.token, &json!(1));
    assert_eq!(bare.ack().await.verdict(), Verdict::Recorded);
    client.until(&id, State::ExecutionCompleted).await;
    let ended = bare.hear.message().await.expect("no error");
    assert_eq!(ended, None, "the stream ends once everything is reported");
}

#[tokio::test]
async fn who_comes_back_without_a_task_is_handed_it_again_at_once_as_the_same_attempt() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("single", &[("only", &[])]).await;
    let mut bare = Bare::hello(&instance, 4, &[]).await;
    client.execute("single", json!({})).await;
    client.execute("single", json!({})).await;
    let (kept, lost) = (bare.task().await, bare.task().await);
    drop(bare);
    let mut back = Bare::hello(&instance, 4, &[&kept.token]).await;
    let again = back.task().await;
    assert_eq!(again.execution_id, lost.execution_id);
    // A function keeps nothing for anybody: whoever comes begins the next attempt.
    let attempt = if std::env::var("LAZARUS_TEST_SHAPE").is_ok() { 2 } else { 1 };
    assert_eq!(again.attempt, attempt);
    assert_eq!(back.hear_within(1_500).await, None, "what it is still at is not handed out");
    for token in [&kept.token, &again.token] {
        back.report(token, &json!(1));
        assert_eq!(back.ack().await.verdict(), Verdict::Recorded);
    }
}

#[tokio::test]
async fn what_a_report_brings_is_not_lost_with_the_stream_that_reported() {
    let slow: Latency = "put=600ms,get=1ms,list=1ms,delete=1ms".parse().expect("times");
    let store = Bucket::new().store().await.slowed(slow, &SystemEnv::shared());
    let instance = Instance::start(store, &Setup::new()).await;
    let mut client = instance.client().await;
    client.blueprint("pair", &[("first", &[]), ("second", &["first"])]).await;
    let mut bare = Bare::hello(&instance, 1, &[]).await;
    client.execute("pair", json!({})).await;
    let first = bare.task().await;
    bare.report(&first.token, &json!(1));
    // The next task is meant for this stream by now, and the commit that says so is on its way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(bare);
    let mut back = Bare::hello(&instance, 1, &[]).await;
    assert_eq!(back.task().await.step, "second", "long before its lease of minutes ends");
}

#[tokio::test]
async fn what_a_place_was_given_goes_back_when_nobody_takes_it() {
    let instance = lone_instance().await;
    let (mut client, engine) = (instance.client().await, &instance.engine);
    client.blueprint("pair", &[("first", &[]), ("second", &["first"])]).await;
    client.execute("pair", json!({})).await;
    let poll = || PollRequest::of("w", Duration::from_secs(10));
    let first = engine.poll(poll()).await.expect("is polled").expect("a task");
    let seat = engine.sit(poll()).await;
    let outcome = Outcome::Succeeded(Payload::of(json!(1)));
    let place = Some(seat.place());
    engine.submit_at(place, &first.token, "w", outcome).await.expect("is reported");
    // The commit has given the place its task by now.
    drop(seat);
    let second = engine.poll(poll()).await.expect("is polled").expect("long before its lease ends");
    assert_eq!(&*second.token.task.step, "second");
}

#[tokio::test]
async fn a_report_that_the_store_does_not_take_keeps_no_other_task_for_long() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    let instance =
        Instance::start(Bucket::over(faulty.objects()).store().await, &Setup::new()).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    let mut bare = Bare::hello(&instance, 1, &[]).await;
    client.execute("one", json!({})).await;
    let first = bare.task().await;
    instance.settle().await;
    faulty.plan(Rule::on(Op::Put, "run/", Fault::Hang));
    bare.report(&first.token, &json!(1));
    assert_eq!(bare.hear_within(200).await, None, "its commit is not answered");
    // The place that the report keeps is the only one that waits.
    let other = client.execute("one", json!({})).await;
    let task = client.poll("w2", 8_000).await.expect("it is not kept until the report is answered");
    assert_eq!(task.execution_id, other);
}

#[tokio::test]
async fn what_is_no_report_is_refused_with_words_and_the_stream_goes_on() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("single", &[("only", &[])]).await;
    let mut bare = Bare::hello(&instance, 1, &[]).await;
    client.execute("single", json!({})).await;
    let task = bare.task().await;
    bare.say(work_request::Message::Report(Report { token: "nonsense".to_owned(), outcome: None }));
    let ack = bare.ack().await;
    assert_eq!((ack.verdict(), ack.token.as_str()), (Verdict::Refused, "nonsense"));
    let outcome = Some(v1::report::Outcome::OutputJson(b"{".to_vec()));
    bare.say(work_request::Message::Report(Report { token: task.token.clone(), outcome }));
    let ack = bare.ack().await;
    assert_eq!(ack.verdict(), Verdict::Refused);
    assert!(ack.message.starts_with("`output_json` is not JSON"), "{}", ack.message);
    bare.report(&task.token, &json!(1));
    assert_eq!(bare.ack().await.verdict(), Verdict::Recorded);
}

#[tokio::test]
async fn a_stream_without_a_hello_or_with_a_bad_one_is_refused() {
    let instance = lone_instance().await;
    let drain = work_request::Message::Drain(v1::Drain {});
    let refused = Bare::open(&instance, drain).await.err().expect("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("must be a `hello`"), "{refused}");
    let hello = Hello { worker_id: String::new(), ..Hello::default() };
    let refused = Bare::open(&instance, work_request::Message::Hello(hello)).await.err();
    assert!(refused.expect("refused").message().contains("`worker_id` is empty"));
    let hello = Hello { worker_id: "w".to_owned(), slots: 5_000, ..Hello::default() };
    let refused = Bare::open(&instance, work_request::Message::Hello(hello)).await.err();
    assert!(refused.expect("refused").message().contains("at most 1024"));
    let nameless = worker::Worker::new(&format!("http://{}", instance.address), "").expect("one");
    let error = nameless.run(std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("`worker_id` is empty"), "{error}");
}

#[tokio::test]
async fn an_instance_that_goes_down_ends_its_streams_and_the_work_goes_on_elsewhere() {
    let bucket = Bucket::new();
    let setup = Setup::new().guard(Duration::from_secs(1)).lease(Duration::from_secs(2));
    let (goes, stays) = (
        Instance::start(bucket.store().await, &setup).await,
        Instance::start(bucket.store().await, &setup).await,
    );
    put_chain(&goes).await;
    let (one, other) = (
        Running::start(chain_worker(&goes, "rust-1", 4)),
        Running::start(chain_worker(&stays, "rust-2", 4)),
    );
    let mut client = stays.client().await;
    let mut ids = vec![];
    for _ in 0..10 {
        ids.push(client.execute("chain", json!({})).await);
    }
    goes.end().await;
    for id in &ids {
        client.until(id, State::ExecutionCompleted).await;
    }
    other.end().await;
    one.ended.abort();
}
