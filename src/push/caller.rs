//! What calls a target: the seam between the engine, which knows when, and the network.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

use super::{Answer, Delivery, PushQueue, Undelivered};
use crate::workflow::Timestamp;

/// Calls the targets of push queues.
pub trait Caller: fmt::Debug + Send + Sync + 'static {
    /// Sends `delivery` to the queue's target, signed at `now`, and waits for its answer at most so
    /// long. Sends once: whether to try again is for the engine to say. May be dropped at any point;
    /// the target may then have begun all the same.
    ///
    /// # Errors
    ///
    /// [`Undelivered`]: nothing that the target's worker said; the task is to be tried again.
    fn call<'a>(
        &'a self,
        queue: &'a PushQueue,
        delivery: &'a Delivery,
        now: Timestamp,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Answer, Undelivered>>;

    /// Why this process can not call the queue's target, and what to do; none: it can.
    fn hindrance(&self, queue: &PushQueue) -> Option<String>;
}
