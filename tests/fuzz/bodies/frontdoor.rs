//! The whole front door, without a socket: any bytes as any request, in any order. Each is answered
//! by a code that says what its sender did wrong, the engine goes on, and the store stays sound.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Buf, BufMut};
use futures::future::{BoxFuture, Either, select};
use lazarus::{
    engine::{Auditor, Config, Engine, Finding},
    env::Env,
    frontdoor::FrontDoor,
    proto::{
        cerebelum::{self as wire, worker_service_server::WorkerServiceServer},
        lazarus::{
            self as v1, blueprint_service_server::BlueprintServiceServer,
            execution_service_server::ExecutionServiceServer,
            queue_service_server::QueueServiceServer, task_service_server::TaskServiceServer,
        },
    },
    store::{Store, Traits},
    workflow::Timestamp,
};
use object_store::memory::InMemory;
use prost::Message;
use tokio::sync::oneshot;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    service::{Routes, RoutesBuilder},
};

use super::Verdict;

/// A call that there is.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its path.
    pub path: &'static str,
    /// Whether the bytes are its request.
    pub reads: fn(&[u8]) -> bool,
}

macro_rules! method {
    ($service:literal, $name:literal, $request:ty) => {
        Method {
            path: concat!("/", $service, "/", $name),
            reads: |bytes| <$request>::decode(bytes).is_ok(),
        }
    };
}

/// All calls of all our services; an input names one by its place.
pub const METHODS: [Method; 33] = [
    method!("cerebelum.worker.WorkerService", "Register", wire::RegisterRequest),
    method!("cerebelum.worker.WorkerService", "Heartbeat", wire::HeartbeatRequest),
    method!("cerebelum.worker.WorkerService", "Unregister", wire::UnregisterRequest),
    method!("cerebelum.worker.WorkerService", "PollForTask", wire::PollRequest),
    method!("cerebelum.worker.WorkerService", "SubmitResult", wire::TaskResult),
    method!("cerebelum.worker.WorkerService", "SubmitBlueprint", wire::Blueprint),
    method!("cerebelum.worker.WorkerService", "ExecuteWorkflow", wire::ExecuteRequest),
    method!(
        "cerebelum.worker.WorkerService",
        "GetExecutionStatus",
        wire::GetExecutionStatusRequest
    ),
    method!("cerebelum.worker.WorkerService", "ListExecutions", wire::ListExecutionsRequest),
    method!("cerebelum.worker.WorkerService", "ResumeExecution", wire::ResumeExecutionRequest),
    method!("cerebelum.worker.WorkerService", "ApproveStep", wire::ApproveStepRequest),
    method!("cerebelum.worker.WorkerService", "RejectStep", wire::RejectStepRequest),
    method!("lazarus.v1.ExecutionService", "Start", v1::StartRequest),
    method!("lazarus.v1.ExecutionService", "Describe", v1::DescribeRequest),
    method!("lazarus.v1.ExecutionService", "History", v1::HistoryRequest),
    method!("lazarus.v1.ExecutionService", "Log", v1::LogRequest),
    method!("lazarus.v1.ExecutionService", "List", v1::ListRequest),
    method!("lazarus.v1.ExecutionService", "Approve", v1::ApproveRequest),
    method!("lazarus.v1.ExecutionService", "Reject", v1::RejectRequest),
    method!("lazarus.v1.ExecutionService", "Resume", v1::ResumeRequest),
    method!("lazarus.v1.ExecutionService", "Cancel", v1::CancelRequest),
    method!("lazarus.v1.ExecutionService", "ListDead", v1::ListDeadRequest),
    method!("lazarus.v1.ExecutionService", "RetryDead", v1::RetryDeadRequest),
    method!("lazarus.v1.BlueprintService", "Put", v1::PutBlueprintRequest),
    method!("lazarus.v1.BlueprintService", "Get", v1::GetBlueprintRequest),
    method!("lazarus.v1.BlueprintService", "List", v1::ListBlueprintsRequest),
    method!("lazarus.v1.QueueService", "Set", v1::SetQueueRequest),
    method!("lazarus.v1.QueueService", "Get", v1::GetQueueRequest),
    method!("lazarus.v1.QueueService", "List", v1::ListQueuesRequest),
    method!("lazarus.v1.QueueService", "Delete", v1::DeleteQueueRequest),
    method!("lazarus.v1.ExecutionService", "Wait", v1::WaitRequest),
    method!("lazarus.v1.TaskService", "Work", v1::WorkRequest),
    method!("lazarus.v1.ExecutionService", "Execute", v1::ExecuteRequest),
];

