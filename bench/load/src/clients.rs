//! The clients: they start executions and wait for their ends.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use drive::{Ended, now_ms};
use lazarus::proto::lazarus::{
    BlueprintStep, ExecuteRequest, PutBlueprintRequest, StartRequest, Status, WaitRequest,
    blueprint_service_client::BlueprintServiceClient,
    execution_service_client::ExecutionServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    history,
    workloads::{self, Steps},
};

/// How many clients share a connection, as they do behind a proxy.
const PER_CONNECTION: usize = 64;
/// How many executions are started at once, and looked at, where that is not what is measured.
const AT_ONCE: usize = 128;
/// How large an answer may be: that of a large history is.
const ANSWER_BYTES_MAX: usize = 64 << 20;

async fn connect(engine: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(engine.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("no engine at {engine}"))
}

/// `count` channels, of which up to 64 share a connection.
async fn channels(engine: &str, count: usize) -> anyhow::Result<Vec<Channel>> {
    let mut connections = vec![];
    for _ in 0..count.div_ceil(PER_CONNECTION) {
        connections.push(connect(engine).await?);
    }
    Ok((0..count).map(|n| connections[n % connections.len()].clone()).collect())
}

/// Puts the blueprint of each workload.
pub async fn define(engine: &str) -> anyhow::Result<()> {
    let mut client = BlueprintServiceClient::new(connect(engine).await?);
    for (name, steps) in workloads::all() {
        put(&mut client, name, steps).await?;
    }
    Ok(())
}

async fn put(
    client: &mut BlueprintServiceClient<Channel>,
    name: &str,
    steps: Steps,
) -> anyhow::Result<()> {
    let steps = steps.into_iter().map(|(name, depends_on)| BlueprintStep {
        name,
        depends_on,
        ..BlueprintStep::default()
    });
    let request = PutBlueprintRequest {
        name: name.to_owned(),
        steps: steps.collect(),
        ..PutBlueprintRequest::default()
    };
    client.put(request).await.with_context(|| format!("the blueprint {name}"))?;
    Ok(())
}

/// One client of an engine.
#[derive(Clone)]
pub struct Client(ExecutionServiceClient<Channel>);

impl drive::Client for Client {
    async fn run(&mut self, workload: &str, id: Option<&str>) -> anyhow::Result<()> {
        let start = start_request(workload, id);
        let first = ExecuteRequest { start: Some(start), timeout_ms: 60_000 };
        let ended = self.0.execute(first).await?.into_inner();
        let Some(ended) = ended.execution else { bail!("an answer without an execution") };
        match ended.status() {
            Status::Completed => Ok(()),
            Status::Running | Status::Sleeping => {
                let (execution_id, run_id) = (ended.execution_id, ended.run_id);
                let started = WaitRequest {
                    execution_id,
                    run_id,
                    generation: ended.generation,
                    timeout_ms: 60_000,
                    ..WaitRequest::default()
                };
                self.until_completed(&started).await
            }
            other => bail!("{} is {other:?}", ended.execution_id),
        }
    }
}

impl Client {
    async fn start(&mut self, workload: &str, id: Option<&str>) -> anyhow::Result<WaitRequest> {
        let started = self.0.start(start_request(workload, id)).await?.into_inner();
        Ok(WaitRequest {
            execution_id: started.execution_id,
            run_id: started.run_id,
            generation: started.generation,
            timeout_ms: 60_000,
            ..WaitRequest::default()
        })
    }

    async fn until_completed(&mut self, started: &WaitRequest) -> anyhow::Result<()> {
        loop {
            let described = self.0.wait(started.clone()).await?.into_inner();
            match described.execution.map(|it| it.status()) {
                Some(Status::Completed) => return Ok(()),
                Some(Status::Running | Status::Sleeping) => {}
                other => bail!("{} is {other:?}", started.execution_id),
            }
        }
    }
}

fn start_request(workload: &str, id: Option<&str>) -> StartRequest {
    let id = id.unwrap_or_default().to_owned();
    StartRequest {
        workflow: workload.to_owned(),
        request_id: id.clone(),
        execution_id: id,
        version: 1,
        ..StartRequest::default()
    }
}

