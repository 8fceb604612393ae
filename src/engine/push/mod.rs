//! Serves push queues: takes their tasks, as a worker that polls would, and calls their targets.
//!
//! A queue is served by a lane. To the rest of the engine a lane is a poller: the board matches it, a
//! commit leases the task to it, and only then is its target called. Invariants:
//! * a target is called only with an attempt that the log says is its own, under a lease that runs;
//! * no more calls are under way at once than the queue allows, in this instance;
//! * while the breaker is open no task is taken: it stays ready, for others and for later;
//! * an attempt whose call brought no answer of a worker is given back, and is no failed one.
//!
//! Source: docs/push-queues.md, docs/adr/0015.

mod call;
mod lane;
mod pass;
mod serve;
mod settings;

pub use lane::{Calling, QueueStatus};
pub use settings::QueueView;

pub(super) use lane::Lanes;
