//! What Lazarus asks of AWS beside storage: to call a Lambda function.
//!
//! Owns the signed request and what its answers mean. Credentials and signatures are those of the S3
//! client: the same variables, roles and metadata services. Never decides whom to call, nor what a
//! function's answer means.

mod functions;

pub use functions::{CallError, Functions, SetupError};