/// `count` clients.
pub async fn clients(engine: &str, count: usize) -> anyhow::Result<Vec<Client>> {
    let channels = channels(engine, count).await?.into_iter();
    let client =
        |it| Client(ExecutionServiceClient::new(it).max_decoding_message_size(ANSWER_BYTES_MAX));
    Ok(channels.map(client).collect())
}

fn named(prefix: &str, n: usize) -> String {
    format!("{prefix}-{n}")
}

/// Starts `count` executions as fast as it can.
pub async fn start(
    engine: &str,
    workload: &str,
    prefix: &str,
    count: usize,
    per_second: u32,
) -> anyhow::Result<Value> {
    let clients = clients(engine, AT_ONCE).await?;
    let begun = Instant::now();
    drive::each(&clients, count, |mut client, n| async move {
        drive::paced(begun, n, per_second).await;
        client.start(workload, Some(&named(prefix, n))).await
    })
    .await?;
    Ok(json!({ "starting_s": begun.elapsed().as_secs_f64() }))
}

/// Waits until all that were started have ended, and says when each had, as seen from here.
pub async fn wait(engine: &str, prefix: &str, count: usize) -> anyhow::Result<Value> {
    let clients = clients(engine, AT_ONCE).await?;
    let mut ends = drive::each(&clients, count, |mut client, n| async move {
        let named = WaitRequest {
            execution_id: named(prefix, n),
            timeout_ms: 60_000,
            ..Default::default()
        };
        client.until_completed(&named).await?;
        Ok(now_ms())
    })
    .await?;
    ends.sort_unstable();
    Ok(json!({ "count": ends.len(), "ended": ends.len(), "ends_ms": ends }))
}

/// How long after they were due the sleeps ended, by the log.
pub async fn late(engine: &str, prefix: &str, count: usize) -> anyhow::Result<Value> {
    let clients = clients(engine, AT_ONCE).await?;
    let begun = Instant::now();
    let times = drive::each(&clients, count, |mut client, n| async move {
        history::lateness(&history::of(&mut client.0, &named(prefix, n)).await?)
            .with_context(|| named(prefix, n))
    })
    .await?;
    Ok(drive::of(Ended { all: times.len(), times, ..Ended::default() }, begun.elapsed()))
}

/// Fails unless each execution has completed, and each of its steps exactly once.
pub async fn once(
    engine: &str,
    workload: &str,
    prefix: &str,
    count: usize,
) -> anyhow::Result<Value> {
    let mut all = workloads::all().into_iter();
    let (_, steps) = all.find(|(name, _)| *name == workload).context("no workload")?;
    let steps = steps.len();
    let clients = clients(engine, AT_ONCE).await?;
    let attempts = drive::each(&clients, count, |mut client, n| async move {
        history::completed_once(&history::of(&mut client.0, &named(prefix, n)).await?, steps)
            .with_context(|| named(prefix, n))
    })
    .await?;
    Ok(json!({ "count": attempts.len(), "attempts": attempts.iter().sum::<usize>() }))
}

/// One long run: how long a step takes at its begin, and at its end, by the log.
pub async fn long(engine: &str, steps: usize) -> anyhow::Result<Value> {
    let mut blueprints = BlueprintServiceClient::new(connect(engine).await?);
    put(&mut blueprints, "long", workloads::long(steps)).await?;
    let mut client = clients(engine, 1).await?.remove(0);
    let begun = Instant::now();
    let started = client.start("long", Some("long")).await?;
    client.until_completed(&started).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (first, last) = history::steps_at_both_ends(&history::of(&mut client.0, "long").await?)?;
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(json!({
        "count": 1, "ended": 1, "errors": 0, "seconds": seconds,
        "first_step_ms": millis(first), "last_step_ms": millis(last),
    }))
}

/// Bare calls: what gRPC costs here without an engine behind it.
pub async fn echo(engine: &str, count: usize, seconds: Duration) -> anyhow::Result<Value> {
    let clients = channels(engine, count).await?.into_iter().map(HealthClient::new).collect();
    drive::calls(clients, seconds, async |mut client: HealthClient<Channel>| {
        client.check(HealthCheckRequest::default()).await?;
        Ok(client)
    })
    .await
}
