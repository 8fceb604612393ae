//! Results and signs of life over HTTP, by the task's id: for workers that were sent their task and
//! speak no gRPC.
//!
//! Whoever has a task's id may say how the task ended, as over gRPC: it holds the 128 random bits of
//! its run, and only the worker was sent it.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::{convert, grpc::FrontDoor};
use crate::{
    engine::{self, Error},
    workflow::TaskToken,
};

/// The longest result: what a target's own answer may have.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Whose task it is.
#[derive(Debug, Deserialize)]
struct Head {
    task_id: String,
    worker_id: String,
}

/// `POST /v1/tasks/result` and `POST /v1/tasks/heartbeat`.
pub(super) fn router(door: FrontDoor) -> Router {
    Router::new()
        .route("/v1/tasks/result", post(result))
        .route("/v1/tasks/heartbeat", post(heartbeat))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(door)
}

type Reply = (StatusCode, [(&'static str, &'static str); 1], String);

async fn result(State(door): State<FrontDoor>, body: Result<Bytes, BytesRejection>) -> Reply {
    let body = match body {
        Ok(body) => body,
        Err(unread) => return unread_reply(&unread),
    };
    let answered = async {
        let (token, worker, rest) = read(&body)?;
        let submission = engine::outcome(Value::Object(rest)).map_err(|fault| invalid(&fault))?;
        let acked = door.shielded(|engine| async move {
            convert::ack(engine.submit(&token, &worker, submission).await)
        });
        let ack = acked.await?;
        Ok(json!({"accepted": ack.success, "message": ack.message}))
    };
    reply(answered.await)
}

async fn heartbeat(State(door): State<FrontDoor>, body: Result<Bytes, BytesRejection>) -> Reply {
    let body = match body {
        Ok(body) => body,
        Err(unread) => return unread_reply(&unread),
    };
    let answered = async {
        let (token, worker, _) = read(&body)?;
        let heard = door.shielded(|engine| async move {
            let namespace = &token.handle.namespace;
            engine.heartbeat(namespace, &worker, Some(&token), None).await
        });
        heard.await?;
        Ok(json!({}))
    };
    reply(answered.await)
}

/// The attempt, its worker, and what else the body says.
fn read(body: &[u8]) -> Result<(TaskToken, String, Map<String, Value>), Error> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))?;
    let head = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let head = json!({"task_id": head("task_id"), "worker_id": head("worker_id")});
    let head: Head = serde_json::from_value(head).map_err(|_| {
        invalid("`task_id` and `worker_id` must be the texts that came with the task")
    })?;
    fields.remove("task_id");
    fields.remove("worker_id");
    Ok((head.task_id.parse()?, convert::worker_id(head.worker_id)?, fields))
}

fn invalid(fault: &str) -> Error {
    Error::InvalidInput { what: format!("the body can not be read: {fault}") }
}

/// As gRPC would answer, in the words of HTTP.
fn reply(answered: Result<Value, tonic::Status>) -> Reply {
    let status = match answered {
        Ok(value) => return json_reply(StatusCode::OK, &value),
        Err(status) => status,
    };
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json_reply(code, &json!({"error": status.message()}))
}

/// For a body that is too long (413), or was cut off.
fn unread_reply(unread: &BytesRejection) -> Reply {
    json_reply(
        unread.status(),
        &json!({"error": format!("the body can not be read: {}", unread.body_text())}),
    )
}

fn json_reply(code: StatusCode, value: &Value) -> Reply {
    (code, [("content-type", "application/json")], value.to_string())
}
