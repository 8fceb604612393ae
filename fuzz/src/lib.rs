//! The bodies, shared with `tests/fuzz`.

#[path = "../../tests/fuzz/bodies/mod.rs"]
pub mod bodies;
