//! What goes back when a poll is cut off: a task that was granted to it, or that it has taken off the
//! board, and of which nobody was told.

use super::Engine;
use crate::{
    dispatch::{Board, Grant, Held, PlaceNumber, Poller, Wait},
    workflow::TaskToken,
};

/// A poll that waits. If it is cut off while a task is granted to it, that task is kept for the worker's
/// next poll, as nobody was told of it.
#[derive(Debug)]
pub(super) struct Listening {
    engine: Engine,
    poller: Poller,
    pub(super) wait: Wait,
}

impl Listening {
    pub(super) fn new(engine: Engine, poller: Poller, wait: Wait) -> Self {
        Self { engine, poller, wait }
    }

    pub(super) fn poller(&self) -> &Poller {
        &self.poller
    }

    pub(super) fn place(&self) -> PlaceNumber {
        self.wait.number
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.wait.granted.close();
        if let Ok(Grant::Task(token, _)) = self.wait.granted.try_recv() {
            self.engine.hand_back(&self.poller, token);
        }
    }
}

/// A task that was granted and that its poll has not told of yet; as [`Listening`] if that is cut off.
pub(super) struct Untold<'a> {
    engine: &'a Engine,
    poller: &'a Poller,
    token: Option<&'a TaskToken>,
}

impl<'a> Untold<'a> {
    pub(super) fn new(engine: &'a Engine, poller: &'a Poller, token: &'a TaskToken) -> Self {
        Self { engine, poller, token: Some(token) }
    }

    /// Somebody is about to be told.
    pub(super) fn let_go(mut self) {
        self.token = None;
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.engine.hand_back(self.poller, token.clone());
        }
    }
}

/// What a poll has taken off the board and not yet answered; put back when the poll is cut off.
pub(super) struct InHand<'a> {
    board: &'a Board,
    poller: &'a Poller,
    held: Option<Held>,
}

impl<'a> InHand<'a> {
    pub(super) fn new(board: &'a Board, poller: &'a Poller, held: Held) -> Self {
        Self { board, poller, held: Some(held) }
    }

    /// What became of it stands on the board.
    pub(super) fn let_go(mut self) {
        self.held = None;
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.board.hold(&self.poller.namespace, &self.poller.worker, held);
        }
    }
}
