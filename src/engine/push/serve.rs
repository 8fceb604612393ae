//! Serves push queues in an instance that stays up.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::OwnedSemaphorePermit;

use super::lane::{Change, Lane};
use crate::{
    engine::{Engine, Error},
    push::{AGE, Caller, Pass},
};

/// How many polls of one queue wait at most: so many tasks that become ready in one commit are leased
/// in it. More of its calls may be under way.
const POLLS_MAX: u32 = 16;
/// How long one poll of a queue waits.
const POLL: Duration = Duration::from_mins(1);
/// The pause after a poll that the store did not answer.
const PAUSE: Duration = Duration::from_secs(1);

type Feeders<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

impl Engine {
    /// Serves the store's push queues, calling their targets through `caller`. Returns after
    /// [`Engine::begin_shutdown`]; calls that are under way then are waited for by [`Engine::drain`].
    ///
    /// While nothing happens, costs 1 LIST each 30 s, for all queues together, in the place of a scan
    /// of the timers (nothing where one process owns the store), and what polls that wait cost.
    pub async fn run_push(&self, caller: Arc<dyn Caller>) {
        let mut feeders = Feeders::new();
        loop {
            match self.lanes(&caller).await {
                Ok(change) => {
                    for lane in change.new {
                        self.feed_all(&lane, &caller, &mut feeders);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "push queues could not be read; those that are known go on");
                }
            }
            if !self.feed_until_look(&mut feeders).await {
                break;
            }
        }
        // Each ends by itself: none is dropped between a lease and its call.
        while feeders.next().await.is_some() {}
    }

    /// Lets the feeders work until it is time to look at the queues again; false: never.
    async fn feed_until_look(&self, feeders: &mut Feeders<'_>) -> bool {
        let mut look = self.inner.env.sleep(AGE);
        loop {
            tokio::select! {
                biased;
                () = self.inner.closing.cancelled() => return false,
                () = self.inner.queues.changed() => return true,
                () = &mut look => return true,
                Some(()) = feeders.next() => {}
            }
        }
    }

    /// The lanes of the queues as they stand now.
    pub(super) async fn lanes(&self, caller: &Arc<dyn Caller>) -> Result<Change, Error> {
        let now = self.inner.env.now();
        if self.inner.queues.is_due(now) && !self.inner.store.is_exclusive() {
            self.inner.lists_owed.fetch_add(1, Ordering::Relaxed);
        }
        let queues = self.inner.queues.all(now).await?;
        let change = self.inner.lanes.set(&queues, caller);
        for lane in &change.over {
            self.inner.board.gone(&lane.poller.namespace, &lane.poller.worker);
        }
        for lane in &change.new {
            if let Some(why) = &lane.hindrance {
                let (namespace, queue) = (&lane.queue.namespace, &lane.queue.name);
                tracing::warn!(%namespace, queue, why, "a push queue is not served from here");
            }
        }
        Ok(change)
    }

