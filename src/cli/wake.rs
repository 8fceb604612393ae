//! `lazarus wake`: a pass of the wake function by hand or from a schedule, with no server.

use std::{sync::Arc, time::Duration};

use clap::Args as Arguments;

use super::{exit::Failure, instance, output, serving};
use crate::{
    config::{PushArgs, Tunables, duration},
    engine::{self, Cadence, Caller, Engine, Part},
    env::Env,
    workflow::{Timestamp, WakeKind},
};

/// Do what is due on a store, then exit
///
/// Whatever sleeps is brought back by it, and the targets of push queues are called with the tasks that
/// wait for them. Run each minute with --for 55s, it stands in for a server
/// whose executions wait most of the time.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus wake --store s3://my-bucket/prod
  * * * * *  lazarus wake --store s3://my-bucket/prod --for 55s      (crontab)")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Go on looking for this long [default: until nothing more is due]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    span: Option<Duration>,
    #[command(flatten)]
    tunables: Tunables,
    #[command(flatten)]
    push: PushArgs,
}

/// The pause between two looks for tasks to push, while there are some.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two looks for tasks to push, while there are none: as a poll that waits.
const LOOK_SLOW: Duration = Duration::from_secs(10);
/// How long what a tick began may take to finish.
const DRAIN_MAX: Duration = Duration::from_mins(1);

/// Ticks until the time is over and nothing that is due is left.
///
/// No probe: it would cost more than the ticks. The layout is checked, and whoever serves the store
/// has probed it.
pub(super) async fn run(args: Args, env: Arc<dyn Env>) -> Result<(), Failure> {
    let store = instance::open_store(&args.store, args.tunables.shards, &env).await?;
    let config = engine::Config {
        // As in a function: nobody would come back for what is kept in memory.
        near_timers: false,
        reservations: false,
        ..args.tunables.engine("wake", env.as_ref())
    };
    let engine = instance::open_engine(store, &env, config).await?;
    let caller = serving::caller(&args.push)?;
    let done = passes(&engine, args.span, &caller, env.as_ref()).await;
    engine.begin_shutdown();
    if !engine.drain(DRAIN_MAX).await {
        tracing::warn!("not finished within {DRAIN_MAX:?}; whatever is open is found again");
    }
    let Done { fired, passes, calls } = done?;
    let calls = if calls > 0 { format!(", {calls} calls of push targets") } else { String::new() };
    output::line(format_args!("{fired} wake-ups in {passes} passes{calls}"))
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    fired: usize,
    passes: u32,
    calls: usize,
}

/// Ticks, and calls push targets: beside each other where there is time for it, so that a long call
/// holds up no timer; else one after the other, as the ticks bring the tasks.
async fn passes(
    engine: &Engine,
    span: Option<Duration>,
    caller: &Arc<dyn Caller>,
    env: &dyn Env,
) -> Result<Done, Failure> {
    let Some(span) = span else {
        let done = ticks(engine, None, env).await?;
        let calls = pushed(engine, caller, None).await?;
        return Ok(Done { calls, ..done });
    };
    let end = env.now().after(span);
    let pushing = async {
        let (mut calls, mut pause) = (0, LOOK);
        loop {
            let more = pushed(engine, caller, Some(end)).await?;
            calls += more;
            pause = if more > 0 { LOOK } else { (pause * 2).min(LOOK_SLOW) };
            if env.now().after(pause) > end {
                return Ok::<usize, Failure>(calls);
            }
            env.sleep(pause).await;
        }
    };
    let (done, calls) = tokio::join!(ticks(engine, Some(span), env), pushing);
    Ok(Done { calls: calls?, ..done? })
}

async fn pushed(
    engine: &Engine,
    caller: &Arc<dyn Caller>,
    until: Option<Timestamp>,
) -> Result<usize, Failure> {
    engine.push_pass(caller, until).await.map_err(|error| {
        Failure::unavailable(
            format_args!("the push queues could not be read: {error}"),
            "check the store; the tasks stay on offer",
        )
    })
}

