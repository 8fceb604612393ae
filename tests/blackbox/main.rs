//! What a client can see, and what it costs: one file for each promise.
//!
//! Every test runs against engines of its own, served on a free port of the loopback, through the
//! generated client. Two variables choose what all of them run on:
//! * `LAZARUS_TEST_SHAPE=function`: no cache, no timers in memory, no reservations: a function's life;
//! * `LAZARUS_TEST_S3_URL=s3://bucket/prefix`: a bucket over the wire, in place of memory.

#![allow(unreachable_pub, reason = "a test binary has no one to reach")]

mod approval;
mod clock;
mod cost;
mod crash;
mod dispatch;
#[path = "../support/faulty.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod faulty;
mod instances;
mod kill;
mod start;
mod support;
mod workflows;
