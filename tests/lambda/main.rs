//! The real binary as a function: what Lambda starts, asks, freezes and thaws, on an emulator of its
//! Runtime API (`emulator.rs`). Not AWS: see docs/lambda.md "What is not tested".

#![allow(unreachable_pub, reason = "a test binary has no one to reach")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "what stands in for Lambda has a clock, tasks and a terminal of its own"
)]

mod backlog;
mod cold;
mod emulator;
mod front_door;
mod limits;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod process;
mod stage;
mod thaw;
mod wake;
