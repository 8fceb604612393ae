//! The waker: works off what is due until its time is over, in the rhythm of a server, and calls the
//! targets of push queues beside it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::OnceCell;

use super::event::Order;
use crate::{
    aws::Functions,
    engine::{Beat, Cadence, Caller, Engine, Error, Part},
    workflow::Timestamp,
};

/// The pause between two looks for tasks to push, and the longest while there are none: as in `wake`.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_SLOW: Duration = Duration::from_secs(10);

/// What a waker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Woken {
    /// Entries that were worked off.
    fired: usize,
    /// Passes over the index.
    passes: u32,
    /// Others that were called for a share of a backlog.
    called: u32,
    /// Calls of push targets.
    pushed: usize,
    /// Whether something that is due was left to the next.
    more: bool,
}

/// How a backlog is shared: by calling this very function.
#[derive(Debug)]
pub(super) struct Sharing {
    /// Into how many shares; 1: not at all.
    parts: u32,
    functions: OnceCell<Arc<Functions>>,
}

impl Sharing {
    pub(super) fn new(parts: u32) -> Self {
        Self { parts, functions: OnceCell::new() }
    }

    /// Has `function` called for every share but the first; whether all calls were taken. Otherwise
    /// there is nobody to rely on, and whoever was called is welcome.
    async fn call(&self, function: &str) -> Result<u32, String> {
        let functions =
            self.functions.get_or_try_init(|| async { Functions::from_env().map(Arc::new) });
        let functions = functions.await.map_err(|error| error.to_string())?;
        let calls =
            (1..self.parts).map(|share| functions.send(function, Order::share(share, self.parts)));
        for called in futures::future::join_all(calls).await {
            called.map_err(|error| error.to_string())?;
        }
        Ok(self.parts - 1)
    }
}

/// One waker at work.
#[derive(Debug)]
pub(super) struct Waker {
    pub(super) engine: Engine,
    pub(super) caller: Arc<dyn Caller>,
    pub(super) order: Order,
    /// When to begin nothing more.
    pub(super) end: Timestamp,
    /// When the last call of a push target must be over.
    pub(super) calls_end: Timestamp,
    pub(super) sharing: Arc<Sharing>,
    /// The function that this is, to call.
    pub(super) function: String,
}

/// How far a waker is.
#[derive(Debug)]
struct Course {
    part: Part,
    may_share: bool,
    woken: Woken,
    /// Whether any pass succeeded.
    works: bool,
    failure: Option<Error>,
}

impl Waker {
    /// Wakes what is due, and calls the targets of push queues, until the end; or, for an order without
    /// a time, until nothing more is due and no task waits for a target. A share wakes only.
    ///
    /// # Errors
    ///
    /// As of waking; targets that could not be called are left to the next.
    pub(super) async fn run(self) -> Result<Woken, Error> {
        if self.order.part != Part::WHOLE {
            return self.wake().await;
        }
        if self.order.span.is_zero() {
            let woken = self.wake().await?;
            return Ok(Woken { pushed: self.push_once().await, ..woken });
        }
        let (woken, pushed) = tokio::join!(self.wake(), self.push());
        Ok(Woken { pushed, ..woken? })
    }

    /// Calls targets until the end, at pauses that grow to 10 s while there is nothing to call.
    async fn push(&self) -> usize {
        let env = self.engine.env();
        let (mut pushed, mut pause) = (0, LOOK);
        loop {
            let more = self.push_once().await;
            pushed += more;
            pause = if more > 0 { LOOK } else { (pause * 2).min(LOOK_SLOW) };
            if env.now().after(pause) > self.end {
                return pushed;
            }
            env.sleep(pause).await;
        }
    }

    async fn push_once(&self) -> usize {
        match self.engine.push_pass(&self.caller, Some(self.calls_end)).await {
            Ok(calls) => calls,
            Err(error) => {
                tracing::warn!(%error, "the push queues could not be read; their tasks stay on offer");
                0
            }
        }
    }

    /// Wakes what is due until the end, or, for an order without a time, until nothing more is.
    ///
    /// Timers each second and guards each 15 s, as in a server: at most 64 LIST a minute for each
    /// shard, and what the due runs cost. A pass that does not get through what is due is followed by
    /// the next at once; the first such one has others called, if that is allowed.
    ///
    /// # Errors
    ///
    /// The last pass' own, when none succeeded.
    async fn wake(&self) -> Result<Woken, Error> {
        let mut course = Course {
            part: self.order.part,
            // Only who looks at everything shares it: a share is never divided again.
            may_share: self.sharing.parts > 1 && self.order.part == Part::WHOLE,
            woken: Woken::default(),
            works: false,
            failure: None,
        };
        let mut cadence = Cadence::new(false);
        let env = self.engine.env();
        loop {
            let beat = cadence.next(env.now());
            if course.woken.passes > 0 && env.now().after(beat.wait) > self.end {
                break;
            }
            env.sleep(beat.wait).await;
            self.work_off(&beat, &mut course).await;
            // Should one of the others never have come.
            course.part = self.order.part;
            if self.order.span == Duration::ZERO {
                break;
            }
        }
        match course.failure {
            Some(error) if !course.works => Err(error),
            Some(_) | None => Ok(course.woken),
        }
    }

    /// Passes until nothing more is due.
    async fn work_off(&self, beat: &Beat, course: &mut Course) {
        loop {
            course.woken.passes += 1;
            match self.engine.tick_part(&beat.kinds, course.part).await {
                Ok(progress) => {
                    course.works = true;
                    course.woken.fired += progress.fired;
                    course.woken.more = progress.more;
                }
                Err(error) => {
                    tracing::warn!(%error, "a scan of the wake index failed; it is tried again");
                    course.failure = Some(error);
                    return;
                }
            }
            if !course.woken.more || self.engine.env().now() >= self.end {
                return;
            }
            if std::mem::take(&mut course.may_share) {
                self.share(course).await;
            }
        }
    }

    /// Has others called, and keeps one share.
    async fn share(&self, course: &mut Course) {
        match self.sharing.call(&self.function).await {
            Ok(called) => {
                tracing::info!(called, "more is due than one function can do; it is shared");
                course.woken.called = called;
                course.part = Part::new(0, self.sharing.parts).unwrap_or(Part::WHOLE);
            }
            Err(error) => {
                tracing::warn!(error, "others can not be called; this function goes on alone");
            }
        }
    }
}
