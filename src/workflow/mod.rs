//! The state machine: pure, with no I/O, no clock and no randomness.

mod id;
mod rejection;
mod time;

pub use id::{
    ExecutionId, ExecutionKey, Generation, Handle, ID_BYTES_MAX, MADE_ID_PREFIX, Namespace, RunId,
    Seq, StepName, Task, TaskToken, escape, spread, unescape,
};
pub use rejection::{InvalidId, Rejection};
pub use time::Timestamp;
