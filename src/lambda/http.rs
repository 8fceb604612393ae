//! A request of a function URL or an HTTP API, through the front door.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use lambda_http::{
    Body as LambdaBody, RequestExt as _, aws_lambda_events::apigw::ApiGatewayV2httpResponse,
    request::RequestContext,
};
use tonic::Status;
use tower::ServiceExt as _;

use super::life::Life;
use crate::{
    frontdoor::{Deadline, Speech, refuse},
    workflow::Timestamp,
};

/// What Lambda takes for an answer, less a little for its headers.
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024 - 64 * 1024;
/// How far this clock may be from that of AWS (docs/fencing.md "Clocks").
const SKEW_MILLIS_MAX: u64 = 60_000;

/// The request as the front door takes it; its path is without the stage of an HTTP API.
pub(super) fn request(request: lambda_http::Request, polls_end: Timestamp) -> Request {
    let path = request.raw_http_path().to_owned();
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut asked = Request::new(match body {
        LambdaBody::Text(text) => Body::from(text),
        LambdaBody::Binary(bytes) => Body::from(bytes),
        LambdaBody::Empty | _ => Body::empty(),
    });
    *asked.method_mut() = parts.method;
    // A path that can not be one names nothing, and is answered so.
    *asked.uri_mut() = format!("{path}{query}").parse().unwrap_or_default();
    *asked.headers_mut() = parts.headers;
    asked.extensions_mut().insert(Deadline(polls_end));
    asked
}

/// Why a request is not even tried.
pub(super) fn refused(request: &lambda_http::Request, now: Timestamp) -> Option<Status> {
    if Speech::of(request.headers()) == Speech::Grpc {
        return Some(Status::unimplemented(
            "Lambda carries no gRPC; speak gRPC-Web or Connect, or ask a server",
        ));
    }
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
        return None;
    };
    // The gateway's clock, for nothing. One that says none, such as an emulator's, is believed.
    let theirs = u64::try_from(context.time_epoch).ok().filter(|millis| *millis > 0)?;
    let apart = now.as_millis().abs_diff(theirs);
    (apart > SKEW_MILLIS_MAX).then(|| {
        let seconds = apart / 1000;
        tracing::error!(seconds, "this function's clock and the gateway's differ; nothing is done");
        Status::unavailable(format!(
            "the clocks of this function and of its gateway are {seconds} s apart: over 60 s timers \
             would be missed; try again"
        ))
    })
}

/// The answer of the front door, whole; none: it was not there by `until`.
pub(super) async fn answered(life: &Life, request: Request, until: Timestamp) -> Option<Answer> {
    let router = life.router.clone();
    let answering = async move {
        let Ok(response) = router.oneshot(request).await;
        whole(response).await
    };
    life.run(until, answering).await
}

/// An answer over HTTP that is all there.
pub(super) type Answer = http::Response<Bytes>;

/// The whole of a response. Those of the front door end by themselves.
pub(super) async fn whole(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(body) => http::Response::from_parts(parts, body),
        Err(error) => {
            let status = Status::internal(format!("the answer broke off: {error}"));
            let refusal = refuse(Speech::Json, &status);
            let (parts, _) = refusal.into_parts();
            http::Response::from_parts(parts, Bytes::new())
        }
    }
}

/// `status`, for whoever speaks `speech`.
pub(super) async fn refusal(speech: Speech, status: &Status) -> Answer {
    whole(refuse(speech, status)).await
}

/// The answer as Lambda takes it; one that is too long is an error instead.
pub(super) async fn wrapped(speech: Speech, answer: Answer) -> ApiGatewayV2httpResponse {
    let is_text = is_text(&answer);
    // Base64 makes four bytes of three; in JSON, quotes and the like make two of one.
    let bytes = if is_text { answer.body().len() } else { answer.body().len().div_ceil(3) * 4 };
    let escaped = if is_text { escapes(answer.body()) } else { 0 };
    if bytes + escaped > ANSWER_BYTES_MAX {
        let what = format!(
            "the answer has {} bytes, and Lambda takes about 6 MB; ask the bucket itself (--store), or \
             a server",
            answer.body().len()
        );
        return plain(refusal(speech, &Status::out_of_range(what)).await);
    }
    plain(answer)
}

fn plain(answer: Answer) -> ApiGatewayV2httpResponse {
    let is_text = is_text(&answer);
    let (parts, body) = answer.into_parts();
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = parts.status.as_u16().into();
    response.headers = parts.headers;
    response.is_base64_encoded = !is_text;
    response.body = Some(if is_text {
        LambdaBody::Text(String::from_utf8_lossy(&body).into_owned())
    } else {
        LambdaBody::Binary(body.into())
    });
    response
}

fn is_text(answer: &Answer) -> bool {
    let said = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    said.is_some_and(|said| said.starts_with("application/json") || said.starts_with("text/"))
        && std::str::from_utf8(answer.body()).is_ok()
}

/// By how much the text grows in JSON.
fn escapes(text: &[u8]) -> usize {
    let grows = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..32 => 5,
        _ => 0,
    };
    text.iter().map(grows).sum()
}
