//! What is fuzzed, one body for each target: bytes in, a panic where a promise is broken.
//!
//! Two drivers share the bodies. `tests/fuzz` runs them on stable in every run of the tests, on the
//! kept corpus and on mutations of it; `fuzz/` hands them to libFuzzer (`make fuzz`). A body is
//! deterministic, keeps nothing between two inputs, and uses only what the crate shows to everybody.

mod blueprint;
mod commit;
mod condition;
mod frontdoor;
mod input;
mod journal;
mod key;
mod run;
mod world;

pub use blueprint::blueprint;
pub use commit::commit;
pub use condition::condition;
pub use frontdoor::{METHODS, frontdoor};
pub use journal::{honest as honest_journal, journal};
pub use key::key;
pub use run::run;

/// What the engine made of an input. A test that sees only one of the two tests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, at least in part, and what was made of it was checked.
    Accepted,
    /// It was refused as it should be.
    Refused,
}

impl Verdict {
    fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}
