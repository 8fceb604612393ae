//! The wake index: how a run that is due is found, whoever put it to sleep and wherever that died.
//!
//! Owns the entries under `wake/` (put, found, re-armed, deleted), the due times that this process
//! remembers, and the bounded passes over both. Never decides what a run does and never deletes an
//! entry by its own judgement: that is [`Resurrect`]'s, except an entry that it has just put again.
//!
//! Invariants:
//! * an entry is re-armed by putting the new key first and deleting the old one after;
//! * a pass costs O(due), whatever sleeps, and goes on where the last one stopped;
//! * a key that can not be read is left where it is.
//!
//! Source: docs/format.md "Keys".

mod cadence;
mod index;
mod near;
mod part;
mod scan;
mod tick;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

pub use cadence::{Beat, Cadence};
pub use index::{Due, Entry, WakeIndex};
pub use near::{NEAR, Near};
pub use part::Part;
pub use tick::{Limits, Progress, Resurrect, TRIES_MAX, Ticker, Woke};
pub use walk::walk;
