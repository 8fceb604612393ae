//! Lazarus: durable workflows whose only state is a bucket.

pub mod cli;
pub mod config;
pub mod dispatch;
pub mod engine;
pub mod env;
pub mod frontdoor;
pub mod log;
pub mod maintenance;
pub mod proto;
pub mod store;
pub mod telemetry;
pub mod wake;
pub mod workflow;
