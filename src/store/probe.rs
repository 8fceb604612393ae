//! The conformance probe: a store that would lose data is refused before anything is trusted to it.
//!
//! Everything that the log promises rests on put-if-absent, and a store that ignores the condition
//! answers just like one that keeps it. So it is tried: alone, twice, and by many at once. All keys
//! are under `probe/{random}/` and deleted afterwards, also when a check fails.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, path::Path,
};
use thiserror::Error;

use super::Store;
use crate::{env::Env, workflow::Timestamp};

/// How many put one key at once.
const RACERS: usize = 32;
/// How many races are run, one after the other. In the first one the requests wait for connections and
/// come one by one: s3s-fs, which looks and then writes, passed it in 17 of 20 starts. Those after it find
/// the connections open, and it passed each of them in 1 of 20.
const RACES: u32 = 4;
/// Races tried until so many have a winner: a store may answer "conflict" to all.
const RACES_MAX: u32 = RACES + 2;
/// Tries to reach the store at all, and the wait before the second; each further one is doubled.
const TRIES_MAX: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// A difference of clocks that people should know of.
const SKEW_WARNING_MILLIS: u64 = 2_000;
/// The difference of clocks that the wake rules allow for (docs/fencing.md "Clocks").
const SKEW_MILLIS_MAX: u64 = 60_000;

/// A put within which so much time passes says little about clocks: whatever stood still meanwhile,
/// this process or the store, hides as large a difference.
const TIMED_MAX: Duration = Duration::from_secs(5);
/// So many more puts are timed then, and the shortest counts.
const TIMED_AGAIN: u32 = 5;

/// What a store must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A put-if-absent of a new key stores it.
    Create,
    /// A second put-if-absent of the key is refused and changes nothing.
    RejectCreate,
    /// Of many puts-if-absent of one key at once, exactly one is accepted, and it is the one stored.
    Race,
    /// A get returns the bytes that were put.
    Read,
    /// A list made after a put shows the key.
    List,
    /// A list is in key order, on a store that is used as an ordered one.
    Order,
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Create => "create",
            Self::RejectCreate => "reject create",
            Self::Race => "32-way race",
            Self::Read => "read after put",
            Self::List => "list after put",
            Self::Order => "list order",
        })
    }
}

/// Why a store is not used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ProbeError {
    #[error(
        "{url} would lose data: the check \"{check}\" failed: {detail}; use a store with conditional \
         puts (If-None-Match: *), or upgrade this one"
    )]
    Unfit { url: String, check: Check, detail: String },
    #[error("the bucket of {url} does not exist; create it, or correct the name")]
    Missing {
        url: String,
        #[source]
        source: Arc<StoreError>,
    },
    #[error(
        "{url} refuses our credentials; they must allow get, put, list and delete under the prefix"
    )]
    Denied {
        url: String,
        #[source]
        source: Arc<StoreError>,
    },
    #[error("{url} does not answer; check the endpoint, the region and the network, or the disk")]
    Unreachable {
        url: String,
        #[source]
        source: Arc<StoreError>,
    },
    #[error(
        "the clock of this machine and the one of {url} are {} s apart; set this clock (NTP): \
         over 60 s timers would be missed", millis.unsigned_abs() / 1_000
    )]
    Skew { url: String, millis: i64 },
}

/// What the probe found out about a store that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// How far the store's clock is ahead of ours, in milliseconds, as far as its stamps tell (those
    /// of S3 are whole seconds). Zero for a store whose clock is ours.
    pub clock_ahead_millis: i64,
}

impl ProbeReport {
    /// Whether the clocks differ so much (over 2 s) that a person should be told.
    pub fn is_skewed(self) -> bool {
        self.clock_ahead_millis.unsigned_abs() > SKEW_WARNING_MILLIS
    }
}

/// Tries what the log relies on, and compares the clocks. Costs 130 PUT, 6 GET, 1 LIST and the deletion of
/// 7 keys, of which few wait for another.
///
/// # Errors
///
/// [`ProbeError::Unreachable`] may pass by itself. All others: a person must change something.
pub async fn probe(store: &Store, env: &dyn Env) -> Result<ProbeReport, ProbeError> {
    let probe = Probe::new(store, env);
    let outcome = probe.run().await;
    let races = (0..RACES_MAX).map(|round| probe.key(&race(round)));
    probe.delete(races.chain([probe.key(CREATED)]).collect()).await;
    outcome
}

/// Compares the clocks, on a store that was probed before. Costs 1 PUT, 2 GET and 1 DELETE, more where the
/// put took over 5 s; nothing where the store's clock is ours.
///
/// # Errors
///
/// As of [`probe`]; [`ProbeError::Skew`] is what to stop for.
pub async fn compare_clocks(store: &Store, env: &dyn Env) -> Result<ProbeReport, ProbeError> {
    if store.is_exclusive() {
        return Ok(ProbeReport { clock_ahead_millis: 0 });
    }
    let probe = Probe::new(store, env);
    let outcome = probe.compare().await;
    probe.delete(vec![probe.key(CREATED)]).await;
    outcome
}

