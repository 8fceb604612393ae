//! How clients and workers reach the engines: any of them, and another one when one does not answer.

use std::{error::Error as _, net::SocketAddr, sync::Arc, time::Duration};

use tonic::{Code, Response, Status};

use crate::{
    chance::Chance,
    client::Client,
    ledger::{Ledger, count},
};

/// How long one try of a request may take: longer than an engine that works needs, shorter than one
/// that stands still may.
const TRY_MAX: Duration = Duration::from_secs(5);
/// The pause before a request is sent again, at most.
const PAUSE_MAX_MS: u64 = 200;

/// A client of each engine.
#[derive(Clone, Debug)]
pub struct Gates {
    clients: Vec<Client>,
    ledger: Arc<Ledger>,
}

impl Gates {
    pub fn new(addresses: &[SocketAddr], ledger: Arc<Ledger>) -> Self {
        Self {
            clients: addresses.iter().map(|address| Client::connect(*address)).collect(),
            ledger,
        }
    }

    /// The client of an engine that chance picks.
    pub fn any(&self, chance: &Chance) -> Client {
        self.clients[chance.index(self.clients.len())].clone()
    }

    /// Sends a request to one engine after the other until it is answered, at most `tries` times.
    ///
    /// # Errors
    ///
    /// A refusal, or the last of what may be sent again.
    pub async fn ask<T, Answer>(
        &self,
        chance: &Chance,
        tries: u32,
        send: impl Fn(Client) -> Answer,
    ) -> Result<T, Status>
    where
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let mut times = 0;
        loop {
            let answer = tokio::time::timeout(TRY_MAX, send(self.any(chance))).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("this client waits no longer"),
            };
            times += 1;
            if times == tries || !is_worth_a_retry(&status) {
                return Err(status);
            }
            count(&self.ledger.retries);
            tokio::time::sleep(Duration::from_millis(chance.from(10, PAUSE_MAX_MS))).await;
        }
    }
}

/// Whether the same request may be sent again: nobody answered, or with "later".
pub fn is_worth_a_retry(status: &Status) -> bool {
    let later =
        [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded, Code::Cancelled];
    // Only a broken connection has a source.
    status.source().is_some() || later.contains(&status.code())
}
