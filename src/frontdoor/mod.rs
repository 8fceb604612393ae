//! The front door: gRPC and HTTP in, engine calls out.
//!
//! Owns the wire: what clients send, what they are answered, and the limits on both. Translates and
//! nothing else: no rule of a workflow stands here, and no request is decided here.
//!
//! Invariants:
//! * a request that changes something runs to its end even when its client goes away
//!   ([`FrontDoor`]); only waiting for a task is given up with the client;
//! * every error reaches a client through one table (`status`);
//! * `convert` is the only place that knows both a wire type and a type of the engine.

mod callback;
mod cerebelum;
mod convert;
mod grpc;
mod http;
mod incoming;
mod lazarus;
mod queues;
mod server;
mod status;
mod tasks;
mod tls;
mod web;

pub use grpc::{Deadline, FrontDoor, NAMESPACE_KEY};
pub use incoming::TlsListener;
pub use server::{Listeners, ServeError, serve};
pub use tls::{Tls, TlsError};
pub use web::{Speech, refuse};
