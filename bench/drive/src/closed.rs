//! Clients that each send the next when the one before has ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::Value;

use crate::{Client, Closed, PAUSE, figures, figures::Ended};

/// Each client runs one execution after the other; those that end within the asked seconds after the
/// warm-up count. What was begun is waited for, so that nothing is left for the next measurement.
///
/// # Errors
///
/// A client panicked. What a system answers badly is counted instead.
pub async fn closed<C: Client>(clients: Vec<C>, asked: &Closed) -> anyhow::Result<Value> {
    let [seconds, warm_up] = [asked.seconds, asked.warm_up].map(Duration::from_secs_f64);
    let begin = Instant::now() + warm_up;
    let end = begin + seconds;
    let workload: Arc<str> = asked.workload.as_str().into();
    let tasks = clients.into_iter().map(|client| {
        let workload = Arc::clone(&workload);
        tokio::spawn(async move { one_after_the_other(client, &workload, begin, end).await })
    });
    let mut ended = Ended::default();
    for task in join_all(tasks).await {
        ended.add(task?);
    }
    Ok(figures::of(ended, seconds))
}

async fn one_after_the_other<C: Client>(
    mut client: C,
    workload: &str,
    begin: Instant,
    end: Instant,
) -> Ended {
    let mut ended = Ended::default();
    while Instant::now() < end {
        let started = Instant::now();
        match client.run(workload, None).await {
            Ok(()) => {
                ended.all += 1;
                if (begin..end).contains(&Instant::now()) {
                    ended.times.push(started.elapsed());
                }
            }
            Err(error) => {
                ended.refused(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    ended
}

/// Each of `clients` makes one call after the other for `seconds`.
///
/// # Errors
///
/// A call failed.
pub async fn calls<C, F, R>(clients: Vec<C>, seconds: Duration, call: F) -> anyhow::Result<Value>
where
    C: Send + 'static,
    F: Fn(C) -> R + Clone + Send + 'static,
    R: Future<Output = anyhow::Result<C>> + Send,
{
    let end = Instant::now() + seconds;
    let tasks = clients.into_iter().map(|mut client| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut times = vec![];
            while Instant::now() < end {
                let begun = Instant::now();
                client = call(client).await?;
                times.push(begun.elapsed());
            }
            anyhow::Ok(times)
        })
    });
    let mut ended = Ended::default();
    for task in join_all(tasks).await {
        ended.times.extend(task??);
    }
    ended.all = ended.times.len();
    Ok(figures::of(ended, seconds))
}
