//! Deletes closed executions that are old enough, where no server stays up to do it.

use crate::{
    engine::{Engine, Error, Retained, RetentionPolicy},
    workflow::Timestamp,
};

/// Makes passes until nothing more is to be deleted, or `end`; the next event goes on.
///
/// # Errors
///
/// As of a pass: try again later.
pub(super) async fn retain(
    engine: Engine,
    policy: RetentionPolicy,
    end: Timestamp,
) -> Result<Retained, Error> {
    let mut all = Retained::default();
    loop {
        let pass = Box::pin(engine.retain(&policy, false, |_| {})).await?;
        all = all.with(pass);
        if !pass.has_more || engine.env().now() >= end {
            return Ok(all);
        }
    }
}
