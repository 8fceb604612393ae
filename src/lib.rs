//! Lazarus: durable workflows whose only state is a bucket.

pub mod env;
pub mod store;
pub mod workflow;
