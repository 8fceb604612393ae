//! The clients: a request is answered when its execution has ended.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use drive::{Client, Ended, now_ms};
use serde_json::{Value, json};

/// How many sleepers are started at once, and waited for.
const AT_ONCE: usize = 128;

/// One client of the ingress.
#[derive(Clone)]
pub struct Ingress {
    client: reqwest::Client,
    url: String,
}

impl Ingress {
    pub fn new(url: String) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().tcp_nodelay(true).build()?;
        Ok(Self { client, url })
    }

    async fn post(&self, path: &str, id: Option<&str>) -> anyhow::Result<Value> {
        let mut request = self.client.post(format!("{}/Bench/{path}", self.url));
        if let Some(id) = id {
            request = request.header("idempotency-key", id);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }
}

impl Client for Ingress {
    async fn run(&mut self, workload: &str, id: Option<&str>) -> anyhow::Result<()> {
        let sum = self.post(workload, id).await?;
        let expected = match workload {
            "chain10" => json!(10),
            "fan100" => json!(102),
            "payload" => json!(300_000),
            _ => return Ok(()),
        };
        if sum != expected {
            bail!("{workload} came to {sum}, and not to {expected}: a step counted twice, or not");
        }
        Ok(())
    }
}

/// Starts `count` sleepers, `AT_ONCE` at a time.
pub async fn start(
    ingress: &Ingress,
    prefix: &str,
    count: usize,
    per_second: u32,
) -> anyhow::Result<Value> {
    let begun = Instant::now();
    drive::each(&vec![ingress.clone(); AT_ONCE], count, |client, n| {
        let id = format!("{prefix}-{n}");
        async move {
            drive::paced(begun, n, per_second).await;
            client.post("sleeper/send", Some(&id)).await
        }
    })
    .await?;
    Ok(json!({ "starting_s": begun.elapsed().as_secs_f64() }))
}

/// Waits for sleepers that were started, and asks each how late it was.
pub async fn wait(ingress: &Ingress, prefix: &str, count: usize) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let late = drive::each(&vec![ingress.clone(); AT_ONCE], count, |client, n| {
        let id = format!("{prefix}-{n}");
        async move {
            let late = client.post("sleeper", Some(&id)).await?;
            let Some(late) = late.as_u64() else { bail!("{id} answered {late}") };
            Ok((now_ms(), Duration::from_millis(late)))
        }
    })
    .await?;
    let (mut ends, times): (Vec<_>, Vec<_>) = late.into_iter().unzip();
    ends.sort_unstable();
    let ended = Ended { all: times.len(), times, ..Ended::default() };
    let mut figures = drive::of(ended, begun.elapsed());
    figures["ends_ms"] = ends.into();
    Ok(figures)
}

/// One long run, from its start to its end.
pub async fn long(ingress: &Ingress, steps: u64) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let request = ingress.client.post(format!("{}/Bench/long", ingress.url)).json(&steps);
    let parts: Value = request.send().await?.error_for_status()?.json().await?;
    let [first, last] = [&parts[0], &parts[1]].map(|part| part.as_f64().map(|ms| ms / 100.0));
    Ok(json!({
        "count": 1, "ended": 1, "errors": 0,
        "seconds": begun.elapsed().as_secs_f64(),
        "first_step_ms": first, "last_step_ms": last,
    }))
}
