//! What clients and workers ask of an instance, and what they check in its answer.

use std::time::Duration;

use lazarus::{
    engine::{Engine, Error, PollRequest, ResumeRequest, StartRequest, Started},
    workflow::{ExecutionId, Namespace, TaskToken},
};
use serde_json::json;

use super::super::{broken::Broken, workload::Work, world::World};

/// Something that is asked. All that concerns one execution concerns [`it`].
#[derive(Clone, Debug)]
pub enum Operation {
    Start {
        workflow: &'static str,
        request: &'static str,
    },
    /// A start whose id the engine makes.
    StartAny {
        workflow: &'static str,
        request: &'static str,
    },
    Resume {
        request: &'static str,
    },
    Submit {
        worker: &'static str,
        token: TaskToken,
        work: Work,
    },
    Poll {
        worker: &'static str,
    },
    Approve {
        request: &'static str,
    },
    Cancel {
        request: &'static str,
    },
    Describe,
    /// One pass over all that is due.
    Tick,
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// All that there is to say.
    Everything,
    /// Nothing, or to ask again.
    Nothing,
}

/// The execution whose id is chosen.
pub fn it() -> ExecutionId {
    ExecutionId::chosen("it").expect("an id")
}

impl Operation {
    /// Asks `engine`, for the how-manieth time, and holds it to its word.
    pub async fn ask(&self, world: &World, engine: Engine, times: u32) -> Said {
        let namespace = Namespace::default();
        match self {
            Self::Start { workflow, request } => {
                start(world, &engine, (workflow, Some(it())), request, times).await
            }
            Self::StartAny { workflow, request } => {
                start(world, &engine, (workflow, None), request, times).await
            }
            Self::Resume { request } => {
                let (execution, by) = (it(), "ann".to_owned());
                let (keeps_results, id) = (true, (*request).to_owned());
                let asked = ResumeRequest { namespace, execution, keeps_results, by, request: id };
                let asked_ms = world.now_ms();
                began(world, request, asked_ms, &engine.resume(asked).await)
            }
            Self::Submit { worker, token, work } => {
                let submission = work.submission(token.task.iteration);
                let answer = engine.submit(token, worker, submission).await;
                match &answer {
                    Ok(_) => world.audit.acknowledged(token, matches!(work, Work::Result(_))),
                    Err(error) if error.is_final() => {
                        world.audit.refused(token, &error.to_string());
                    }
                    Err(_) => {}
                }
                said(&answer)
            }
            Self::Poll { worker } => said(&polled(world, &engine, worker).await),
            Self::Approve { request } => {
                let yes = (json!({"approved": true}), false);
                let answer = engine.approve(&namespace, &it(), None, "ann", request, yes).await;
                applied(world, request, &answer)
            }
            Self::Cancel { request } => {
                let answer = engine.cancel(&namespace, &it(), "bob", request, "enough").await;
                applied(world, request, &answer)
            }
            Self::Describe => {
                let before = world.audit.newest(it().as_str());
                let answer = engine.describe(&namespace, &it()).await;
                if let Ok(seen) = &answer {
                    world.audit.described(&seen.state, before);
                }
                said(&answer)
            }
            Self::Tick => match engine.tick().await {
                Ok(progress) if progress.more => Said::Nothing,
                answer => said(&answer),
            },
        }
    }
}

/// Polls once, for as long as a look at the offers takes; the task's token.
///
/// # Errors
///
/// The engine's.
pub async fn polled(
    world: &World,
    engine: &Engine,
    worker: &str,
) -> Result<Option<(TaskToken, String)>, Error> {
    let request = PollRequest::of(worker, Duration::from_millis(50));
    let Some(task) = engine.poll(request).await? else { return Ok(None) };
    let token = task.token;
    world.audit.delivered(&token, worker);
    let step = token.task.step.to_string();
    Ok(Some((token, step)))
}

async fn start(
    world: &World,
    engine: &Engine,
    (workflow, execution): (&str, Option<ExecutionId>),
    request: &str,
    times: u32,
) -> Said {
    let sent = match world.broken {
        Some(Broken::RequestsForgotten) => format!("{request}-{times}"),
        _ => request.to_owned(),
    };
    let asked_ms = world.now_ms();
    let answer = engine
        .start(StartRequest {
            version: Some(1),
            execution,
            request: sent,
            ..StartRequest::of(workflow)
        })
        .await;
    began(world, request, asked_ms, &answer)
}

/// A request that was sent at `asked_ms` and began a run, or found one.
fn began(world: &World, request: &str, asked_ms: u64, answer: &Result<Started, Error>) -> Said {
    if let Ok(started) = answer {
        world.audit.started(request, started, asked_ms);
    }
    said(answer)
}

fn applied<T>(world: &World, request: &str, answer: &Result<T, Error>) -> Said {
    if answer.is_ok() {
        world.audit.applied(request);
    }
    said(answer)
}

fn said<T>(answer: &Result<T, Error>) -> Said {
    match answer {
        Ok(_) => Said::Everything,
        Err(error) if error.is_final() => Said::Everything,
        Err(_) => Said::Nothing,
    }
}
