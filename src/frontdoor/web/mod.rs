//! The same calls without gRPC: gRPC-Web, Connect, and a few REST routes, over HTTP/1.1 and HTTP/2.
//!
//! Owns which of these a request speaks, and how answers and errors are written in it. Every request
//! becomes a call of the gRPC services of this process, message for message: what is valid, and what
//! is answered, is decided there alone.
//!
//! Invariants:
//! * a browser sends nothing here that changes something unless it asks first (and it is told no):
//!   each request with a body says that it is JSON, which pages of other sites may not;
//! * a request that is plain gRPC passes through untouched.
//!
//! Source: docs/http.md.

mod call;
mod connect;
mod envelope;
mod json;
mod refusal;
mod rest;
mod speech;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _};

pub use refusal::refuse;
pub use speech::Speech;

use self::call::Calls;
use crate::env::Env;

/// The longest request and answer, as of gRPC.
const BODY_BYTES_MAX: usize = super::server::MESSAGE_BYTES_MAX;

/// All ways in: the services of `grpc` as they are, and translated.
pub(super) fn router(grpc: Routes, env: &Arc<dyn Env>) -> Router {
    let grpc = grpc.prepare();
    let calls = Calls::new(grpc.clone(), Arc::clone(env));
    let rest = rest::router(&calls);
    rest.fallback(move |request: Request| answer(grpc.clone(), calls.clone(), request))
}

/// What no REST route takes.
async fn answer(grpc: Routes, calls: Calls, request: Request) -> Response {
    match Speech::of(request.headers()) {
        Speech::Grpc => whole(grpc.oneshot(request).await),
        Speech::GrpcWeb | Speech::GrpcWebText => {
            whole(GrpcWebLayer::new().layer(grpc).oneshot(request).await)
        }
        Speech::Json | Speech::Proto | Speech::ConnectJson | Speech::ConnectProto => {
            connect::answer(&calls, request).await
        }
    }
}

fn whole(
    answered: Result<http::Response<tonic::body::Body>, std::convert::Infallible>,
) -> Response {
    match answered {
        Ok(response) => response.map(Body::new).into_response(),
        Err(never) => match never {},
    }
}
