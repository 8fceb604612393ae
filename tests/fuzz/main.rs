//! Fuzzing on stable: every body of `bodies`, on the kept corpus and on mutations of it.
//!
//! The corpus is `fuzz/corpus/TARGET/`: seeds, and each input that ever broke a promise as
//! `regression-*`; golden files are read where they stand. What is found here or by libFuzzer
//! (`make fuzz`) is written there and stays. Each test counts what was taken and what was refused,
//! and fails when it sees only one of the two: then it tests nothing.

#![allow(unreachable_pub, reason = "a test binary has no one to reach")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test outside the engine has a clock and a terminal of its own"
)]

mod bodies;
mod corpus;
mod drive;
mod mutate;
mod seeds;

use drive::drive;

#[test]
fn any_commit_is_read_or_refused_with_its_key() {
    drive("commit", bodies::commit, 4_000);
}

#[test]
fn any_key_is_read_as_it_is_written_or_not_at_all() {
    drive("key", bodies::key, 10_000);
}

#[test]
fn any_blueprint_is_refused_with_reasons_or_runs() {
    drive("blueprint", bodies::blueprint, 3_000);
}

#[test]
fn any_condition_is_read_or_refused_and_answers_the_same_twice() {
    drive("condition", bodies::condition, 12_000);
}

#[test]
fn any_request_is_answered_and_leaves_a_sound_store() {
    drive("frontdoor", bodies::frontdoor, 500);
}

#[test]
fn any_journal_opens_whole_or_is_refused() {
    drive("journal", bodies::journal, 40);
}

#[test]
fn any_command_is_decided_or_refused() {
    drive("run", bodies::run, 3_000);
}
