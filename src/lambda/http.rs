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
    let path = path_of(&request).to_owned();
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

/// What was asked for, without the stage of an HTTP API, which stands before it.
fn path_of(request: &lambda_http::Request) -> &str {
    let path = request.raw_http_path();
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
        return path;
    };
    let stage = context.stage.as_deref().filter(|stage| *stage != "$default");
    let after = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    after.filter(|rest| rest.starts_with('/')).unwrap_or(path)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(stage: &str, path: &str, time_epoch: i64) -> lambda_http::Request {
        let event = json!({"version": "2.0", "rawPath": path, "rawQueryString": "a=b%20c",
            "headers": {"content-type": "application/json"}, "isBase64Encoded": false, "body": "{}",
            "requestContext": {"stage": stage, "timeEpoch": time_epoch, "http": {"method": "POST",
            "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}}});
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    #[test]
    fn the_stage_of_an_api_is_no_part_of_the_path() {
        for (stage, path, expected) in [
            ("$default", "/v1/executions", "/v1/executions?a=b%20c"),
            ("prod", "/prod/v1/executions/a%2Fb", "/v1/executions/a%2Fb?a=b%20c"),
            ("prod", "/product/x", "/product/x?a=b%20c"),
            ("prod", "/v1/executions", "/v1/executions?a=b%20c"),
        ] {
            let request = request(asked(stage, path, 0), Timestamp::default());
            assert_eq!(request.uri().to_string(), expected);
            assert_eq!(request.method(), "POST");
        }
    }

    #[test]
    fn a_gateway_far_away_in_time_is_refused_and_one_without_a_clock_is_not() {
        let now = Timestamp::from_millis(1_764_000_000_000);
        let status = |epoch| refused(&asked("$default", "/", epoch), now).map(|it| it.code());
        assert_eq!(status(1_764_000_059_000), None);
        assert_eq!(status(1_763_999_941_000), None);
        assert_eq!(status(1_764_000_061_000), Some(tonic::Code::Unavailable));
        assert_eq!(status(1_763_999_939_000), Some(tonic::Code::Unavailable));
        assert_eq!(status(0), None);
    }

    fn answer(kind: &'static str, body: &'static [u8]) -> Answer {
        let answer = http::Response::builder().header(CONTENT_TYPE, kind);
        answer.body(Bytes::from_static(body)).unwrap()
    }

    #[tokio::test]
    async fn text_stays_text_and_bytes_are_encoded() {
        let json = wrapped(Speech::Json, answer("application/json", b"{}")).await;
        assert_eq!((json.status_code, json.is_base64_encoded), (200, false));
        assert_eq!(json.body, Some(LambdaBody::Text("{}".to_owned())));
        let bytes = wrapped(Speech::GrpcWeb, answer("application/grpc-web+proto", b"\0\xff")).await;
        assert!(bytes.is_base64_encoded);
        assert_eq!(bytes.body, Some(LambdaBody::Binary(vec![0, 0xff])));
    }

    #[tokio::test]
    async fn what_lambda_would_not_take_is_told_so() {
        const LONG: &[u8] = &[b'a'; ANSWER_BYTES_MAX];
        const QUOTES: &[u8] = &[b'"'; ANSWER_BYTES_MAX / 2 + 1];
        const BYTES: &[u8] = &[0xff; ANSWER_BYTES_MAX / 4 * 3 + 3];
        let status = async |kind, body| wrapped(Speech::Json, answer(kind, body)).await.status_code;
        assert_eq!(status("application/json", LONG).await, 200);
        assert_eq!(status("application/json", QUOTES).await, 400);
        assert_eq!(status("application/proto", BYTES).await, 400);
    }
}
