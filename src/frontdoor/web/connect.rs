//! The Connect protocol: a call is a POST to `/package.Service/Method` with one message.
//!
//! Unary calls in JSON or protobuf; calls that answer with a stream are answered whole, as a stream
//! whose messages are all there. No compression, no GET.
//!
//! Source: connectrpc.com/docs/protocol.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName},
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::{Code, Status};

use super::{
    BODY_BYTES_MAX,
    call::Calls,
    envelope, json,
    refusal::{refuse, refuse_as},
    speech::{self, Speech},
};

/// How the messages of a stream are compressed.
const CONNECT_CONTENT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");

/// Answers a request that no other protocol takes.
pub(super) async fn answer(calls: &Calls, request: Request) -> Response {
    let speech = Speech::of(request.headers());
    let path = request.uri().path().to_owned();
    let Some(method) = json::method(&path) else {
        let what = format!(
            "nothing is at {path}; calls are at /package.Service/Method, and routes under /v1"
        );
        return refuse_as(StatusCode::NOT_FOUND, &Status::not_found(what));
    };
    if request.method() != Method::POST {
        let mut refused =
            refuse_as(StatusCode::METHOD_NOT_ALLOWED, &Status::unimplemented("a call is a POST"));
        refused.headers_mut().insert(ALLOW, http::HeaderValue::from_static("POST"));
        return refused;
    }
    if let Some(refused) = unsupported(&method, speech, request.headers()) {
        return refused;
    }
    match exchange(calls, &method, speech, &path, request).await {
        Ok(body) => ([(CONTENT_TYPE, speech.content_type())], Body::from(body)).into_response(),
        Err(status) => refuse(speech, &status),
    }
}

/// Why the content type or the encoding does not fit the call.
fn unsupported(method: &MethodDescriptor, speech: Speech, headers: &HeaderMap) -> Option<Response> {
    if method.is_client_streaming() {
        let status =
            Status::unimplemented("this call is a stream both ways, which only gRPC carries");
        return Some(refuse(speech, &status));
    }
    let is_stream = matches!(speech, Speech::ConnectJson | Speech::ConnectProto);
    if speech == Speech::Json && !speech::is_json(headers) {
        let what = "send it with content-type: application/json";
        let status = Status::new(Code::InvalidArgument, what);
        return Some(refuse_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status));
    }
    if is_stream != method.is_server_streaming() {
        let what = if is_stream {
            "this call has one answer: send application/json or application/proto"
        } else {
            "this call answers with a stream: send application/connect+json, or ask a route under /v1"
        };
        let status = Status::new(Code::InvalidArgument, what);
        return Some(refuse_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status));
    }
    let encoding = if is_stream { &CONNECT_CONTENT_ENCODING } else { &CONTENT_ENCODING };
    let is_plain = |value: &http::HeaderValue| value == "identity";
    if headers.get(encoding).is_some_and(|value| !is_plain(value)) {
        let status = Status::unimplemented("no compression is understood; send the body as it is");
        return Some(refuse(speech, &status));
    }
    None
}

async fn exchange(
    calls: &Calls,
    method: &MethodDescriptor,
    speech: Speech,
    path: &str,
    request: Request,
) -> Result<Vec<u8>, Status> {
    let (parts, body) = request.into_parts();
    let body = whole(body).await?;
    let is_stream = method.is_server_streaming();
    let body = if is_stream { envelope::opened(body).map_err(invalid)? } else { body };
    let is_json = matches!(speech, Speech::Json | Speech::ConnectJson);
    let message = if is_json {
        json::read("the body", &method.input(), &body).map_err(invalid)?.encode_to_vec().into()
    } else {
        // A service calls what it can not decode INTERNAL, as if it were its own fault.
        DynamicMessage::decode(method.input(), body.clone()).map_err(|error| {
            invalid(format!("the body is no {}: {error}", method.input().name()))
        })?;
        body
    };
    let mut answers = calls.call(path, &parts.headers, &parts.extensions, &message).await?;
    if is_json {
        for answer in &mut answers {
            let json = json::written(method.output(), answer).map_err(Status::internal)?;
            *answer = Bytes::from(json);
        }
    }
    if is_stream {
        return Ok(envelope::sealed(&answers, b"{}"));
    }
    let answer = answers.pop().ok_or_else(|| Status::internal("the call gave no answer"))?;
    Ok(answer.into())
}

/// The whole body of a request.
pub(super) async fn whole(body: Body) -> Result<Bytes, Status> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        let what =
            format!("the body can not be read ({error}); it may have {BODY_BYTES_MAX} bytes");
        Status::invalid_argument(what)
    })
}

pub(super) fn invalid(what: impl Into<String>) -> Status {
    let what = crate::frontdoor::status::capped(what.into(), 2048);
    Status::invalid_argument(what)
}
