//! Brings ready steps and polling workers together.
//!
//! Owns the polls that wait on this instance, the tasks this instance knows to be ready or in a
//! worker's hands ([`Board`]), the offers through which instances hear of each other's ready tasks
//! ([`Offers`]), and the worker records ([`Workers`]). Never decides anything about a run: whether a
//! task is still open is for its log to say, and everything here may be forgotten at any time; a
//! guard brings the run back.

mod board;
mod fit;
mod hands;
mod offers;
mod waits;
mod workers;

pub use board::{Board, Candidate, Submitter};
pub use fit::{Match, Poller, Ready, Scope};
pub use hands::Held;
pub use offers::{Offer, Offers, Scan};
pub use waits::{Grant, PlaceNumber, Wait, Waiting};
pub use workers::{WorkerRecord, Workers};

use std::time::Duration;

/// How long a task that is reserved for a worker's next poll waits for it.
pub const RESERVATION: Duration = Duration::from_secs(1);
/// How long a worker that missed a reservation gets no other.
pub const RESERVATION_PENALTY: Duration = Duration::from_mins(1);