/// The first key that is put.
const CREATED: &str = "created";

/// The key of a race.
fn race(round: u32) -> String {
    format!("race-{round}")
}

/// One probe of one store.
struct Probe<'a> {
    store: &'a Store,
    env: &'a dyn Env,
    folder: Path,
}

/// A put between two looks at our clock, and what the store stamped it with.
struct Timed {
    before: Timestamp,
    after: Timestamp,
    /// In milliseconds since the Unix epoch.
    stamp: i64,
}

impl Timed {
    fn took(&self) -> Duration {
        self.after.since(self.before)
    }
}

impl<'a> Probe<'a> {
    fn new(store: &'a Store, env: &'a dyn Env) -> Self {
        Self { store, env, folder: Path::from(format!("probe/{:032x}", env.random())) }
    }

    async fn run(&self) -> Result<ProbeReport, ProbeError> {
        let before = self.env.now();
        self.create().await?;
        let after = self.env.now();
        let raced = self.races().await?;
        self.reject_create().await?;
        let created = self.list(&raced).await?;
        self.clock(before, after, &created).await
    }

    async fn compare(&self) -> Result<ProbeReport, ProbeError> {
        let before = self.env.now();
        self.create().await?;
        let after = self.env.now();
        let created = self.store.objects().head(&self.key(CREATED)).await;
        self.clock(before, after, &created.map_err(|error| self.failed(error))?).await
    }

    /// The put that says most about clocks: `first`, unless it took too long.
    async fn timed(&self, first: Timed) -> Timed {
        let mut shortest = first;
        for round in 0..TIMED_AGAIN {
            if shortest.took() <= TIMED_MAX {
                break;
            }
            if let Ok(timed) = self.timed_put(&format!("timed-{round}")).await {
                shortest = if timed.took() < shortest.took() { timed } else { shortest };
            }
        }
        shortest
    }

    async fn timed_put(&self, name: &str) -> Result<Timed, StoreError> {
        let before = self.env.now();
        let put = self.put(name, "timed").await;
        let after = self.env.now();
        let seen = self.store.objects().head(&self.key(name)).await;
        self.delete(vec![self.key(name)]).await;
        put?;
        Ok(Timed { before, after, stamp: seen?.last_modified.timestamp_millis() })
    }

