//! The workers: steps that do nothing, so that everything measured is the engine's.

use std::time::Duration;

use lazarus::{
    proto::cerebelum::{
        PollRequest, SleepRequest, Task, TaskResult, TaskStatus,
        worker_service_client::WorkerServiceClient,
    },
    worker::{Call, Output, Worker},
};
use prost_types::value::Kind;
use tonic::transport::{Channel, Endpoint};

use crate::workloads::{self, Does, SLEEP, what};

/// On one stream, for ever: the steps of a long run, or those of all other workloads. A worker has ten
/// thousand at most.
pub async fn stream(engine: &str, slots: u32, long: Option<usize>) -> anyhow::Result<()> {
    let (id, steps) = match long {
        Some(steps) => ("bench-long", workloads::long(steps)),
        None => ("bench", workloads::all().into_iter().flat_map(|(_, steps)| steps).collect()),
    };
    let mut worker = Worker::new(engine, id)?.slots(slots);
    for (name, _) in steps {
        worker = worker.step(&name, async |call: Call| {
            Ok(match what(&call.step) {
                Does::One => Output::value(1),
                Does::Sleeps => Output::sleep(SLEEP),
                Does::Text => Output::value(drive::payload()),
            })
        });
    }
    Ok(worker.run(std::future::pending()).await?)
}

/// By so many polls at once, for ever.
pub async fn poll(engine: &str, slots: u32) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(engine.to_owned())?.tcp_nodelay(true).connect().await?;
    let polls =
        (0..slots).map(|n| tokio::spawn(poll_for_ever(channel.clone(), format!("bench-{n}"))));
    futures::future::join_all(polls).await;
    Ok(())
}

async fn poll_for_ever(channel: Channel, worker: String) {
    let mut client = WorkerServiceClient::new(channel).max_decoding_message_size(32 << 20);
    loop {
        let request = PollRequest { worker_id: worker.clone(), timeout_ms: 30_000 };
        let Ok(task) = client.poll_for_task(request).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let task = task.into_inner();
        if !task.task_id.is_empty() {
            submit(&mut client, result(&worker, task)).await;
        }
    }
}

/// Sends it until it is answered: a result counts once, and one that is lost is missed for a lease.
async fn submit(client: &mut WorkerServiceClient<Channel>, result: TaskResult) {
    while let Err(status) = client.submit_result(result.clone()).await {
        if !matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown) {
            eprintln!("a result was refused: {status}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn result(worker: &str, task: Task) -> TaskResult {
    let mut result = TaskResult {
        task_id: task.task_id,
        execution_id: task.execution_id,
        worker_id: worker.to_owned(),
        ..TaskResult::default()
    };
    let ok = match what(&task.step_name) {
        Does::Sleeps => {
            let duration_ms = i64::try_from(SLEEP.as_millis()).unwrap_or(i64::MAX);
            result.set_status(TaskStatus::Sleep);
            result.sleep_request = Some(SleepRequest { duration_ms, data: None });
            return result;
        }
        Does::Text => Kind::StringValue(drive::payload()),
        Does::One => Kind::NumberValue(1.0),
    };
    let ok = prost_types::Value { kind: Some(ok) };
    result.set_status(TaskStatus::Success);
    result.result = Some(prost_types::Struct { fields: [("ok".to_owned(), ok)].into() });
    result
}
