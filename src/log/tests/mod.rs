//! Tests of the log on a scripted store, without a runtime and without waiting.

mod codec;
mod keys;
mod reading;
mod rule_r1;
mod size;
mod support;