    fn feed_all<'a>(
        &'a self,
        lane: &Arc<Lane>,
        caller: &Arc<dyn Caller>,
        feeders: &mut Feeders<'a>,
    ) {
        if lane.hindrance.is_some() {
            return;
        }
        for _ in 0..lane.queue.concurrency.min(POLLS_MAX) {
            feeders.push(Box::pin(self.feed(Arc::clone(lane), Arc::clone(caller))));
        }
    }

    /// Takes tasks for the lane, one after the other, and has its target called with them.
    async fn feed(&self, lane: Arc<Lane>, caller: Arc<dyn Caller>) {
        while let Some(permit) = self.permit(&lane).await {
            let pass = match lane.pass(self.inner.env.now()) {
                Pass::Wait(until) => {
                    drop(permit);
                    let wait = until.since(self.inner.env.now());
                    self.rest(&lane, wait.min(PAUSE)).await;
                    continue;
                }
                pass @ (Pass::Call | Pass::Probe) => pass,
            };
            let is_wanted = || lane.is_wanted(pass) && !self.inner.closing.is_cancelled();
            self.inner.board.polled(&lane.poller, self.inner.env.now());
            match self.next_task_while(&lane.poller, POLL, is_wanted).await {
                Ok(Some(task)) => {
                    let (engine, lane, caller) = (self.clone(), lane.clone(), caller.clone());
                    self.inner.tasks.spawn(async move {
                        engine.call(&lane, &*caller, task, pass, None).await;
                        drop(permit);
                    });
                }
                Ok(None) => lane.unused(pass, self.inner.env.now()),
                Err(error) => {
                    lane.unused(pass, self.inner.env.now());
                    tracing::warn!(queue = lane.queue.name, %error, "a push queue was not polled");
                    self.rest(&lane, PAUSE).await;
                }
            }
        }
    }

    /// The right to one more call, once there is one; none: the lane is over.
    async fn permit(&self, lane: &Lane) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.inner.closing.cancelled() => None,
            () = lane.stop.cancelled() => None,
            permit = Arc::clone(&lane.permits).acquire_owned() => permit.ok(),
        }
    }

    async fn rest(&self, lane: &Lane, wait: Duration) {
        tokio::select! {
            biased;
            () = self.inner.closing.cancelled() => {}
            () = lane.stop.cancelled() => {}
            () = self.inner.env.sleep(wait.max(Duration::from_millis(1))) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Auth, Config, PushQueue, Target},
        push::{Answer, Delivery, Undelivered},
        store::{Family, Operation},
        wake::tests::{FakeEnv, Moody, ordered},
        workflow::{Namespace, Timestamp},
    };

    /// Has nobody to call.
    #[derive(Debug)]
    struct Nobody;

    impl Caller for Nobody {
        fn call<'a>(
            &'a self,
            _: &'a PushQueue,
            _: &'a Delivery,
            _: Timestamp,
            _: Duration,
        ) -> BoxFuture<'a, Result<Answer, Undelivered>> {
            Box::pin(async { Err(Undelivered::because("is nobody")) })
        }

        fn hindrance(&self, _: &PushQueue) -> Option<String> {
            None
        }
    }

    fn queue(name: &str) -> PushQueue {
        PushQueue {
            namespace: Namespace::default(),
            name: name.to_owned(),
            target: Target::Http {
                url: "https://pdf.example/".to_owned(),
                auth: Auth::Hmac { secret: "PDF".to_owned() },
            },
            steps: vec![],
            workflows: vec![],
            concurrency: 10,
            timeout_ms: 30_000,
            breaker_failures: 5,
        }
    }

    #[tokio::test]
    async fn an_idle_instance_with_push_queues_makes_at_most_64_lists_a_minute_beside_its_polls() {
        let (env, store) = (FakeEnv::shared(), ordered(Arc::<Moody>::default(), false));
        let engine = Engine::new(store.clone(), env.clone(), 1, Config::of("idle/test"));
        for name in ["a", "b", "c"] {
            engine.set_queue(&queue(name)).await.unwrap();
        }
        let background = engine.clone();
        engine.inner.tasks.spawn(async move { background.run_background().await });
        let background = engine.clone();
        engine.inner.tasks.spawn(async move { background.run_push(Arc::new(Nobody)).await });
        // The first minute holds the walk at start, and polls that look ten times a second at first.
        for minute in 0..=10 {
            let before = store.requests();
            for _ in 0..60 {
                env.advance_millis(1_000);
                for _ in 0..60 {
                    tokio::task::yield_now().await;
                }
            }
            let cost = store.requests() - before;
            let polls = cost.in_family(Operation::List, Family::Queue);
            let lists = cost.of(Operation::List) - polls;
            assert!(minute == 0 || (lists <= 64 && polls <= 7), "minute {minute}: {cost}");
            assert_eq!(cost.in_family(Operation::List, Family::Push), 2, "minute {minute}: {cost}");
            assert!(minute == 0 || cost.of(Operation::Get) == 0, "minute {minute}: {cost}");
            assert_eq!(cost.of(Operation::Put), 0, "minute {minute}: {cost}");
        }
        engine.begin_shutdown();
    }
}
