//! A few routes for people with `curl`: each is one call of `lazarus.v1`, in the JSON of that.
//!
//! The path and the query fill in fields of the call's message, the body the rest; a field that the
//! path names must not stand in the others.

use axum::{
    Router,
    extract::{RawPathParams, Request, rejection::RawPathParamsRejection},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use http::{Method, StatusCode, header::CONTENT_TYPE, request::Parts};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Map, Value, value::RawValue};
use tonic::{Code, Status};
use url::form_urlencoded;

use super::{
    call::Calls,
    connect::{invalid, whole},
    json,
    refusal::{refuse, refuse_as},
    speech::{self, Speech},
};

/// Verb, path, and the call. The names in a path are those of fields.
///
/// docs/http.md has the same table, in words.
const ROUTES: [(MethodFilter, &str, &str); 12] = [
    (MethodFilter::POST, "/v1/executions", "/lazarus.v1.ExecutionService/Start"),
    (MethodFilter::GET, "/v1/executions", "/lazarus.v1.ExecutionService/List"),
    (MethodFilter::GET, "/v1/executions/{execution_id}", "/lazarus.v1.ExecutionService/Describe"),
    (
        MethodFilter::GET,
        "/v1/executions/{execution_id}/history",
        "/lazarus.v1.ExecutionService/History",
    ),
    (
        MethodFilter::POST,
        "/v1/executions/{execution_id}/approve",
        "/lazarus.v1.ExecutionService/Approve",
    ),
    (
        MethodFilter::POST,
        "/v1/executions/{execution_id}/reject",
        "/lazarus.v1.ExecutionService/Reject",
    ),
    (
        MethodFilter::POST,
        "/v1/executions/{execution_id}/cancel",
        "/lazarus.v1.ExecutionService/Cancel",
    ),
    (
        MethodFilter::POST,
        "/v1/executions/{execution_id}/resume",
        "/lazarus.v1.ExecutionService/Resume",
    ),
    (MethodFilter::GET, "/v1/blueprints", "/lazarus.v1.BlueprintService/List"),
    (MethodFilter::GET, "/v1/blueprints/{name}", "/lazarus.v1.BlueprintService/Get"),
    (MethodFilter::PUT, "/v1/blueprints/{name}", "/lazarus.v1.BlueprintService/Put"),
    (MethodFilter::GET, "/v1/dead", "/lazarus.v1.ExecutionService/ListDead"),
];

/// The routes, each a call.
pub(super) fn router(calls: &Calls) -> Router {
    let router = ROUTES.into_iter().fold(Router::new(), |router, (verb, path, call)| {
        let calls = calls.clone();
        let handler = move |named: Named, request: Request| async move {
            match named {
                Ok(named) => answer(&calls, call, &named, request).await,
                Err(error) => refuse(Speech::Json, &invalid(error.body_text())),
            }
        };
        router.route(path, on(verb, handler))
    });
    router.method_not_allowed_fallback(async || {
        let what = "this route has no such verb; docs/http.md lists the routes";
        refuse_as(StatusCode::METHOD_NOT_ALLOWED, &Status::unimplemented(what))
    })
}

/// What a path names, unless that is no text.
type Named = Result<RawPathParams, RawPathParamsRejection>;

async fn answer(
    calls: &Calls,
    call: &'static str,
    named: &RawPathParams,
    request: Request,
) -> Response {
    let changes = request.method() != Method::GET;
    if changes && !speech::is_json(request.headers()) {
        let what = "send it with content-type: application/json; an empty body means {}";
        let status = Status::new(Code::InvalidArgument, what);
        return refuse_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status);
    }
    match exchange(calls, call, named, request).await {
        Ok(body) => {
            ([(CONTENT_TYPE, Speech::Json.content_type())], format!("{body}\n")).into_response()
        }
        Err(status) => refuse(Speech::Json, &status),
    }
}

async fn exchange(
    calls: &Calls,
    call: &'static str,
    named: &RawPathParams,
    request: Request,
) -> Result<Box<RawValue>, Status> {
    let method = json::method(call).expect("BUG: a route names a call that is none");
    let (parts, body) = request.into_parts();
    let body = whole(body).await?;
    let message = asked(&method.input(), named, &parts, &body)?;
    let answers = calls.call(call, &parts.headers, &parts.extensions, &message).await?;
    let json = |answer: &Bytes| json::written(method.output(), answer).map_err(Status::internal);
    let text = if method.is_server_streaming() {
        let events = answers.iter().map(|answer| event(&json(answer)?));
        let events: Vec<Value> = events.collect::<Result<_, _>>()?;
        serde_json::json!({ "events": events }).to_string()
    } else {
        let answer = answers.first().ok_or_else(|| Status::internal("the call gave no answer"))?;
        String::from_utf8_lossy(&json(answer)?).into_owned()
    };
    RawValue::from_string(text).map_err(|error| Status::internal(error.to_string()))
}

/// An entry of a history, with its event as JSON instead of as text of it.
fn event(json: &[u8]) -> Result<Value, Status> {
    let mut entry: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| Status::internal(error.to_string()))?;
    if let Some(Value::String(text)) = entry.remove("eventJson") {
        let event = serde_json::from_str(&text).unwrap_or(Value::String(text));
        entry.insert("event".to_owned(), event);
    }
    Ok(Value::Object(entry))
}

/// The message of the call: the body's, and what path and query say.
fn asked(
    kind: &MessageDescriptor,
    named: &RawPathParams,
    parts: &Parts,
    body: &[u8],
) -> Result<Vec<u8>, Status> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    let given = json::read("the body", kind, body).map_err(invalid)?;
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let mut fields = Map::new();
    for (name, value) in named {
        fields.insert(name.to_owned(), value.into());
    }
    for (name, value) in query {
        if fields.insert(name.to_string(), value.into()).is_some() {
            return Err(invalid(format!("`{name}` is given twice, in the path and in the query")));
        }
    }
    let also = json::read("the address", kind, Value::Object(fields).to_string().as_bytes());
    let also = also.map_err(invalid)?;
    if let Some(twice) = both(kind, &given, &also) {
        return Err(invalid(format!("`{twice}` is given twice, in the body and in the address")));
    }
    // Messages one after the other are one message with the fields of both.
    Ok([given.encode_to_vec(), also.encode_to_vec()].concat())
}

/// A field that both have.
fn both(kind: &MessageDescriptor, one: &DynamicMessage, other: &DynamicMessage) -> Option<String> {
    let is_twice =
        |field: &prost_reflect::FieldDescriptor| one.has_field(field) && other.has_field(field);
    kind.fields().find(is_twice).map(|field| field.name().to_owned())
}
