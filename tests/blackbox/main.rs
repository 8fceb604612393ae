//! What a client can see, and what it costs: one file for each promise.
//!
//! Every test runs against engines of its own, served on a free port of the loopback, through the
//! generated client. Two variables choose what all of them run on:
//! * `LAZARUS_TEST_SHAPE=function`: no cache, no timers in memory, no reservations: a function's life;
//! * `LAZARUS_TEST_STORE`: `memory` (where it is missing), `file`, `embedded`, or the URL of a bucket such as
//!   `s3://bucket/prefix`, under which each test has a prefix of its own.
//!
//! Tests that put faults into a store or damage what is in it have one in memory, whatever is chosen.

#![allow(unreachable_pub, reason = "a test binary has no one to reach")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a client outside the engine has a clock, tasks and a terminal of its own"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::large_types_passed_by_value,
    clippy::type_complexity,
    clippy::unused_async,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect fails"
)]

mod ambiguity;
mod approval;
mod audit;
mod bench;
#[path = "../support/client.rs"]
mod client;
mod clock;
mod corrupt;
mod cost;
mod cost_model;
mod crash;
mod dispatch;
#[path = "../support/faulty.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod faulty;
mod garbage;
mod graph;
mod http;
mod instances;
mod kill;
mod many;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod process;
mod push;
mod resume;
mod retention;
mod sleepers;
mod start;
mod stream;
mod support;
mod tls;
mod wait;
mod workflows;
