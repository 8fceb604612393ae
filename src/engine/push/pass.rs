//! Serves push queues from a process that does not stay up: a function, or a command.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};

use super::lane::Lane;
use crate::{
    engine::{Engine, Error},
    push::{Caller, Pass},
    workflow::Timestamp,
};

/// Between two looks for tasks while calls are under way.
const LOOK: Duration = Duration::from_secs(1);
/// How long the effects of results may take before the last look.
const EFFECTS_MAX: Duration = Duration::from_secs(5);

type Calls<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

impl Engine {
    /// Calls the targets of the store's push queues with every task that waits for them, and with what
    /// becomes ready meanwhile; how many calls were made. Every call that it began has ended when it
    /// returns. With `until`, no call begins that could last longer: its task stays on offer.
    ///
    /// Costs 1 LIST for the queues, at most each 30 s, 1 LIST of the offers and 1 more each second of a
    /// call, and what claims and results cost.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: the queues could not be read; nothing was called.
    pub async fn push_pass(
        &self,
        caller: &Arc<dyn Caller>,
        until: Option<Timestamp>,
    ) -> Result<usize, Error> {
        let lanes = self.lanes(caller).await?.all;
        let lanes: Vec<Arc<Lane>> =
            lanes.into_iter().filter(|lane| lane.hindrance.is_none()).collect();
        if lanes.is_empty() {
            return Ok(0);
        }
        let (mut calls, mut made, mut is_settled) = (Calls::new(), 0, false);
        self.inner.offers.hurry();
        loop {
            let begun = self.begin_calls(&lanes, caller, until, &mut calls).await;
            made += begun;
            if !calls.is_empty() {
                is_settled = false;
                let looked = select(calls.next(), self.inner.env.sleep(LOOK)).await;
                if let Either::Left(_) = looked {
                    self.inner.offers.hurry();
                }
            } else if is_settled || made == 0 {
                return Ok(made);
            } else {
                // What the last results made ready is put on offer beside them.
                self.drain(EFFECTS_MAX).await;
                self.inner.offers.hurry();
                is_settled = true;
            }
        }
    }

    /// Begins every call for which there is a task, room and time.
    async fn begin_calls<'a>(
        &'a self,
        lanes: &'a [Arc<Lane>],
        caller: &'a Arc<dyn Caller>,
        until: Option<Timestamp>,
        calls: &mut Calls<'a>,
    ) -> usize {
        let now = self.inner.env.now();
        for lane in lanes {
            self.inner.board.polled(&lane.poller, now);
        }
        self.scan_offers().await;
        let mut begun = 0;
        for lane in lanes {
            while let Some(call) = self.begin_call(lane, caller, until).await {
                calls.push(call);
                begun += 1;
            }
        }
        begun
    }

    async fn begin_call<'a>(
        &'a self,
        lane: &'a Arc<Lane>,
        caller: &'a Arc<dyn Caller>,
        until: Option<Timestamp>,
    ) -> Option<BoxFuture<'a, ()>> {
        let now = self.inner.env.now();
        if until.is_some_and(|until| now.after(lane.queue.timeout()) > until) {
            return None;
        }
        let permit = Arc::clone(&lane.permits).try_acquire_owned().ok()?;
        let pass = match lane.pass(now) {
            Pass::Wait(_) => return None,
            pass @ (Pass::Call | Pass::Probe) => pass,
        };
        let found = self.next_task_while(&lane.poller, Duration::ZERO, || lane.is_wanted(pass));
        match found.await {
            Ok(Some(task)) => Some(Box::pin(async move {
                self.call(lane, &**caller, task, pass, until).await;
                drop(permit);
            })),
            Ok(None) => {
                lane.unused(pass, now);
                None
            }
            Err(error) => {
                lane.unused(pass, now);
                tracing::warn!(queue = lane.queue.name, %error, "a push queue was not polled");
                None
            }
        }
    }
}