    /// Puts the first key; the only step that waits for a store that does not answer.
    async fn create(&self) -> Result<(), ProbeError> {
        let mut wait = FIRST_WAIT;
        for last in (0..TRIES_MAX).map(|try_| try_ + 1 == TRIES_MAX) {
            match self.put(CREATED, "first").await {
                // Also `AlreadyExists`: an earlier try may have got through without its answer.
                Ok(())
                | Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    return self.expect(CREATED, "first", Check::Create).await;
                }
                Err(error) if last || !is_passing(&error) => return Err(self.failed(error)),
                Err(_) => self.env.sleep(wait).await,
            }
            wait *= 2;
        }
        unreachable!("BUG: the last try returns")
    }

    async fn reject_create(&self) -> Result<(), ProbeError> {
        match self.put(CREATED, "second").await {
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                self.expect(CREATED, "first", Check::RejectCreate).await
            }
            Ok(()) => Err(self.unfit(
                Check::RejectCreate,
                "a put-if-absent of a key that exists was accepted".to_owned(),
            )),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Races until enough were won by one each; returns the keys that were won.
    async fn races(&self) -> Result<Vec<String>, ProbeError> {
        let (mut won, mut failure) = (vec![], None);
        for key in (0..RACES_MAX).map(race) {
            match self.race(&key).await? {
                Ok(()) => won.push(key),
                Err(undecided) => failure = undecided,
            }
            if won.len() == RACES as usize {
                return Ok(won);
            }
        }
        Err(match failure {
            Some(error) => self.failed(error),
            None => {
                self.unfit(Check::Race, format!("none of {RACERS} puts-if-absent of one key won"))
            }
        })
    }

    /// Lets all put `key` at once. The inner error: nobody won, perhaps for this reason.
    async fn race(&self, key: &str) -> Result<Result<(), Option<StoreError>>, ProbeError> {
        let bodies: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
        let answers = join_all(bodies.iter().map(|body| self.put(key, body))).await;
        let winners: Vec<&String> = bodies
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(body, _)| body)
            .collect();
        match winners.as_slice() {
            [winner] => self.expect(key, winner, Check::Race).await.map(Ok),
            [] => Ok(Err(answers.into_iter().filter_map(Result::err).find(is_passing))),
            many => {
                let detail = format!("{} of {RACERS} puts-if-absent of one key won", many.len());
                Err(self.unfit(Check::Race, detail))
            }
        }
    }

    /// Looks for the keys that were put; returns what the list says of the first.
    async fn list(&self, raced: &[String]) -> Result<ObjectMeta, ProbeError> {
        let listed: Vec<ObjectMeta> = self
            .store
            .objects()
            .list(Some(&self.folder))
            .try_collect()
            .await
            .map_err(|error| self.failed(error))?;
        if self.store.is_ordered() && !listed.is_sorted_by(|a, b| a.location < b.location) {
            return Err(self.unfit(Check::Order, "a list was not in key order".to_owned()));
        }
        let shows = |name: &str| listed.iter().find(|entry| entry.location == self.key(name));
        let shows_raced = raced.iter().all(|name| shows(name).is_some());
        let Some(created) = shows(CREATED).filter(|_| shows_raced) else {
            let detail = "a list did not show a key that had just been put".to_owned();
            return Err(self.unfit(Check::List, detail));
        };
        Ok(created.clone())
    }

    /// Compares the clocks by the put of `created`, which was sent at `before` and answered at `after`.
    async fn clock(
        &self,
        before: Timestamp,
        after: Timestamp,
        created: &ObjectMeta,
    ) -> Result<ProbeReport, ProbeError> {
        let stamp = created.last_modified.timestamp_millis();
        let timed = self.timed(Timed { before, after, stamp }).await;
        let ours = (signed(timed.before), signed(timed.after));
        let clock_ahead_millis = if self.store.is_exclusive() { 0 } else { gap(ours, timed.stamp) };
        if clock_ahead_millis.unsigned_abs() > SKEW_MILLIS_MAX {
            let url = self.store.url().to_owned();
            return Err(ProbeError::Skew { url, millis: clock_ahead_millis });
        }
        Ok(ProbeReport { clock_ahead_millis })
    }

    /// Checks that `name` holds `body`.
    async fn expect(&self, name: &str, body: &str, check: Check) -> Result<(), ProbeError> {
        let got = match self.store.objects().get(&self.key(name)).await {
            Ok(found) => found.bytes().await.map_err(|error| self.failed(error))?,
            Err(StoreError::NotFound { .. }) => {
                let detail = "a key that had just been put was not found".to_owned();
                return Err(self.unfit(Check::Read, detail));
            }
            Err(error) => return Err(self.failed(error)),
        };
        if got == body.as_bytes() {
            return Ok(());
        }
        let detail = match check {
            Check::Create | Check::Read | Check::List | Check::Order => {
                "other bytes came back than were put"
            }
            Check::RejectCreate => "a refused put-if-absent replaced the object",
            Check::Race => "the put-if-absent that was accepted is not the one stored",
        };
        Err(self.unfit(check, detail.to_owned()))
    }

    async fn put(&self, name: &str, body: &str) -> Result<(), StoreError> {
        let only_new = PutOptions::from(PutMode::Create);
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.store.commits().put_opts(&self.key(name), body.into(), only_new).await.map(drop)
    }

    async fn delete(&self, keys: Vec<Path>) {
        let keys: Vec<_> = keys.into_iter().map(Ok).collect();
        let answers = self.store.objects().delete_stream(futures::stream::iter(keys).boxed());
        if let Some(Err(error)) =
            answers.filter(|answer| std::future::ready(answer.is_err())).next().await
        {
            tracing::warn!(%error, folder = %self.folder, "keys of the probe could not be deleted");
        }
    }

    fn key(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }

    fn unfit(&self, check: Check, detail: String) -> ProbeError {
        ProbeError::Unfit { url: self.store.url().to_owned(), check, detail }
    }

    fn failed(&self, error: StoreError) -> ProbeError {
        let url = self.store.url().to_owned();
        let denied = is_denied(&error);
        let missing = matches!(error, StoreError::NotFound { .. });
        let source = Arc::new(error);
        if denied {
            ProbeError::Denied { url, source }
        } else if missing {
            ProbeError::Missing { url, source }
        } else {
            ProbeError::Unreachable { url, source }
        }
    }
}

fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. })
}

/// Whether the same request may work a moment later.
fn is_passing(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. } | StoreError::JoinError { .. })
}

fn signed(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// How far `theirs` lies outside the span `ours`; a whole second may stand for any moment in it.
fn gap((before, after): (i64, i64), theirs: i64) -> i64 {
    let latest = if theirs % 1_000 == 0 { theirs + 999 } else { theirs };
    if latest < before {
        latest - before
    } else if theirs > after {
        theirs - after
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_within_the_request_is_no_skew() {
        assert_eq!(gap((10_500, 10_700), 10_600), 0);
        assert_eq!(gap((10_500, 10_700), 10_000), 0, "a whole second covers 10,000 to 10,999");
    }

    #[test]
    fn a_stamp_outside_the_request_is_skew_of_its_sign() {
        assert_eq!(gap((10_500, 10_700), 15_700), 5_000);
        assert_eq!(gap((10_500, 10_700), 4_001), -6_499);
        assert_eq!(gap((10_500, 10_700), 4_000), -5_501);
    }
}
