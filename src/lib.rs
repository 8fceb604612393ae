//! Lazarus: durable workflows whose only state is a bucket.
//!
//! A request goes down through these modules and its answer up again; none names one above it
//! (`tests/tidy.rs`). The map and the life of one request: ARCHITECTURE.md.
//!
//! | module | owns |
//! |---|---|
//! | [`cli`] | arguments into requests, answers into text and exit codes |
//! | [`frontdoor`] | the wire: gRPC and HTTP in, engine calls out |
//! | [`lambda`] | the same as a function on AWS Lambda, and the waker of a schedule |
//! | [`engine`] | the one loop that changes a run: rehydrate, decide, arm, append, fold, effects |
//! | [`dispatch`] | ready steps and polling workers, brought together |
//! | [`push`] | the queues whose tasks are sent to a target: configuration, signature, call |
//! | [`wake`] | the index that brings runs back when they are due |
//! | [`maintenance`] | lists for people, and runs that were put aside; all of it can be rebuilt |
//! | [`log`] | the history of runs: every key, the commit, rule R1 |
//! | [`aws`] | calls Lambda functions |
//! | [`store`] | opens a store by URL, probes it, counts its requests |
//! | [`workflow`] | what a workflow means: pure, no I/O, no clock, no randomness |
//! | [`cost`] | what a workload costs: counts of requests, prices of stores and of others |
//! | [`env`](mod@env) | the seam through which time and randomness enter |
//! | [`proto`] | the gRPC interfaces, as generated |
//! | [`worker`] | a worker in Rust, for programs of users |
//! | [`config`], [`telemetry`] | what an operator may choose; logs and metrics |

pub mod aws;
pub mod cli;
pub mod config;
pub mod cost;
pub mod dispatch;
pub mod engine;
pub mod env;
pub mod frontdoor;
pub mod lambda;
pub mod log;
pub mod maintenance;
pub mod proto;
pub mod push;
pub mod store;
pub mod telemetry;
pub mod wake;
pub mod worker;
pub mod workflow;
