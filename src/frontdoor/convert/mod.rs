//! Wire types to types of the engine and back; the only place that knows both.
//!
//! Checks sizes and names on the way in, so that nothing behind it has to. On the way out nothing
//! fails: what the engine says can always be said.

mod blueprint;
mod check;
mod fit;
#[cfg(test)]
mod given;
mod graph;
mod lazarus;
mod queue;
mod start;
mod status;
mod stream;
mod submission;
mod task;
mod value;
mod worker;

pub(super) use blueprint::{definition, faults, validation};
pub(super) use check::{execution_id, language, request_id, run_id, step, who, words, workflow};
pub(super) use graph::{blueprint, blueprint_definition, blueprint_put};
pub(super) use lazarus::{
    answer, begun, dead_run, description, ending, filter, history, how_long, log_entry, namespace,
    page, resume_of, resumed_as, run_waited_for, start_of, started, version,
};
pub(super) use queue::{push_queue, queue_state};
pub(super) use start::{answered, handle, response, resume, resumed, start};
pub(super) use status::{execution_status, listing, query};
pub(super) use stream::{hello, no_hello, report, token, work_ack, work_task};
pub(super) use submission::{Submitted, ack, submitted};
pub(super) use task::{poll, task};
pub(super) use worker::{heard, heartbeat, worker_id, worker_record};
