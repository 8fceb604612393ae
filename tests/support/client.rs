//! Clients and workers as any would be written: the generated client of both interfaces.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lazarus::proto::{
    cerebelum::{self as wire, worker_service_client::WorkerServiceClient},
    lazarus::{
        self as v1, blueprint_service_client::BlueprintServiceClient,
        execution_service_client::ExecutionServiceClient,
    },
};
use serde_json::Value;
use tonic::transport::Channel;

/// How long anything may take before a test gives up on it: less than the default guard, which would
/// bring back what was lost on the way and hide that.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A raw client of the worker protocol and of our own interface.
#[derive(Clone, Debug)]
pub struct Client {
    pub worker: WorkerServiceClient<Channel>,
    pub executions: ExecutionServiceClient<Channel>,
    pub blueprints: BlueprintServiceClient<Channel>,
}

/// A step's name and what it depends on.
pub type Steps<'a> = &'a [(&'a str, &'a [&'a str])];

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
        Self::over(channel.connect_lazy())
    }

    /// A client on a connection of the test's own.
    pub fn over(channel: Channel) -> Self {
        let worker = WorkerServiceClient::new(channel.clone()).max_decoding_message_size(32 << 20);
        Self {
            worker,
            executions: ExecutionServiceClient::new(channel.clone()),
            blueprints: BlueprintServiceClient::new(channel),
        }
    }

    /// Submits a blueprint as the SDK does.
    pub async fn submit_blueprint(
        &mut self,
        name: &str,
        definition: wire::WorkflowDefinition,
    ) -> wire::BlueprintValidation {
        let blueprint = wire::Blueprint {
            workflow_module: name.to_owned(),
            language: "python".to_owned(),
            definition: Some(definition),
            ..Default::default()
        };
        self.worker.submit_blueprint(blueprint).await.expect("an answer").into_inner()
    }

    /// Submits a blueprint; its version.
    pub async fn blueprint(&mut self, name: &str, steps: Steps<'_>) -> u32 {
        let step = |(name, depends_on): &(&str, &[&str])| v1::BlueprintStep {
            name: (*name).to_owned(),
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let request = v1::PutBlueprintRequest {
            name: name.to_owned(),
            steps: steps.iter().map(step).collect(),
            ..Default::default()
        };
        self.blueprints.put(request).await.expect("a valid blueprint").into_inner().version
    }

    /// Starts an execution of the newest version; its id.
    pub async fn execute(&mut self, workflow: &str, input: Value) -> String {
        let request = wire::ExecuteRequest {
            workflow_module: workflow.to_owned(),
            inputs: Some(structure(input)),
            ..Default::default()
        };
        let started = self.worker.execute_workflow(request).await.expect("it starts");
        started.into_inner().execution_id
    }

    /// Starts an execution through our own interface.
    pub async fn start(
        &mut self,
        request: v1::StartRequest,
    ) -> Result<v1::StartResponse, tonic::Status> {
        Ok(self.executions.start(request).await?.into_inner())
    }

    pub async fn describe(&mut self, execution: &str) -> v1::DescribeResponse {
        let request =
            v1::DescribeRequest { execution_id: execution.to_owned(), ..Default::default() };
        self.executions.describe(request).await.expect("a description").into_inner()
    }

    pub async fn status(&mut self, execution: &str) -> wire::ExecutionStatus {
        let request = wire::GetExecutionStatusRequest { execution_id: execution.to_owned() };
        self.worker.get_execution_status(request).await.expect("a status").into_inner()
    }

    /// Waits until the execution stands so.
    pub async fn until(
        &mut self,
        execution: &str,
        state: wire::ExecutionState,
    ) -> wire::ExecutionStatus {
        let begun = Instant::now();
        loop {
            let status = self.status(execution).await;
            if status.status() == state {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "not {state:?} in time: {status:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Polls once.
    pub async fn poll(&mut self, worker: &str, timeout_ms: i32) -> Option<wire::Task> {
        let request = wire::PollRequest { worker_id: worker.to_owned(), timeout_ms };
        let task = self.worker.poll_for_task(request).await.expect("a poll").into_inner();
        (!task.task_id.is_empty()).then_some(task)
    }

    /// Submits a result.
    pub async fn submit(&mut self, worker: &str, task: &wire::Task, done: Done) -> wire::Ack {
        let result = done.result(worker, task);
        self.worker.submit_result(result).await.expect("an answer").into_inner()
    }

    pub async fn register(&mut self, worker: &str, steps: &[&str]) {
        let request = wire::RegisterRequest {
            worker_id: worker.to_owned(),
            capabilities: steps.iter().map(|step| (*step).to_owned()).collect(),
            ..Default::default()
        };
        assert!(self.worker.register(request).await.expect("an answer").into_inner().success);
    }

    /// The events of an execution's newest run, oldest first.
    pub async fn events(&mut self, execution: &str) -> Vec<Value> {
        let request =
            v1::HistoryRequest { execution_id: execution.to_owned(), ..Default::default() };
        let mut stream = self.executions.history(request).await.expect("a history").into_inner();
        let mut events = vec![];
        while let Some(event) = stream.message().await.expect("an event") {
            events.push(serde_json::from_str(&event.event_json).expect("JSON"));
        }
        events
    }
}

/// How a step ends.
#[derive(Clone, Debug)]
pub enum Done {
    Success(Value),
    Failure(&'static str),
    Sleep { millis: i64, data: Value },
    Approval { timeout_ms: i64 },
    NotFound,
}

impl Done {
    pub fn result(self, worker: &str, task: &wire::Task) -> wire::TaskResult {
        let mut result = wire::TaskResult {
            task_id: task.task_id.clone(),
            execution_id: task.execution_id.clone(),
            worker_id: worker.to_owned(),
            ..Default::default()
        };
        let error = |kind: &str, message: &str| wire::ErrorInfo {
            kind: kind.to_owned(),
            message: message.to_owned(),
            stacktrace: String::new(),
        };
        match self {
            Self::Success(value) => {
                result.set_status(wire::TaskStatus::Success);
                result.result = Some(structure(value));
            }
            Self::Failure(message) => {
                result.set_status(wire::TaskStatus::Failed);
                result.error = Some(error("ValueError", message));
            }
            Self::Sleep { millis, data } => {
                result.set_status(wire::TaskStatus::Sleep);
                let data = Some(structure(data));
                result.sleep_request = Some(wire::SleepRequest { duration_ms: millis, data });
            }
            Self::Approval { timeout_ms } => {
                result.set_status(wire::TaskStatus::Approval);
                result.approval_request = Some(wire::ApprovalRequest {
                    approval_type: "manual".to_owned(),
                    data: Some(structure(serde_json::json!({"sum": 7}))),
                    timeout_ms,
                });
            }
            Self::NotFound => {
                result.set_status(wire::TaskStatus::Failed);
                result.error = Some(error("not_found", "no such step"));
            }
        }
        result
    }
}

/// Works for `worker` until it is dropped: every task is answered by `work`.
#[derive(Debug)]
pub struct Worker(tokio::task::JoinHandle<()>);

impl Worker {
    pub fn start(
        client: Client,
        worker: &str,
        work: impl Fn(&wire::Task) -> Done + Send + 'static,
    ) -> Self {
        let (mut client, worker) = (client, worker.to_owned());
        Self(tokio::spawn(async move {
            loop {
                let request = wire::PollRequest { worker_id: worker.clone(), timeout_ms: 5_000 };
                let Ok(task) = client.worker.poll_for_task(request).await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let task = task.into_inner();
                if task.task_id.is_empty() {
                    continue;
                }
                let result = work(&task).result(&worker, &task);
                let _answer = client.worker.submit_result(result).await;
            }
        }))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A timeline as it travels.
pub fn timeline(steps: Steps<'_>) -> Vec<wire::Step> {
    let step = |(name, depends_on): &(&str, &[&str])| wire::Step {
        name: (*name).to_owned(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    steps.iter().map(step).collect()
}

/// A diverge rule as it travels: patterns, and where each leads.
pub fn diverge(from: &str, arms: &[(&str, &str)]) -> wire::DivergeRule {
    let arm = |(pattern, target): &(&str, &str)| wire::PatternMatch {
        pattern: (*pattern).to_owned(),
        target: (*target).to_owned(),
    };
    wire::DivergeRule { from_step: from.to_owned(), patterns: arms.iter().map(arm).collect() }
}

/// A branch rule as it travels: conditions, and where each leads.
pub fn branch(from: &str, arms: &[(&str, &str)]) -> wire::BranchRule {
    let arm = |(condition, target): &(&str, &str)| wire::ConditionBranch {
        condition: (*condition).to_owned(),
        target: (*target).to_owned(),
    };
    wire::BranchRule { from_step: from.to_owned(), branches: arms.iter().map(arm).collect() }
}

/// A JSON object as it travels.
pub fn structure(value: Value) -> prost_types::Struct {
    let Value::Object(fields) = value else { panic!("not an object: {value}") };
    let fields: BTreeMap<String, prost_types::Value> =
        fields.into_iter().map(|(name, value)| (name, wire_value(value))).collect();
    prost_types::Struct { fields }
}

fn wire_value(value: Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a number")),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.into_iter().map(wire_value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(structure(value)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// What travelled, as JSON.
pub fn json(value: &prost_types::Struct) -> Value {
    let fields = value.fields.iter().map(|(name, value)| (name.clone(), json_value(value)));
    Value::Object(fields.collect())
}

fn json_value(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match value.kind.as_ref() {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(number)) => serde_json::json!(number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(json_value).collect(),
        Some(Kind::StructValue(value)) => json(value),
    }
}

/// The names of the events, in order.
pub fn kinds(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["k"].as_str().expect("a kind").to_owned()).collect()
}
