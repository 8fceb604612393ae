//! What is kept beside the logs for people to look at, and could be built again from them.
//!
//! Owns the visibility feed under `feed/` and the runs taken out of the way under `dead/`; audits a
//! store (`audit`), mends its indexes from the logs (`scrub`), and deletes closed executions that are
//! old (`retention`). Nothing here is read to decide what a run does, and nothing here is on the way
//! of a step.
//!
//! Invariants:
//! * a record counts as written only once the batch that holds it is in the store;
//! * a batch is never changed after it was written.

mod audit;
mod batch;
mod dead;
mod feed;
mod listing;
mod record;
mod retention;
mod scrub;

#[cfg(test)]
mod tests;

pub use audit::{Auditor, Finding, Severity, Summary};
pub use dead::Dead;
pub use feed::Feed;
pub use record::{DeadRun, Filter, Page, Record, Standing};
pub use retention::{Deletion, Fate, Gravedigger, Keep, Retained, Retention, RetentionPolicy};
pub use scrub::{Deed, Mended};
