//! Push queues: tasks that are sent to a worker, instead of being fetched by one, so that workers too
//! may scale to zero.
//!
//! Owns what an operator says of a queue and where it stands in the store ([`PushQueue`], [`Queues`]),
//! what goes over the wire and what an answer means ([`Delivery`], [`Answer`]), signatures, and when a
//! target is left alone ([`Breaker`]). Never decides anything about a run, and never takes a task: the
//! engine does, and calls only after the log says that the task is the target's.
//!
//! Invariants:
//! * no secret is ever written to the store, to a log or into a message;
//! * nothing that a target answers is followed, and only so much of it is read;
//! * what can be wrong with a queue is said when it is set, not when it is called.
//!
//! Source: docs/push-queues.md.

mod answer;
mod breaker;
mod caller;
mod delivery;
mod http;
mod queue;
mod secret;
mod table;

pub use answer::{Answer, Undelivered, outcome};
pub use breaker::{Breaker, Pass};
pub use caller::Caller;
pub use delivery::{Delivery, worker_name};
pub use http::HttpCaller;
pub use queue::{Auth, InvalidQueue, PushQueue, Target};
pub use secret::Secrets;
pub use table::{AGE, Queues, SetQueue};
