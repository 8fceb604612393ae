//! The walk at start: every run that may need this process, once.

use std::{collections::HashSet, future};

use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{Entry, WakeIndex};
use crate::{
    log,
    workflow::{Timestamp, WakeKind},
};

/// One entry for each run that has a guard, due or not, or a timer that is due at `now`.
///
/// For the engine to load, in the background and a few at a time, so that deadlines are in memory and
/// tasks that nobody holds are offered. Yields entries and does nothing: it ends no lease. A run may
/// have other entries than the one that is given.
///
/// Costs the LISTs of all guards and of the due timers; 16 bytes for each run. A shard that can not
/// be listed gives one `Err`, and the walk goes on with the next.
pub fn walk(
    index: &WakeIndex,
    now: Timestamp,
) -> impl Stream<Item = Result<Entry, log::Error>> + Send + 'static {
    let index = index.clone();
    let mut seen = HashSet::new();
    stream::iter(0..index.shards())
        .flat_map(move |shard| {
            let timers = index.until(shard, WakeKind::Timer, now);
            index.all(shard, WakeKind::Guard).chain(timers)
        })
        .try_filter(move |entry| future::ready(seen.insert(entry.handle.run)))
}
