//! A store that misbehaves as it is told and writes down what it was asked, and a clock that moves
//! when somebody sleeps.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};

use crate::{
    env::Env,
    log::{Encoded, NewCommit, RunLog, Snapshots, Tail},
    store::{Full, Store},
    workflow::{
        BlueprintRef, CommitFacts, Event, ExecutionId, Handle, Namespace, Payload, RunId, Start,
        State, Timestamp, fold,
    },
};

/// What the store does with the next request of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// As it should.
    Well,
    /// The write is done, the reply is lost.
    LoseReply,
    /// The reply is lost; the write is done after the request that follows.
    WriteLate,
    /// Nothing is done; 500.
    Fail,
    /// The write is done; the layer below sends it again and reports what it hears then.
    WriteTwice,
    /// 409, and nothing is done.
    Conflict,
    /// 403, and nothing is done.
    Deny,
    /// The disk is full, and nothing is begun.
    Full,
}

/// An [`InMemory`] store under a script.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    inner: InMemory,
    puts: Mutex<VecDeque<Act>>,
    gets: Mutex<VecDeque<Act>>,
    late: Mutex<Vec<(Path, PutPayload)>>,
    seen: Mutex<Vec<&'static str>>,
}

impl Scripted {
    /// What the next puts and gets come to; after that, all is well.
    pub(super) fn script(&self, puts: &[Act], gets: &[Act]) {
        *self.puts.lock().unwrap() = puts.iter().copied().collect();
        *self.gets.lock().unwrap() = gets.iter().copied().collect();
    }