/// Timers each second and guards each 15 s until the time is over, as in a server; with no time for it,
/// everything until nothing more is due.
async fn ticks(engine: &Engine, span: Option<Duration>, env: &dyn Env) -> Result<Done, Failure> {
    let end = env.now().after(span.unwrap_or_default());
    let mut cadence = Cadence::new(false);
    let mut done = Done::default();
    loop {
        let beat = cadence.next(env.now());
        if done.passes > 0 && env.now().after(beat.wait) >= end {
            return Ok(done);
        }
        env.sleep(beat.wait).await;
        work_off(engine, &beat.kinds, &mut done).await?;
    }
}

/// Passes until nothing more of `kinds` is due.
async fn work_off(engine: &Engine, kinds: &[WakeKind], done: &mut Done) -> Result<(), Failure> {
    loop {
        let progress = engine.tick_part(kinds, Part::WHOLE).await.map_err(|error| {
            Failure::unavailable(
                format_args!("{} wake-ups, then: {error}", done.fired),
                "check the store; the next pass goes on where this one stopped",
            )
        })?;
        done.fired += progress.fired;
        done.passes += 1;
        if !progress.more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        cost::{Requests, Standing},
        store::{self, Store},
    };

    /// A clock that stands still until it is moved.
    #[derive(Debug)]
    struct Stepped(watch::Sender<u64>);

    impl Env for Stepped {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(*self.0.borrow())
        }

        fn uptime(&self) -> Duration {
            Duration::from_millis(*self.0.borrow())
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let (mut now, end) = (self.0.subscribe(), self.now().after(duration).as_millis());
            Box::pin(async move {
                now.wait_for(|now| *now >= end).await.expect("the clock outlives its sleepers");
            })
        }

        fn random(&self) -> u128 {
            u128::from(*self.0.borrow())
        }
    }

    /// What one run of the command asks of a store on which nothing is due, but for its clock.
    async fn of_a_run(span: Option<Duration>) -> (Done, Requests) {
        let env = Arc::new(Stepped(watch::Sender::new(1_764_000_000_000)));
        let shared: Arc<dyn Env> = env.clone();
        let no_wait = "put=0ms".parse().unwrap();
        // Slowed by nothing: it counts as a store that others share.
        let store = Store::open("memory:", shared.clone()).await.unwrap().slowed(no_wait, &shared);
        store::layout(&store, Some(1)).await.unwrap();
        let before = store.requests();
        store::layout(&store, None).await.unwrap();
        let config = engine::Config {
            cache_bytes: 0,
            near_timers: false,
            reservations: false,
            ..engine::Config::of("wake/test")
        };
        let engine = Engine::open(store.clone(), shared, config).await.unwrap();
        let caller = serving::caller(&PushArgs { push_secrets: None }).unwrap();
        let ticking = async {
            loop {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                env.0.send_modify(|now| *now += 1_000);
            }
        };
        let done = tokio::select! {
            biased;
            done = passes(&engine, span, &caller, env.as_ref()) => done.unwrap(),
            () = ticking => unreachable!("the clock goes on for ever"),
        };
        let asked = store.requests() - before;
        let (put, get) = (asked.put(), asked.get());
        (done, Requests { put, get, list: asked.list(), delete: asked.delete() })
    }

    #[tokio::test]
    async fn a_wake_schedule_costs_what_is_reckoned() {
        let looks = [(None, 1), (Some(20), 20), (Some(35), 35), (Some(55), 55)];
        for (seconds, wake_looks) in looks {
            let (done, asked) = of_a_run(seconds.map(Duration::from_secs)).await;
            assert_eq!(u64::from(done.passes), wake_looks);
            let standing = Standing { instances: 0, has_workers: false, wake_looks };
            assert_eq!(standing.requests_an_hour(), asked * 60, "{wake_looks} looks");
        }
    }
}
