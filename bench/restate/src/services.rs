//! The handlers: the workloads as a user of Restate writes them.

use std::{net::SocketAddr, time::Duration};

use drive::{now_ms, payload};
use restate_sdk::prelude::*;

/// How long a sleeper sleeps.
const SLEEP: Duration = Duration::from_secs(10);
/// How many of them its times are taken over, at its begin and at its end.
const LONG_PART: usize = 100;

struct Bench;

#[service]
impl Bench {
    #[handler]
    async fn chain10(&self, ctx: Context<'_>) -> Result<u64, TerminalError> {
        let mut sum = 0;
        for _ in 0..10 {
            sum += ctx.run(|| async { Ok(1_u64) }).await?;
        }
        Ok(sum)
    }

    /// Its SDK for Rust runs no `ctx.run` side by side: what runs side by side is called.
    #[handler]
    async fn fan100(&self, ctx: Context<'_>) -> Result<u64, TerminalError> {
        let mut sum = ctx.run(|| async { Ok(1_u64) }).await?;
        let mut calls = DurableFuturesUnordered::new();
        for _ in 0..100 {
            calls.push(ctx.service_client::<BenchClient>().one().call());
        }
        while let Some((_, one)) = calls.next().await? {
            sum += one?;
        }
        sum += ctx.run(|| async { Ok(1_u64) }).await?;
        Ok(sum)
    }

    #[handler]
    async fn one(&self, _ctx: Context<'_>) -> Result<u64, TerminalError> {
        Ok(1)
    }

    #[handler]
    async fn payload(&self, ctx: Context<'_>) -> Result<u64, TerminalError> {
        let mut sum = 0;
        for _ in 0..3 {
            sum += ctx.run(|| async { Ok(payload()) }).await?.len();
        }
        Ok(sum as u64)
    }

    /// How many milliseconds after it was due the sleep ended.
    #[handler]
    async fn sleeper(&self, ctx: Context<'_>) -> Result<u64, TerminalError> {
        let begun = ctx.run(|| async { Ok(now_ms()) }).await?;
        ctx.sleep(SLEEP).await?;
        let ended = ctx.run(|| async { Ok(now_ms()) }).await?;
        Ok(ended.saturating_sub(begun + SLEEP.as_millis() as u64))
    }

    /// How many milliseconds its first steps took, and its last.
    #[handler]
    async fn long(&self, ctx: Context<'_>, steps: u64) -> Result<Json<(u64, u64)>, TerminalError> {
        let mut at = vec![];
        for _ in 0..steps {
            at.push(ctx.run(|| async { Ok(now_ms()) }).await?);
        }
        let Some(last) = at.len().checked_sub(1).filter(|last| *last > LONG_PART) else {
            return Err(TerminalError::new("too few steps"));
        };
        Ok(Json((at[LONG_PART] - at[0], at[last] - at[last - LONG_PART])))
    }
}

pub async fn serve(address: SocketAddr) {
    HttpServer::new(Endpoint::builder().bind(Bench).build()).listen_and_serve(address).await;
}
