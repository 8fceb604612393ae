//! Makes a store as slow as a bucket, so that what is measured on one machine is an honest figure.
//!
//! Owns: the profiles (how long a request takes, and who says so) and the waiting. Must never change
//! what a request does, how often it is sent, or its outcome.
//!
//! Invariants:
//! * time and chance come from [`crate::env::Env`], so that a simulation owns them;
//! * a store applies a request in the middle of its time, as over a network: whoever gives up waiting
//!   does not know whether it was applied.

mod delayed;
mod profile;

pub(super) use delayed::delayed;
pub use profile::{Latency, LatencyError};
