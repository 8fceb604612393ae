//! What Lazarus asks of AWS beside storage: to call a Lambda function, and to be known to endpoints
//! that ask who calls.
//!
//! Owns the signed request, and what the answers of Lambda mean. Credentials and signatures are those of the S3
//! client: the same variables, roles and metadata services. Never decides whom to call, nor what a
//! function's answer means.

mod functions;
mod signer;

pub use functions::{CallError, Functions, SetupError};
pub use signer::{Signer, invoke_url, region};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What does not stand in a path as it is: all but AWS's "unreserved" characters.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
