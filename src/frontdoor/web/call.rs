//! One call of a gRPC service of this process, from an encoded message to encoded answers.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Version,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
        TE, TRANSFER_ENCODING,
    },
};
use http_body_util::BodyExt as _;
use tonic::{Status, service::Routes};
use tower::ServiceExt as _;

use crate::env::Env;

/// How long a client waits, in milliseconds.
const CONNECT_TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const TIMEOUT_DIGITS_MAX: usize = 10;

/// What belongs to the request over HTTP and not to the call.
const OF_HTTP: [HeaderName; 9] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TE,
    TRANSFER_ENCODING,
];

/// What stands before each message on the wire: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The services, for calls from inside; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    services: Routes,
    env: Arc<dyn Env>,
}

impl Calls {
    pub(super) fn new(services: Routes, env: Arc<dyn Env>) -> Self {
        Self { services, env }
    }

    /// Calls `path` with `message`; `headers` and `extensions` are those of the request that asks.
    /// All messages of the answer, once the last of them is there.
    ///
    /// # Errors
    ///
    /// What the service answers; `INTERNAL` when it answers what is no gRPC, and `DEADLINE_EXCEEDED`
    /// when the time is over that the client has named.
    pub(super) async fn call(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
        message: &[u8],
    ) -> Result<Vec<Bytes>, Status> {
        let answered = self.answered(path, headers, extensions, message);
        let Some(within) = timeout(headers)? else { return answered.await };
        tokio::select! {
            answer = answered => answer,
            () = self.env.sleep(within) => Err(Status::deadline_exceeded(
                "the time that the client gave is over; what it asked for may be done all the same",
            )),
        }
    }

    async fn answered(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
        message: &[u8],
    ) -> Result<Vec<Bytes>, Status> {
        let mut request = Request::new(Body::from(framed(message)));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = path.parse().map_err(|_| Status::unimplemented("no such call"))?;
        *request.headers_mut() = headers.clone();
        *request.extensions_mut() = extensions.clone();
        for name in &OF_HTTP {
            request.headers_mut().remove(name);
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        let Ok(response) = self.services.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let answered =
            body.collect().await.map_err(|status| Status::internal(status.to_string()))?;
        let trailers = answered.trailers().and_then(Status::from_header_map);
        match trailers.or_else(|| Status::from_header_map(&parts.headers)) {
            Some(status) if status.code() == tonic::Code::Ok => messages(answered.to_bytes()),
            Some(mut status) => {
                // An answer that is only an error has it among what goes with the error.
                status.metadata_mut().remove(CONTENT_TYPE.as_str());
                Err(status)
            }
            None => Err(Status::internal("the call ended without a status")),
        }
    }
}

/// How long the client waits, in Connect's words; none: it does not say.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(&CONNECT_TIMEOUT) else { return Ok(None) };
    let millis = value.to_str().ok().filter(|text| text.len() <= TIMEOUT_DIGITS_MAX);
    let millis = millis.and_then(|text| text.parse().ok()).map(Duration::from_millis);
    millis.map(Some).ok_or_else(|| {
        Status::invalid_argument("connect-timeout-ms is no number of at most ten digits")
    })
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("BUG: a body is bounded"));
    frame.put_slice(message);
    frame.freeze()
}

fn messages(mut body: Bytes) -> Result<Vec<Bytes>, Status> {
    let mut messages = vec![];
    while body.has_remaining() {
        let broken = || Status::internal("the answer is cut off");
        if body.remaining() < PREFIX_BYTES {
            return Err(broken());
        }
        let (_, length) = (body.get_u8(), body.get_u32() as usize);
        if body.remaining() < length {
            return Err(broken());
        }
        messages.push(body.split_to(length));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart_as_they_were_put_together() {
        let body = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let apart = messages(Bytes::from(body)).unwrap();
        assert_eq!(apart, [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn a_body_that_is_cut_off_is_no_answer() {
        for cut in [1, 4, 6, 7] {
            let body = framed(b"one").slice(..cut);
            assert_eq!(messages(body).unwrap_err().message(), "the answer is cut off");
        }
    }
}
