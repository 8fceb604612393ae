//! Deletes closed executions that are old enough: what an engine adds to `maintenance::retention`, and
//! its rhythm.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Deletion, Engine, Error, Retained, RetentionPolicy, commit::DEADLINE};
use crate::{
    log::{self, NewCommit, Snapshots},
    maintenance::Gravedigger,
    workflow::{Timestamp, Tombstone},
};

/// Between two passes while there is nothing to delete.
const EVERY: Duration = Duration::from_hours(1);
/// Between two passes when one was not enough, or failed.
const SOON: Duration = Duration::from_mins(1);
/// A tombstone is sent at most so long after it was looked at what it stands for.
const SENT_WITHIN: Duration = Duration::from_mins(10);

impl Engine {
    /// One bounded pass of retention: deletes what `policy` says, and gives each run to `tell`. With
    /// `dry_run` only reads and tells. Safe beside other passes, on this and on other instances.
    ///
    /// Costs 1 LIST for each 1,000 objects of the feed and 1 GET for each that is not in memory; what
    /// a deleted run costs beside that stands in docs/operations.md "Retention".
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: it is not finished; the next pass goes on where this one stopped.
    pub async fn retain(
        &self,
        policy: &RetentionPolicy,
        dry_run: bool,
        tell: impl FnMut(&Deletion),
    ) -> Result<Retained, Error> {
        let feed = &self.inner.feed;
        Ok(self.inner.retention.pass(feed, self, policy, dry_run, tell).await?)
    }

    /// Passes of retention in the background of an instance that stays up: each hour, the first one
    /// at a time by chance so that instances which start together do not meet. Returns after
    /// [`Engine::begin_shutdown`], or at once where `policy` keeps everything.
    ///
    /// While there is nothing to delete, costs what [`Engine::retain`] says, each hour; the LIST takes
    /// the place of a scan of the timers.
    pub async fn run_retention(&self, policy: &RetentionPolicy) {
        if policy.keeps_all() {
            return;
        }
        let bound_ms = u64::try_from(EVERY.as_millis()).unwrap_or(u64::MAX);
        let mut wait = Duration::from_millis(self.random_u64() % bound_ms);
        loop {
            tokio::select! {
                biased;
                () = self.inner.closing.cancelled() => return,
                () = self.inner.env.sleep(wait) => {}
            }
            wait = if self.retain_in_background(policy).await { SOON } else { EVERY };
        }
    }

    /// One pass; whether another should follow soon.
    async fn retain_in_background(&self, policy: &RetentionPolicy) -> bool {
        self.inner.lists_owed.fetch_add(1, Ordering::Relaxed);
        let tell = |deletion: &Deletion| {
            let Deletion { namespace, execution, generation, run, what, .. } = deletion;
            tracing::debug!(%namespace, %execution, generation, %run, ?what, "retention");
        };
        match self.retain(policy, false, tell).await {
            Ok(retained) => {
                report(&retained);
                retained.has_more
            }
            Err(error) => {
                tracing::warn!(%error, "a pass of retention stopped; the next goes on from there");
                true
            }
        }
    }
}

/// One line and the metrics of a pass.
fn report(retained: &Retained) {
    let Retained { begun, finished, refused, objects_deleted, batches_deleted, .. } = *retained;
    metrics::counter!("lazarus_retention_begun_total").increment(begun);
    metrics::counter!("lazarus_retention_finished_total").increment(finished);
    metrics::counter!("lazarus_retention_refused_total").increment(refused);
    if refused > 0 {
        tracing::warn!(
            refused,
            "retention keeps executions that seem old enough; `lazarus retention --dry-run` says why"
        );
    }
    if begun + finished + batches_deleted > 0 {
        tracing::info!(begun, finished, objects_deleted, batches_deleted, "a pass of retention");
    }
}

impl Gravedigger for Engine {
    async fn bury(&self, tombstone: Tombstone, looked: Timestamp) -> Result<bool, log::Error> {
        let Tombstone { namespace, execution, generation, run, .. } = &tombstone;
        let (namespace, key) = (namespace.clone(), execution.key());
        let (generation, run) = (*generation, *run);
        let now = self.inner.env.now();
        let commit = NewCommit {
            run,
            seq: 0,
            prev: None,
            time: now,
            by: &self.inner.config.instance,
            requests: &[],
            events: &tombstone.events(),
            snapshots: Snapshots::NONE,
            snapshot: None,
        };
        let commit = commit.encode(self.inner.env.random());
        if self.inner.env.now().since(looked) > SENT_WITHIN {
            return Ok(false);
        }
        // Whoever has that generation: it exists, which is all that is needed.
        let place = (&namespace, &key, generation);
        self.inner.log.create(place, &commit, None, DEADLINE).await?;
        Ok(true)
    }

    fn is_closing(&self) -> bool {
        self.inner.closing.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        engine::Config,
        store::{Family, Operation},
        wake::tests::{FakeEnv, Moody, ordered},
    };

    #[tokio::test]
    async fn an_idle_instance_with_retention_makes_at_most_64_lists_a_minute() {
        let (env, store) = (FakeEnv::shared(), ordered(Arc::<Moody>::default(), false));
        let engine = Engine::new(store.clone(), env.clone(), 1, Config::of("idle/test"));
        let background = engine.clone();
        engine.inner.tasks.spawn(async move { background.run_background().await });
        let background = engine.clone();
        let policy = RetentionPolicy::default();
        engine.inner.tasks.spawn(async move { background.run_retention(&policy).await });
        let mut in_feed = 0;
        // The first minute holds the walk at start.
        for minute in 0..=180 {
            let before = store.requests();
            for _ in 0..60 {
                env.advance_millis(1_000);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            let cost = store.requests() - before;
            assert!(minute == 0 || cost.of(Operation::List) <= 64, "minute {minute}: {cost}");
            in_feed += cost.in_family(Operation::List, Family::Feed);
        }
        assert!((3..=4).contains(&in_feed), "{in_feed} passes in three hours");
        engine.begin_shutdown();
    }
}
