//! Rule R1: what the store's answer to a put-if-absent means.
//!
//! Neither an error nor "already exists" says whether *our* write is in: a reply can be lost after
//! the write, a layer below can have sent it twice, and a conflict is reported as an existing object.
//! So the object's own `cid` decides, and until it can be read the same bytes are sent again.
//!
//! Source: docs/fencing.md "R1".

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::{Either, select};
use object_store::{PutMode, PutOptions};

use super::{
    commit::{Commit, Encoded},
    error::{Error, is_refusal, is_unbegun},
    key::{Key, SEQ_MAX},
    object::RunLog,
};
use crate::{
    store::Along,
    workflow::{ExecutionKey, Generation, Namespace, RunId},
};

/// The first pause before the same bytes are sent again.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is known of a put that is not resolved yet.
#[derive(Debug, Default)]
struct Doubt {
    /// Whether an attempt may have written, or may yet write: a later refusal says nothing about
    /// that one.
    may_be_in: bool,
    /// The last error.
    said: Option<object_store::Error>,
}

impl Doubt {
    /// Notes the answer to an attempt; `before`: whether an earlier one may be in.
    fn hear(&mut self, error: object_store::Error, before: bool) {
        if is_refusal(&error) || is_unbegun(&error) {
            self.may_be_in = before;
        }
        self.said = Some(error);
    }

    /// What the caller hears when there is no time left.
    fn unresolved(&mut self, key: &Key) -> Error {
        let key = key.to_string();
        match self.said.take() {
            Some(said) if !self.may_be_in => Error::of_store("write", &key, said),
            said => Error::unknown(key, said),
        }
    }
}

fn locked(doubt: &Mutex<Doubt>) -> MutexGuard<'_, Doubt> {
    doubt.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Append {
    /// It is in the log, for ever.
    Committed,
    /// Another stands in its place: this one, which is therefore also the news.
    Lost(Box<Commit>),
}

impl RunLog {
    /// Creates a run with its start commit, or returns who has this generation of the id; then nothing
    /// went `along` either.
    ///
    /// Costs as [`RunLog::append`].
    ///
    /// # Errors
    ///
    /// As [`RunLog::append`].
    ///
    /// # Panics
    ///
    /// When `commit` is not the first of its run.
    pub async fn create(
        &self,
        (namespace, execution, generation): (&Namespace, &ExecutionKey, Generation),
        commit: &Encoded,
        along: Option<Along>,
        deadline: Duration,
    ) -> Result<Append, Error> {
        assert_eq!(commit.seq, 0, "BUG: a run is created with a commit that is not its first");
        let (namespace, execution) = (namespace.clone(), execution.clone());
        self.put(&Key::Id { namespace, execution, generation }, commit, along, deadline).await
    }

    /// Appends `commit` at exactly `commit.seq`, or returns who did; then nothing went `along` either.
    ///
    /// Linearizable per run: of all callers with one `seq`, exactly one sees [`Append::Committed`].
    /// Costs 1 PUT, and one for what goes along; a lost race 1 GET more. `deadline` covers all retries. Dropping the future
    /// leaves the outcome unknown.
    ///
    /// # Errors
    ///
    /// * [`Error::Unknown`]: may still land. Release no effect, drop the cached state, answer
    ///   UNAVAILABLE.
    /// * [`Error::Unavailable`]: the store refuses to write, or its disk is full; nothing was written.
    /// * [`Error::Corrupt`], [`Error::TooNew`]: what stands in its place can not be read, or does not
    ///   continue the log that we continue; ours is not in.
    ///
    /// # Panics
    ///
    /// When `commit` is of another run, or the first of its run.
    ///
    /// Source: docs/format.md "Commit"; docs/fencing.md "R1".
    pub async fn append(
        &self,
        run: RunId,
        commit: &Encoded,
        along: Option<Along>,
        deadline: Duration,
    ) -> Result<Append, Error> {
        assert_eq!(commit.run, run, "BUG: a commit is appended to another run");
        assert!(
            (1..SEQ_MAX).contains(&commit.seq),
            "BUG: a commit has a number that none can have"
        );
        self.put(&Key::Run { run, seq: commit.seq }, commit, along, deadline).await
    }

    async fn put(
        &self,
        key: &Key,
        commit: &Encoded,
        along: Option<Along>,
        deadline: Duration,
    ) -> Result<Append, Error> {
        let doubt = Mutex::new(Doubt::default());
        let mut how = PutOptions::from(PutMode::Create);
        if let Some(along) = along {
            how.extensions.insert(along);
        }
        let resolved = Box::pin(self.put_until_resolved(key, commit, &how, &doubt));
        match select(resolved, self.env.sleep(deadline)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), _)) => Err(locked(&doubt).unresolved(key)),
        }
    }

    /// Sends the same bytes until it is known whether they are in the log.
    async fn put_until_resolved(
        &self,
        key: &Key,
        commit: &Encoded,
        how: &PutOptions,
        doubt: &Mutex<Doubt>,
    ) -> Result<Append, Error> {
        use object_store::Error::{AlreadyExists, Precondition};
        let path = key.path();
        let mut pause = PAUSE_FIRST;
        loop {
            let payload = commit.bytes.clone().into();
            let may_be_in = std::mem::replace(&mut locked(doubt).may_be_in, true);
            let put = self.store.commits().put_opts(&path, payload, how.clone()).await;
            match put {
                Ok(_) => return Ok(Append::Committed),
                Err(AlreadyExists { .. } | Precondition { .. }) => {
                    if let Some(outcome) = self.who_is_in(key, commit).await? {
                        return Ok(outcome);
                    }
                }
                Err(error) if is_refusal(&error) && !may_be_in => {
                    return Err(Error::of_store("write", &key.to_string(), error));
                }
                Err(error) => locked(doubt).hear(error, may_be_in),
            }
            self.env.sleep(self.shortened(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whose commit stands at `key`; none when that is not known: nothing stands there (the store
    /// reported a conflict of two writes under way), or it could not be read just now.
    async fn who_is_in(&self, key: &Key, ours: &Encoded) -> Result<Option<Append>, Error> {
        let found = match self.commit(key).await {
            Ok(found) => found,
            Err(Error::Unknown { .. } | Error::Unavailable { .. } | Error::Throttled { .. }) => {
                None
            }
            Err(error @ (Error::Corrupt { .. } | Error::TooNew { .. })) => return Err(error),
        };
        let Some(found) = found else { return Ok(None) };
        if found.cid == ours.cid {
            return Ok(Some(Append::Committed));
        }
        if let Some(before) = &ours.prev {
            found.check_follows(before)?;
        }
        Ok(Some(Append::Lost(Box::new(found))))
    }

    /// Between half of `pause` and all of it, so that writers that collided do not meet again.
    fn shortened(&self, pause: Duration) -> Duration {
        let half = u64::try_from(pause.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        let random = u64::try_from(self.env.random() % u128::from(half)).unwrap_or(0);
        Duration::from_micros(half + random)
    }
}
