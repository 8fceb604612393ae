//! A number of executions with names, each run until it has ended, whatever happens to the server.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{Batch, Client, Named, PAUSE, now_ms};

/// How long a server may be away, or an execution take, before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs what is asked from all of `clients` at once, each execution sent again until it has ended.
///
/// Says on standard error when a quarter has ended, which is the time to kill the server. Answers when
/// each ended, by the wall clock.
///
/// # Errors
///
/// One has not ended for three minutes.
pub async fn batch<C: Client>(clients: Vec<C>, asked: &Batch) -> anyhow::Result<Value> {
    let Batch { workload, clients: _, named: Named { prefix, count } } = asked;
    let count = *count;
    let at_once = clients.len();
    let ends = stream::iter(0..count).map(|n| {
        let mut client = clients[n % at_once].clone();
        let (workload, id) = (workload.to_owned(), format!("{prefix}-{n}"));
        async move { anyhow::Ok((until_ended(&mut client, &workload, &id).await?, id)) }
    });
    let mut ends = std::pin::pin!(ends.buffer_unordered(at_once));
    let mut at = vec![];
    let mut errors = 0;
    let mut last = String::new();
    while let Some(end) = ends.next().await {
        let ((ended_ms, refused), id) = end?;
        last = id;
        at.push(ended_ms);
        errors += refused;
        if at.len() == count.div_ceil(4) {
            eprintln!("a quarter has ended");
        }
    }
    at.sort_unstable();
    Ok(json!({ "count": at.len(), "errors": errors, "last": last, "ends_ms": at }))
}

async fn until_ended<C: Client>(
    client: &mut C,
    workload: &str,
    id: &str,
) -> anyhow::Result<(u64, usize)> {
    let begun = Instant::now();
    let mut refused = 0;
    loop {
        match client.run(workload, Some(id)).await {
            Ok(()) => return Ok((now_ms(), refused)),
            Err(error) if begun.elapsed() > PATIENCE => bail!("{id} has not ended: {error:#}"),
            Err(_) => {
                refused += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Resolves when the `n`th of so many a second is due; 0: at once.
pub async fn paced(begun: Instant, n: usize, per_second: u32) {
    if per_second > 0 {
        let due = n as f64 / f64::from(per_second);
        tokio::time::sleep_until((begun + Duration::from_secs_f64(due)).into()).await;
    }
}

/// Does `what` for each of `count`, with all of `clients` at once, in no order.
///
/// # Errors
///
/// The first of `what`.
pub async fn each<C, T, F, R>(clients: &[C], count: usize, what: F) -> anyhow::Result<Vec<T>>
where
    C: Clone,
    F: Fn(C, usize) -> R,
    R: Future<Output = anyhow::Result<T>>,
{
    let all = stream::iter(0..count).map(|n| what(clients[n % clients.len()].clone(), n));
    let all: Vec<_> = all.buffer_unordered(clients.len()).collect().await;
    all.into_iter().collect()
}