/// How many requests one input sends at most.
const REQUESTS_MAX: usize = 12;
/// The run of [`VICTIM`] in inputs: its own id, of the same length, takes the place of this one.
const RUN: [u8; 32] = [b'0'; 32];
/// The execution whose first step `w1` has been handed.
const VICTIM: &str = "order-17";

/// `data` as requests, each the place of a method, its length in two bytes, and its bytes; the last
/// is as long as there are bytes.
pub fn frontdoor(data: &[u8]) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let clock = Arc::new(Clock::default());
    let work = async {
        let world = World::new(&clock).await;
        let mut accepted = false;
        for (method, body) in requests(data) {
            accepted |= world.send(method, world.named(body)).await;
        }
        world.is_sound().await;
        accepted
    };
    Verdict::of(runtime.block_on(clock.drive(work)))
}

fn requests(mut data: &[u8]) -> impl Iterator<Item = (Method, &[u8])> {
    let next = move || {
        let (head, rest) = data.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        data = rest;
        Some((METHODS[usize::from(head[0]) % METHODS.len()], body))
    };
    std::iter::from_fn(next).take(REQUESTS_MAX)
}

/// An engine with an execution that is under way, one that waits for a person, and one that failed.
struct World {
    engine: Engine,
    routes: Routes,
    run: String,
}

impl World {
    async fn new(clock: &Arc<Clock>) -> Self {
        let traits = Traits { ordered: true, ..Traits::NONE };
        let store = Store::wrap(Arc::new(InMemory::new()), traits, "memory");
        let engine = Engine::new(store, clock.clone(), 1, Config::of("fuzz/0"));
        let mut routes = RoutesBuilder::default();
        let door = FrontDoor::new(engine.clone());
        routes
            .add_service(WorkerServiceServer::new(door.clone()))
            .add_service(ExecutionServiceServer::new(door.clone()))
            .add_service(BlueprintServiceServer::new(door.clone()))
            .add_service(QueueServiceServer::new(door.clone()))
            .add_service(TaskServiceServer::new(door));
        let mut world = Self { engine, routes: routes.routes(), run: String::new() };
        world.prepare().await;
        world
    }

    async fn prepare(&mut self) {
        let step = |name: &str, on: &[&str]| v1::BlueprintStep {
            name: name.to_owned(),
            depends_on: on.iter().map(|&name| name.to_owned()).collect(),
            ..Default::default()
        };
        let arm =
            v1::RuleArm { when: "refused".to_owned(), to: "END".to_owned(), ..Default::default() };
        let rule = v1::BlueprintRule {
            from: "charge".to_owned(),
            kind: v1::RuleKind::Diverge.into(),
            arms: vec![arm],
        };
        let orders = v1::PutBlueprintRequest {
            name: "orders".to_owned(),
            steps: vec![step("charge", &[]), step("ship", &["charge"])],
            rules: vec![rule],
            ..Default::default()
        };
        self.must("BlueprintService/Put", &orders).await;
        for execution in ["order-19", "order-18", VICTIM] {
            let start = v1::StartRequest {
                workflow: "orders".to_owned(),
                execution_id: execution.to_owned(),
                ..Default::default()
            };
            let started = self.must("ExecutionService/Start", &start).await;
            self.run = v1::StartResponse::decode(&*started).expect("an answer").run_id;
            let poll = wire::PollRequest { worker_id: "w1".to_owned(), timeout_ms: 1 };
            let task = self.must("WorkerService/PollForTask", &poll).await;
            let task = wire::Task::decode(&*task).expect("an answer");
            let result = wire::TaskResult {
                task_id: task.task_id,
                worker_id: "w1".to_owned(),
                ..Default::default()
            };
            let result = match execution {
                "order-19" => {
                    wire::TaskResult { status: wire::TaskStatus::Failed.into(), ..result }
                }
                "order-18" => wire::TaskResult {
                    status: wire::TaskStatus::Approval.into(),
                    approval_request: Some(wire::ApprovalRequest::default()),
                    ..result
                },
                _ => continue,
            };
            self.must("WorkerService/SubmitResult", &result).await;
        }
    }

    async fn must(&self, name: &str, request: &impl Message) -> Vec<u8> {
        let method = METHODS.iter().find(|method| method.path.ends_with(name)).expect("a method");
        self.call(method, request.encode_to_vec()).await.expect("an honest request is answered")
    }

    /// `body` with the id of the victim's run where its place is.
    fn named(&self, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        let mut at = 0;
        while at + RUN.len() <= body.len() {
            if body[at..].starts_with(&RUN) {
                body[at..at + RUN.len()].copy_from_slice(self.run.as_bytes());
            }
            at += 1;
        }
        body
    }