    /// The requests since this was last asked.
    pub(super) fn seen(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn next(&self, script: &Mutex<VecDeque<Act>>, request: &'static str) -> Act {
        self.seen.lock().unwrap().push(request);
        script.lock().unwrap().pop_front().unwrap_or(Act::Well)
    }

    async fn write_late(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (path, payload) in late {
            // Refused when another commit is there by now, as on a real store.
            self.inner.put_opts(&path, payload, PutMode::Create.into()).await.ok();
        }
    }
}

fn failed() -> Error {
    Error::Generic { store: "scripted", source: "500".into() }
}

fn denied(path: &Path) -> Error {
    Error::PermissionDenied { path: path.to_string(), source: "403".into() }
}

impl fmt::Display for Scripted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("scripted")
    }
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn put_opts(&self, to: &Path, what: PutPayload, how: PutOptions) -> Result<PutResult> {
        let act = self.next(&self.puts, "PUT");
        let mut late = vec![];
        let result = match act {
            Act::Well => self.inner.put_opts(to, what, how).await,
            Act::LoseReply => {
                self.inner.put_opts(to, what, how).await.ok();
                Err(failed())
            }
            Act::WriteLate => {
                late.push((to.clone(), what));
                Err(failed())
            }
            Act::Fail => Err(failed()),
            Act::WriteTwice => {
                self.inner.put_opts(to, what.clone(), how.clone()).await.ok();
                self.inner.put_opts(to, what, how).await
            }
            Act::Conflict => {
                Err(Error::AlreadyExists { path: to.to_string(), source: "409".into() })
            }
            Act::Deny => Err(denied(to)),
            Act::Full => {
                let full = Full { directory: "/srv".into(), free_bytes: 0 };
                Err(Error::Generic { store: "scripted", source: full.into() })
            }
        };
        self.write_late().await;
        self.late.lock().unwrap().extend(late);
        result
    }

    async fn get_opts(&self, from: &Path, how: GetOptions) -> Result<GetResult> {
        match self.next(&self.gets, "GET") {
            Act::Well => self.inner.get_opts(from, how).await,
            Act::Deny => Err(denied(from)),
            Act::LoseReply
            | Act::WriteLate
            | Act::Fail
            | Act::WriteTwice
            | Act::Conflict
            | Act::Full => Err(failed()),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.seen.lock().unwrap().push("LIST");
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, how).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys).boxed()
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// A clock that moves by a millisecond each time somebody who sleeps looks at it.
#[derive(Debug, Default)]
struct Clock(Arc<AtomicU64>);

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        let due = clock.load(Ordering::Relaxed) + u64::try_from(duration.as_millis()).unwrap();
        Box::pin(poll_fn(move |context| {
            if clock.fetch_add(1, Ordering::Relaxed) >= due {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn random(&self) -> u128 {
        7
    }
}

/// A log on a scripted store.
pub(super) fn log() -> (RunLog, Arc<Scripted>) {
    let store = Arc::new(Scripted::default());
    let log = RunLog::new(over(store.clone()), Arc::new(Clock::default()));
    (log, store)
}

/// The run of all tests.
pub(super) fn handle() -> Handle {
    Handle {
        namespace: Namespace::default(),
        execution: ExecutionId::known("order 17").unwrap().key(),
        generation: 0,
        run: RunId::from_random(0xab),
        seq: 0,
    }
}

/// The events of a start commit.
pub(super) fn start(input: serde_json::Value) -> Vec<Event> {
    vec![Event::ExecutionStarted(Box::new(Start {
        namespace: Namespace::default(),
        execution: ExecutionId::known("order 17").unwrap(),
        generation: 0,
        run: handle().run,
        blueprint: BlueprintRef { name: "orders".to_owned(), version: 1, hash: "00".repeat(32) },
        input: Payload::of(input),
        request: "r1".to_owned(),
        timeout_ms: None,
        deadline: None,
        correlation_id: String::new(),
        tags: vec![],
        with_inputs: [("a".into(), true)].into(),
        arguments: [].into(),
        resumed: None,
    }))]
}

/// A log as a writer keeps it: what it committed last, and the state.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) state: State,
    pub(super) last: Encoded,
}

impl Writer {
    /// A run's first commit.
    pub(super) fn begin(cid: u128) -> Self {
        let events = start(serde_json::json!({"n": 1}));
        let facts = CommitFacts { seq: 0, time: Timestamp::from_millis(1_764_000_000_000) };
        let commit = NewCommit {
            run: handle().run,
            seq: 0,
            prev: None,
            time: facts.time,
            by: "test/1",
            requests: &["r1".to_owned()],
            events: &events,
            snapshots: Snapshots::NONE,
            snapshot: None,
        };
        Self { last: commit.encode(cid), state: fold(None, facts, &events).expect("it follows") }
    }

    /// The commit that settles the next number.
    pub(super) fn next(&self, cid: u128, with_snapshot: bool) -> Self {
        let facts = CommitFacts { seq: self.state.seq + 1, time: self.state.time.after_millis(5) };
        let state = fold(Some(self.state.clone()), facts, &[]).expect("it follows");
        let commit = NewCommit {
            run: state.run,
            seq: facts.seq,
            prev: Some(self.last.sum),
            time: facts.time,
            by: "test/1",
            requests: &[],
            events: &[],
            snapshots: self.last.snapshots,
            snapshot: with_snapshot.then_some(&state),
        };
        Self { last: commit.encode(cid), state }
    }

    /// A log of `commits` commits, each carrying its state where `with_snapshot` says so.
    pub(super) async fn write(
        log: &RunLog,
        commits: u64,
        with_snapshot: impl Fn(u64) -> bool,
    ) -> Self {
        let mut writer = Self::begin(1);
        writer.send(log).await;
        for seq in 1..commits {
            writer = writer.next(u128::from(seq) + 1, with_snapshot(seq));
            writer.send(log).await;
        }
        writer
    }

    async fn send(&self, log: &RunLog) {
        let Handle { namespace, execution, generation, run, .. } = handle();
        let patience = Duration::from_secs(10);
        let outcome = match self.last.seq {
            0 => log.create((&namespace, &execution, generation), &self.last, None, patience).await,
            _ => log.append(run, &self.last, None, patience).await,
        };
        assert_eq!(outcome.unwrap(), crate::log::Append::Committed);
    }
}

/// The numbers of the commits that were read for a tail.
pub(super) fn seqs(tail: &Tail) -> Vec<u64> {
    tail.commits().iter().map(|commit| commit.seq).collect()
}

/// A store that lists in order and that others may share.
pub(super) fn over(objects: Arc<dyn ObjectStore>) -> Store {
    Store::wrap(
        objects,
        crate::store::Traits { ordered: true, ..crate::store::Traits::NONE },
        "scripted",
    )
}
