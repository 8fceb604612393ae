//! What the log of an execution says.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail, ensure};
use lazarus::proto::lazarus::{HistoryRequest, execution_service_client::ExecutionServiceClient};
use serde_json::Value;
use tonic::transport::Channel;

/// How many steps the times at the ends of a long run are taken over.
const PART: usize = 100;

/// One event, and when its commit was made.
pub struct Entry {
    at_ms: u64,
    event: Value,
}

impl Entry {
    fn kind(&self) -> &str {
        self.event["k"].as_str().unwrap_or_default()
    }
}

/// All of it, oldest first.
pub async fn of(
    client: &mut ExecutionServiceClient<Channel>,
    execution: &str,
) -> anyhow::Result<Vec<Entry>> {
    let request =
        HistoryRequest { execution_id: execution.to_owned(), ..HistoryRequest::default() };
    let mut history = client.history(request).await?.into_inner();
    let mut entries = vec![];
    while let Some(entry) = history.message().await? {
        let time = entry.time.context("a time")?;
        let at_ms = u64::try_from(time.seconds)? * 1_000 + u64::try_from(time.nanos)? / 1_000_000;
        entries.push(Entry { at_ms, event: serde_json::from_str(&entry.event_json)? });
    }
    Ok(entries)
}

/// How long after it was due its sleep ended.
pub fn lateness(history: &[Entry]) -> anyhow::Result<Duration> {
    let found = |kind| history.iter().find(|entry| entry.kind() == kind);
    let until = found("sleep_started").context("it has not slept")?.event["until"].as_u64();
    let until = until.context("a sleep without an end")?;
    let ended = found("sleep_ended").context("it still sleeps")?.at_ms;
    if ended < until {
        bail!("it slept {} ms too little", until - ended);
    }
    Ok(Duration::from_millis(ended - until))
}

/// How many attempts it took; fails unless it has completed, and each of `steps` steps exactly once.
pub fn completed_once(history: &[Entry], steps: usize) -> anyhow::Result<usize> {
    let mut results: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut attempts, mut ends) = (0, 0);
    for entry in history {
        match entry.kind() {
            "step_completed" | "sleep_ended" => {
                *results.entry(entry.event["step"].as_str().unwrap_or_default()).or_default() += 1;
            }
            "step_started" => attempts += 1,
            "execution_completed" => ends += 1,
            _ => {}
        }
    }
    ensure!(ends == 1, "it completed {ends} times");
    ensure!(results.len() == steps, "{} of {steps} steps have a result", results.len());
    let twice = results.iter().find(|(_, results)| **results != 1);
    ensure!(twice.is_none(), "a step has several results: {twice:?}");
    Ok(attempts)
}

/// How long a step took at its begin and at its end, on average of a hundred.
pub fn steps_at_both_ends(history: &[Entry]) -> anyhow::Result<(Duration, Duration)> {
    let at: Vec<u64> =
        history.iter().filter(|it| it.kind() == "step_completed").map(|it| it.at_ms).collect();
    ensure!(at.len() > 2 * PART, "it has only {} steps", at.len());
    let each = |from: u64, to: u64| Duration::from_millis(to - from) / PART as u32;
    let end = at.len() - 1;
    Ok((each(at[0], at[PART]), each(at[end - PART], at[end])))
}