    /// Sends a request; whether it was taken. How it may be refused is a promise.
    async fn send(&self, method: Method, body: Vec<u8>) -> bool {
        let is_read = (method.reads)(&body);
        let Err(refused) = self.call(&method, body).await else {
            assert!(is_read, "{} answered what it can not read", method.path);
            return true;
        };
        match refused.code() {
            Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition => {
                assert!(!refused.message().is_empty(), "a refusal says why");
                assert!(is_read, "{}: {refused}", method.path);
            }
            // What is no message at all is refused before it comes to us.
            Code::Internal if !is_read => {}
            _ => panic!("{} on a sound store: {refused}", method.path),
        }
        false
    }

    async fn call(&self, method: &Method, body: Vec<u8>) -> Result<Vec<u8>, Status> {
        let mut client = Grpc::new(self.routes.clone());
        let ready = client.ready().await;
        assert!(ready.is_ok(), "the front door is open");
        let path = http::uri::PathAndQuery::from_static(method.path);
        // A call with one request, or one answer, is one with a stream of one.
        let mut requests = vec![body];
        if method.path.ends_with("TaskService/Work") {
            requests.insert(0, hello());
        }
        let requests = futures::stream::iter(requests);
        let answered = client.streaming(Request::new(requests), path, Raw).await?;
        let mut answers = answered.into_inner();
        let mut all = vec![];
        while let Some(answer) = answers.message().await? {
            all.extend(answer);
        }
        Ok(all)
    }

    /// Whatever was asked: ticks end, honest requests are answered, and an audit finds no fault.
    async fn is_sound(&self) {
        while self.engine.tick().await.expect("a pass").more {}
        let describe =
            v1::DescribeRequest { execution_id: VICTIM.to_owned(), ..Default::default() };
        self.must("ExecutionService/Describe", &describe).await;
        self.must("ExecutionService/List", &v1::ListRequest::default()).await;
        assert!(self.engine.drain(Duration::from_mins(1)).await, "effects end");
        let mut faults = vec![];
        let auditor = Auditor::new(self.engine.store().clone(), self.engine.env().clone(), 1);
        let told = |finding: &Finding| {
            if finding.is_fault() {
                faults.push(finding.clone());
            }
        };
        auditor.audit(told).await.expect("it is read to its end");
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// With what a worker begins its stream.
fn hello() -> Vec<u8> {
    let hello = v1::Hello { worker_id: "w9".to_owned(), slots: 2, ..v1::Hello::default() };
    v1::WorkRequest { message: Some(v1::work_request::Message::Hello(hello)) }.encode_to_vec()
}

/// Messages as bytes.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// A clock that stands still while anything can run, and then jumps to whatever comes next.
#[derive(Debug, Default)]
struct Clock(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    now_ms: u64,
    drawn: u64,
    sleeps: u64,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    wakes: std::collections::HashMap<u64, oneshot::Sender<()>>,
}

/// When every input begins.
const EPOCH_MS: u64 = 1_780_000_000_000;
/// How often everything else may run before time passes: more than any chain of tasks is long.
const TURNS: usize = 16;
/// How long nothing may sleep and nothing end.
const STANDSTILL: usize = 100_000;

impl Clock {
    /// Runs `work` to its end.
    async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        let time = async {
            let mut still = 0;
            loop {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                still = if self.jump() { 0 } else { still + 1 };
                assert!(still < STANDSTILL, "a request waits for ever");
            }
        };
        let time: std::pin::Pin<&mut dyn Future<Output = T>> = pin!(time);
        match select(pin!(work), time).await {
            Either::Left((done, _)) | Either::Right((done, _)) => done,
        }
    }

    fn jump(&self) -> bool {
        let mut times = self.0.lock().expect("one thread");
        let Some(Reverse((due, id))) = times.due.pop() else { return false };
        times.now_ms = times.now_ms.max(due);
        let wake = times.wakes.remove(&id);
        drop(times);
        // Nobody hears it when the sleep was given up.
        let _heard = wake.is_some_and(|wake| wake.send(()).is_ok());
        true
    }
}

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MS + self.0.lock().expect("one thread").now_ms)
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.lock().expect("one thread").now_ms)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut times = self.0.lock().expect("one thread");
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let due = times.now_ms.saturating_add(millis).min(u64::MAX - EPOCH_MS);
        let (id, (wake, woken)) = (times.sleeps, oneshot::channel());
        times.sleeps += 1;
        times.due.push(Reverse((due, id)));
        times.wakes.insert(id, wake);
        Box::pin(async move {
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    /// `splitmix64`, twice.
    fn random(&self) -> u128 {
        let mut times = self.0.lock().expect("one thread");
        let mut draw = || {
            times.drawn = times.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (times.drawn ^ (times.drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        draw() << 64 | draw()
    }
}
