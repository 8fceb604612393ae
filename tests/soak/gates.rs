//! How clients and workers reach the engines: any of them, and another one when one does not answer.

use std::{
    error::Error as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

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
/// How long an engine that did not answer is passed over, as a balancer does: else most of the time
/// would go by in waits for engines that stand still.
const SHUNNED: Duration = Duration::from_secs(2);

/// A client of each engine.
#[derive(Clone, Debug)]
pub struct Gates {
    all: Vec<Gate>,
    ledger: Arc<Ledger>,
    begun: Instant,
}

/// The client of one engine.
#[derive(Clone, Debug)]
pub struct Gate {
    pub client: Client,
    /// Milliseconds since the beginning.
    shunned_until: Arc<AtomicU64>,
}

impl Gates {
    pub fn new(addresses: &[SocketAddr], ledger: Arc<Ledger>) -> Self {
        let gate = |address: &SocketAddr| Gate {
            client: Client::connect(*address),
            shunned_until: Arc::default(),
        };
        Self { all: addresses.iter().map(gate).collect(), ledger, begun: Instant::now() }
    }

    /// The gate of an engine that chance picks among those that answered of late, or else among all.
    pub fn any(&self, chance: &Chance) -> Gate {
        let now = self.now_ms();
        let is_open = |gate: &&Gate| gate.shunned_until.load(Ordering::Relaxed) <= now;
        let mut open: Vec<&Gate> = self.all.iter().filter(is_open).collect();
        if open.is_empty() {
            open = self.all.iter().collect();
        }
        open[chance.index(open.len())].clone()
    }

    /// Passes an engine over for a while.
    pub fn shun(&self, gate: &Gate) {
        let pause = u64::try_from(SHUNNED.as_millis()).expect("short");
        gate.shunned_until.store(self.now_ms() + pause, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).expect("not so long")
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
            let gate = self.any(chance);
            let answer = tokio::time::timeout(TRY_MAX, send(gate.client.clone())).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("this client waits no longer"),
            };
            if !is_worth_a_retry(&status) {
                return Err(status);
            }
            self.shun(&gate);
            times += 1;
            if times == tries {
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
