//! A store that misbehaves to order: the faults that docs/fencing.md reasons about, one by one.
//!
//! ```ignore
//! let faulty = FaultyStore::over(Arc::new(InMemory::new()));
//! let store = Store::wrap(faulty.objects(), TRAITS, "faulty:");
//! faulty.plan(Rule::on(Op::Put, "run/", Fault::LoseReply));      // the next put of a commit
//! faulty.plan(Rule::on(Op::Put, "id/", Fault::Fail).times(3));   // then three failures
//! ```
//!
//! Of the rules that fit a request the oldest one takes it; a rule takes one request unless told
//! otherwise. A request that no rule takes goes through. The faults sit below the counting layer of
//! `Store`, so a failed request counts as sent, as it would on a network.

use std::{
    fmt, future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, path::Path,
};

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Also of metadata alone.
    Get,
    /// Conditional or not.
    Put,
    /// Of any kind; the key is the prefix.
    List,
    /// One key of a stream is one request.
    Delete,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not applied; an error of unknown meaning (a timeout, a 5xx).
    Fail,
    /// Applied; the same error, since the reply is lost.
    LoseReply,
    /// The same error now; applied when [`FaultyStore::release`] is called.
    ApplyLate,
    /// Applied; answers `AlreadyExists`, as when a client repeated its own write silently.
    OwnAlreadyExists,
    /// Not applied; answers `AlreadyExists` though there may be no object (S3's 409).
    Conflict,
    /// Applied; answered when [`FaultyStore::open`] is called.
    AnswerLate,
    /// Not applied, never answered.
    Hang,
    /// A put whose condition is ignored.
    IgnoreCondition,
    /// A get or a list that finds nothing.
    ShowNothing,
}

/// Which requests a fault befalls.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    op: Op,
    prefix: String,
    fault: Fault,
    skip: usize,
    times: usize,
}

impl Rule {
    /// The next `op` on a key that starts with the text `prefix`.
    pub(crate) fn on(op: Op, prefix: &str, fault: Fault) -> Self {
        Self { op, prefix: prefix.to_owned(), fault, skip: 0, times: 1 }
    }

    /// Lets `count` such requests through first.
    #[must_use]
    pub(crate) fn skip(self, count: usize) -> Self {
        Self { skip: count, ..self }
    }

    /// Takes `count` requests instead of one.
    #[must_use]
    pub(crate) fn times(self, count: usize) -> Self {
        Self { times: count, ..self }
    }

    /// Takes every request from then on.
    #[must_use]
    pub(crate) fn always(self) -> Self {
        self.times(usize::MAX)
    }
}

/// When the process that uses the store dies, in requests from now.
#[derive(Clone, Copy, Debug)]
struct Crash {
    served: usize,
    last_reply_lost: bool,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    log: Vec<(Op, String)>,
    held: Vec<BoxFuture<'static, ()>>,
    crash: Option<Crash>,
    waiting: usize,
}

impl State {
    /// What befalls this request.
    fn next(&mut self, op: Op, key: &str) -> Option<Fault> {
        self.log.push((op, key.to_owned()));
        if let Some(crash) = &mut self.crash {
            let Some(left) = crash.served.checked_sub(1) else { return Some(Fault::Fail) };
            if op != Op::List {
                crash.served = left;
                if left == 0 && crash.last_reply_lost {
                    return Some(Fault::LoseReply);
                }
            }
        }
        let fits = |rule: &&mut Rule| rule.op == op && key.starts_with(&rule.prefix);
        for rule in self.rules.iter_mut().filter(fits) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return Some(rule.fault);
            }
        }
        None
    }
}

/// A store in front of another one. Clones share the plan; two of them over one inner store are two
/// processes.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
    gate: Arc<tokio::sync::Notify>,
}

