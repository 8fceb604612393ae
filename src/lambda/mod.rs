//! Lazarus as a function on AWS Lambda: the front door behind a URL, the waker behind a schedule.
//!
//! Owns what an event asks for, and how long it may take. Translates and keeps time; decides nothing.
//!
//! Invariants:
//! * when an event is answered, nothing is under way any more: it was finished, or it was cut off as by
//!   the death of the process (`life`). What Lambda freezes then is at rest;
//! * nothing of a run is remembered from one event to the next;
//! * no event is left to Lambda's own time limit, after which nobody would be answered.
//!
//! Source: docs/lambda.md.

mod event;
mod function;
mod http;
mod life;
mod retain;
mod wake;

use std::{path::PathBuf, sync::Arc};

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;

use self::function::Function;
use crate::{
    engine::{self, RetentionPolicy},
    env::Env,
};

/// What a function is told by its environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's URL.
    pub store: String,
    /// Over how many parts a new store's indexes are spread.
    pub shards: Option<u32>,
    /// Leases and guards. What an engine remembers is not for a function, whatever this says.
    pub engine: engine::Config,
    /// How long closed executions are kept, where an event asks for their deletion.
    pub retention: RetentionPolicy,
    /// Where the secrets of push queues are; none: in variables alone.
    pub push_secrets: Option<PathBuf>,
    /// Into how many shares a backlog is divided; 1: it is not.
    pub wake_parts: u32,
}

/// Answers one event after the other, for ever.
///
/// # Errors
///
/// The runtime interface of Lambda went away, or this is no function.
pub async fn run(settings: Settings, env: Arc<dyn Env>) -> Result<(), lambda_runtime::Error> {
    let function = Arc::new(Function::new(settings, env));
    // While Lambda does not count the time yet. What fails now is told to the first who asks.
    function.prepare().await;
    let answer = |event: LambdaEvent<Box<RawValue>>| {
        let function = Arc::clone(&function);
        async move { function.answer(event).await }
    };
    lambda_runtime::run(service_fn(answer)).await
}
