//! How an error is written in each protocol, and the one table of its codes over HTTP.
//!
//! Source: connectrpc.com/docs/protocol "Error codes"; codes in `status.rs` say what the caller must do.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{envelope, speech::Speech};

/// An answer that says `status` to whoever speaks `speech`.
pub fn refuse(speech: Speech, status: &Status) -> Response {
    match speech {
        Speech::Grpc | Speech::GrpcWeb | Speech::GrpcWebText => {
            let mut response = status.clone().into_http::<Body>();
            let content_type = HeaderValue::from_static(speech.content_type());
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response.into_response()
        }
        Speech::ConnectJson | Speech::ConnectProto => {
            let end = json!({ "error": told(status) }).to_string();
            let body = envelope::sealed(&[], end.as_bytes());
            ([(CONTENT_TYPE, speech.content_type())], body).into_response()
        }
        Speech::Json | Speech::Proto => {
            let code = http_status(status.code());
            of(code, &told(status), status)
        }
    }
}

/// What HTTP itself refuses, with `code` in place of that which the table has.
pub(super) fn refuse_as(code: StatusCode, status: &Status) -> Response {
    of(code, &told(status), status)
}

fn of(code: StatusCode, body: &Value, status: &Status) -> Response {
    let content_type = [(CONTENT_TYPE, Speech::Json.content_type())];
    let mut response = (code, content_type, format!("{body}\n")).into_response();
    // Such as the pause before the next try.
    response.headers_mut().extend(status.metadata().clone().into_headers());
    response
}

fn told(status: &Status) -> Value {
    json!({ "code": name(status.code()), "message": status.message() })
}

fn name(code: Code) -> &'static str {
    row(code).0
}

fn http_status(code: Code) -> StatusCode {
    StatusCode::from_u16(row(code).1).expect("BUG: the table has a number that is no status")
}

const fn row(code: Code) -> (&'static str, u16) {
    match code {
        Code::Ok => ("ok", 200),
        Code::Cancelled => ("canceled", 499),
        Code::Unknown => ("unknown", 500),
        Code::InvalidArgument => ("invalid_argument", 400),
        Code::DeadlineExceeded => ("deadline_exceeded", 504),
        Code::NotFound => ("not_found", 404),
        Code::AlreadyExists => ("already_exists", 409),
        Code::PermissionDenied => ("permission_denied", 403),
        Code::ResourceExhausted => ("resource_exhausted", 429),
        Code::FailedPrecondition => ("failed_precondition", 400),
        Code::Aborted => ("aborted", 409),
        Code::OutOfRange => ("out_of_range", 400),
        Code::Unimplemented => ("unimplemented", 501),
        Code::Internal => ("internal", 500),
        Code::Unavailable => ("unavailable", 503),
        Code::DataLoss => ("data_loss", 500),
        Code::Unauthenticated => ("unauthenticated", 401),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn each_protocol_is_told_in_its_own_way() {
        let status = Status::not_found("no such thing");
        let json = refuse(Speech::Json, &status);
        assert_eq!(json.status(), 404);
        assert_eq!(body(json).await, b"{\"code\":\"not_found\",\"message\":\"no such thing\"}\n");
        let web = refuse(Speech::GrpcWeb, &status);
        assert_eq!(web.status(), 200);
        assert_eq!(web.headers()["grpc-status"], "5");
        assert_eq!(web.headers()[CONTENT_TYPE], "application/grpc-web+proto");
        let stream = refuse(Speech::ConnectJson, &status);
        assert_eq!(stream.status(), 200);
        let stream = body(stream).await;
        assert_eq!(stream[0], 2);
        assert_eq!(&stream[5..], br#"{"error":{"code":"not_found","message":"no such thing"}}"#);
    }

    #[test]
    fn the_pause_before_the_next_try_goes_with_the_error() {
        let mut status = Status::resource_exhausted("busy");
        status.metadata_mut().insert("grpc-retry-pushback-ms", 1500.into());
        let response = refuse(Speech::Json, &status);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1500");
    }
}