impl FaultyStore {
    /// In front of `inner`, without any fault yet.
    pub(crate) fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, state: Arc::default(), gate: Arc::default() }
    }

    /// This store as `Store::wrap` takes it.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.clone())
    }

    /// Adds a rule behind those that are there.
    pub(crate) fn plan(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Forgets all rules, and a crash that was planned or has come.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.crash = None;
    }

    /// Serves `count` more requests and fails all after them: the process died between two requests.
    ///
    /// Lists are served meanwhile and do not count: they go on by themselves while nothing happens,
    /// change nothing, and whoever dies after one leaves what he left before it.
    pub(crate) fn crash_after(&self, count: usize) {
        self.state().crash = Some(Crash { served: count, last_reply_lost: false });
    }

    /// As [`Self::crash_after`], but the reply to the last one is lost: it died before it read it.
    pub(crate) fn crash_within(&self, count: usize) {
        self.state().crash = Some(Crash { served: count, last_reply_lost: true });
    }

    /// Whether a planned crash has come.
    pub(crate) fn is_crashed(&self) -> bool {
        self.state().crash.is_some_and(|crash| crash.served == 0)
    }

    /// How many writes wait to be applied late.
    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Applies the writes that [`Fault::ApplyLate`] held, oldest first.
    pub(crate) async fn release(&self) {
        let held = std::mem::take(&mut self.state().held);
        for write in held {
            write.await;
        }
    }

    /// Answers what [`Fault::AnswerLate`] held back.
    pub(crate) fn open(&self) {
        self.gate.notify_waiters();
    }

    /// Waits for the next [`Self::open`].
    async fn opened(&self) {
        let opened = self.gate.notified();
        self.state().waiting += 1;
        opened.await;
        self.state().waiting -= 1;
    }

    /// How many requests wait to be answered late.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Every request so far, in order, with its key.
    pub(crate) fn log(&self) -> Vec<(Op, String)> {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `write`, or does to it what the plan says.
    async fn write<T: Send + 'static>(
        &self,
        fault: Option<Fault>,
        key: &Path,
        write: BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        match fault {
            None | Some(Fault::IgnoreCondition | Fault::ShowNothing) => write.await,
            Some(Fault::Fail) => Err(unknown("no answer")),
            Some(Fault::LoseReply) => {
                drop(write.await);
                Err(unknown("the reply is lost"))
            }
            Some(Fault::ApplyLate) => {
                self.state().held.push(write.map(drop).boxed());
                Err(unknown("no answer yet"))
            }
            Some(Fault::OwnAlreadyExists) => {
                drop(write.await);
                Err(already_exists(key))
            }
            Some(Fault::Conflict) => Err(already_exists(key)),
            Some(Fault::AnswerLate) => {
                let answer = write.await;
                self.opened().await;
                answer
            }
            Some(Fault::Hang) => future::pending().await,
        }
    }

    /// What befalls a read, which returns whether it may find something.
    async fn read(fault: Option<Fault>) -> Result<bool> {
        match fault {
            None | Some(Fault::IgnoreCondition | Fault::AnswerLate) => Ok(true),
            Some(Fault::ShowNothing) => Ok(false),
            Some(Fault::Hang) => future::pending().await,
            Some(
                Fault::Fail
                | Fault::LoseReply
                | Fault::ApplyLate
                | Fault::OwnAlreadyExists
                | Fault::Conflict,
            ) => Err(unknown("no answer")),
        }
    }

    /// `entries` as far as the plan lets the list be read.
    fn listed(
        &self,
        prefix: Option<&Path>,
        entries: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let faulty = self.clone();
        let prefix = prefix.map(ToString::to_string).unwrap_or_default();
        let listed = async move {
            let fault = faulty.state().next(Op::List, &prefix);
            let found = Self::read(fault).await?;
            let entries = if found { entries } else { futures::stream::empty().boxed() };
            Ok::<_, Error>(entries)
        };
        futures::stream::once(listed).try_flatten().boxed()
    }
}

fn unknown(why: &'static str) -> Error {
    Error::Generic { store: "faulty", source: why.into() }
}

fn already_exists(key: &Path) -> Error {
    Error::AlreadyExists { path: key.to_string(), source: "by order".into() }
}

fn not_offered() -> Error {
    Error::NotImplemented { operation: "copy or multipart".into(), implementer: "faulty".into() }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FaultyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        key: &Path,
        body: PutPayload,
        mut how: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.state().next(Op::Put, key.as_ref());
        if fault == Some(Fault::IgnoreCondition) {
            how.mode = PutMode::Overwrite;
        }
        let (inner, at) = (Arc::clone(&self.inner), key.clone());
        self.write(fault, key, async move { inner.put_opts(&at, body, how).await }.boxed()).await
    }

    async fn put_multipart_opts(
        &self,
        _key: &Path,
        _how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(not_offered())
    }

    async fn get_opts(&self, key: &Path, how: GetOptions) -> Result<GetResult> {
        let fault = self.state().next(Op::Get, key.as_ref());
        if fault == Some(Fault::AnswerLate) {
            let answer = self.inner.get_opts(key, how).await;
            self.opened().await;
            return answer;
        }
        if Self::read(fault).await? {
            return self.inner.get_opts(key, how).await;
        }
        Err(Error::NotFound { path: key.to_string(), source: "by order".into() })
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let faulty = self.clone();
        keys.and_then(move |key| {
            let faulty = faulty.clone();
            async move {
                let fault = faulty.state().next(Op::Delete, key.as_ref());
                let (inner, at) = (Arc::clone(&faulty.inner), key.clone());
                let delete = async move { inner.delete(&at).await }.boxed();
                faulty.write(fault, &key, delete).await?;
                Ok(key)
            }
        })
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let text = prefix.map(ToString::to_string).unwrap_or_default();
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        let fault = self.state().next(Op::List, &text);
        if !Self::read(fault).await? {
            found.objects.clear();
            found.common_prefixes.clear();
        }
        Ok(found)
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _how: CopyOptions) -> Result<()> {
        Err(not_offered())
    }
}
