//! The bucket as one process reaches it: each request is sent, applied and answered at times of its
//! own, and the weather decides what becomes of it. What is sent is under way whatever becomes of
//! its sender.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use lazarus::store::Along;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, path::Path,
};
use tokio::sync::oneshot;

use super::{
    builds::Build,
    life::Life,
    timeline::Job,
    weather::{Fate, Op, Reply, Status, Strike},
    world::World,
};

/// The way of one process to the bucket.
#[derive(Clone)]
pub struct Way {
    pub world: Arc<World>,
    pub life: Arc<Life>,
    /// Whose it is, in traces.
    pub name: Arc<str>,
    /// Which build reads through it.
    pub build: Build,
}

impl Way {
    /// Sends a request and waits for its answer.
    async fn send<T: Send + 'static>(
        &self,
        op: Op,
        key: &str,
        apply: impl Fn(&World) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        self.life.gate().await;
        if let Some(schedule) = &self.world.schedule {
            return schedule.send(self, op, key, apply).await;
        }
        let fate = self.world.weather.fate(op);
        self.strike(op, &fate).await;
        self.note(op, key, &fate);
        if fate.is_write_in_doubt(op) && key.starts_with("blob/") {
            self.world.trace.count("write of a payload fails, is lost or late");
        }
        let apply = Arc::new(apply);
        let first = Arc::new(Mutex::new(None));
        for after in fate.applied.iter().copied() {
            let (world, apply, first) =
                (Arc::clone(&self.world), Arc::clone(&apply), Arc::clone(&first));
            let life = Arc::clone(&self.life);
            self.plan(after, move || {
                if world.is_exclusive && life.is_dead() {
                    // It was the process itself that would have written.
                    return;
                }
                let came_to = apply(&world);
                first.lock().expect("one thread").get_or_insert(came_to);
            });
        }
        let (answer, answered) = oneshot::channel();
        let (life, key, reply) = (Arc::clone(&self.life), key.to_owned(), fate.reply);
        self.plan(fate.heard, move || {
            life.deliver(Box::new(move || {
                let truth = first.lock().expect("one thread").take();
                drop(answer.send(heard(reply, &key, truth)));
            }));
        });
        match answered.await {
            Ok(heard) => heard,
            // The process died before it heard.
            Err(_) => future::pending().await,
        }
    }

    /// Lets the process be struck, if that is to be.
    async fn strike(&self, op: Op, fate: &Fate) {
        let Some(strike) = self.world.weather.strike(op, fate) else { return };
        self.world.trace.note(|| format!("{}: {}", self.name, strike.words()));
        match strike {
            Strike::DiesBefore => self.life.die(),
            Strike::DiesWithin(after) => {
                let (world, life) = (Arc::clone(&self.world), Arc::clone(&self.life));
                // Nobody starts another one in the calm.
                self.plan(after, move || {
                    if !world.weather.is_calm() {
                        life.die();
                    }
                });
            }
            Strike::Freezes => self.life.freeze(),
        }
        self.life.gate().await;
    }

    fn plan(&self, after: std::time::Duration, job: impl FnOnce() + Send + 'static) {
        let job: Job = Box::new(job);
        let _appointment = self.world.timeline.plan(after, job);
    }

    fn note(&self, op: Op, key: &str, fate: &Fate) {
        self.world.trace.note(|| {
            let fault = fate.fault.map(|fault| format!(" -- {}", fault.words(op)));
            format!("{} {op:?} {key}{}", self.name, fault.unwrap_or_default())
        });
    }

    /// The objects below `prefix`, page by page, each page from the moment at which it is read.
    fn pages(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map(ToString::to_string).unwrap_or_default();
        let place = Place::After(after.map(ToString::to_string));
        let start = Cursor { place, changes: None };
        let way = self.clone();
        let pages = stream::try_unfold(Some(start), move |cursor| {
            let (way, prefix) = (way.clone(), prefix.clone());
            async move {
                let Some(cursor) = cursor else { return Ok::<_, Error>(None) };
                let folder = prefix.clone();
                let page =
                    way.send(Op::List, &prefix, move |world| Ok(page(world, &folder, &cursor)));
                Ok(Some(page.await?))
            }
        });
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten().boxed()
    }
}

/// How far a list was read.
struct Cursor {
    place: Place,
    /// How often the bucket had changed when the page before was read; none: it is the first.
    changes: Option<u64>,
}

/// Where the next page of a list begins.
enum Place {
    /// In order, after this key.
    After(Option<String>),
    /// In no order: these keys are left.
    Rest(Vec<String>),
}

/// One page of a list, and where the next begins.
fn page(world: &World, folder: &str, cursor: &Cursor) -> (Vec<ObjectMeta>, Option<Cursor>) {
    let bucket = world.bucket();
    if cursor.changes.is_some_and(|changes| changes != bucket.changes()) {
        world.trace.count("page of a list from another moment");
    }
    let mut keys: Vec<String> = match &cursor.place {
        Place::After(after) => {
            let found = bucket.below(folder, after.as_deref()).map(|(key, _)| key.clone());
            if world.is_ordered { found.take(world.page + 1).collect() } else { found.collect() }
        }
        Place::Rest(rest) => rest.clone(),
    };
    if !world.is_ordered && cursor.changes.is_none() {
        if keys.len() > 1 {
            world.trace.count("list in no order");
        }
        // Any order will do, as long as it is not the one that somebody may count on.
        keys.sort_by_key(|key| {
            key.bytes()
                .rev()
                .fold(world.seed, |sum, byte| sum.wrapping_mul(31).rotate_left(7) ^ u64::from(byte))
        });
    }
    if let Some(broken) = world.broken {
        keys.retain(|key| !broken.hides(world, key));
    }
    let rest = keys.split_off(keys.len().min(world.page));
    let metas = keys.iter().filter_map(|key| Some(bucket.get(key).ok()?.meta(key))).collect();
    let place = match (rest.is_empty(), world.is_ordered) {
        (true, _) => return (metas, None),
        (false, true) => Place::After(keys.last().cloned()),
        (false, false) => Place::Rest(rest),
    };
    if world.page <= 3 {
        world.trace.count("list in pages of two or three");
    }
    (metas, Some(Cursor { place, changes: Some(bucket.changes()) }))
}

/// What the sender of a request hears, where `truth` is what came of it.
pub(super) fn heard<T>(reply: Reply, key: &str, truth: Option<Result<T>>) -> Result<T> {
    let generic = |text: &str| Error::Generic { store: "simulated", source: text.into() };
    match reply {
        Reply::Truth => truth.expect("a request is applied before it is answered"),
        Reply::Unknown => Err(generic("no answer came")),
        Reply::Status(Status::TooMany) => Err(generic("status code: 429 Too Many Requests")),
        Reply::Status(Status::Broken) => Err(generic("status code: 500 Internal Server Error")),
        Reply::Status(Status::SlowDown) => Err(generic("status code: 503 Slow Down")),
        Reply::Exists => {
            Err(Error::AlreadyExists { path: key.to_owned(), source: "so it says".into() })
        }
        Reply::Precondition => {
            Err(Error::Precondition { path: key.to_owned(), source: "so it says".into() })
        }
    }
}

#[async_trait]
impl ObjectStore for Way {
    async fn put_opts(&self, key: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        let only_if_free = how.mode == PutMode::Create;
        let op = if only_if_free { Op::Create } else { Op::Put };
        let broken = self.world.broken;
        let key = &self.meant(key);
        let (at, bytes) = (key.to_string(), Bytes::from(body));
        let along = how.extensions.get::<Along>().cloned();
        let along = along.map(|along| (self.meant(&along.key).to_string(), along.body));
        let apply = move |world: &World| {
            // Both or none, in one moment.
            if let Some((beside, bytes)) =
                along.as_ref().filter(|_| world.bucket().get(&at).is_err())
            {
                world.put(beside, bytes, false)?;
            }
            let object = match broken.map(|broken| broken.put(world, (&at, &bytes), only_if_free)) {
                None | Some(ControlFlow::Continue(false)) => {
                    world.put(&at, &bytes, only_if_free)?
                }
                Some(ControlFlow::Continue(true)) => world.put(&at, &bytes, false)?,
                Some(ControlFlow::Break(())) => {
                    return Ok(PutResult {
                        e_tag: None,
                        version: None,
                        extensions: http::Extensions::default(),
                    });
                }
            };
            let e_tag = object.meta(&at).e_tag;
            Ok(PutResult { e_tag, version: None, extensions: http::Extensions::default() })
        };
        self.send(op, key.as_ref(), apply).await
    }

    async fn put_multipart_opts(
        &self,
        _key: &Path,
        _how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(not_offered())
    }

    async fn get_opts(&self, key: &Path, how: GetOptions) -> Result<GetResult> {
        assert!(how.range.is_none() && how.if_match.is_none(), "nobody asks so yet");
        let key = &self.meant(key);
        let at = key.to_string();
        let broken = self.world.broken;
        let apply = move |world: &World| {
            let mut object = world.bucket().get(&at)?;
            if let Some(broken) = broken {
                object.bytes = broken.read(world, &at, object.bytes)?;
            }
            Ok(object)
        };
        let mut object = self.send(Op::Get, key.as_ref(), apply).await?;
        object.bytes = match self.world.broken {
            Some(broken) if !self.build.reads_all() => broken.older(object.bytes),
            _ => object.bytes,
        };
        object.bytes = self.build.sees(object.bytes);
        let meta = object.meta(key.as_ref());
        Ok(GetResult {
            range: 0..meta.size,
            payload: GetResultPayload::Stream(stream::iter([Ok(object.bytes)]).boxed()),
            meta,
            attributes: object_store::Attributes::default(),
            extensions: http::Extensions::default(),
        })
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let way = self.clone();
        let delete = move |key: Path| {
            let (way, at) = (way.clone(), key.to_string());
            async move {
                let sent_ms = way.world.now_ms();
                let broken = way.world.broken;
                let apply = move |world: &World| {
                    if broken.is_some_and(|broken| broken.keeps(world, &at)) {
                        return Ok(());
                    }
                    world.delete_sent(&at, sent_ms);
                    if let Some(broken) = broken {
                        broken.deleted(world, &at);
                    }
                    Ok(())
                };
                way.send(Op::Delete, key.as_ref(), apply).await?;
                Ok(key)
            }
        };
        keys.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_from(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_from(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(ToString::to_string).unwrap_or_default();
        let folder = prefix.clone();
        let children = move |world: &World| Ok(world.bucket().children(&folder));
        let (mut objects, common_prefixes) = self.send(Op::List, &prefix, children).await?;
        if let Some(broken) = self.world.broken {
            objects.retain(|object| !broken.hides(&self.world, object.location.as_ref()));
        }
        self.after_list(&objects);
        let extensions = http::Extensions::default();
        Ok(ListResult { objects, common_prefixes, extensions })
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _how: CopyOptions) -> Result<()> {
        Err(not_offered())
    }
}

impl Way {
    fn meant(&self, key: &Path) -> Path {
        self.world.broken.map_or_else(|| key.clone(), |broken| broken.key(&self.world, key))
    }

    fn list_from(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let way = self.clone();
        let entries = self.pages(prefix, after);
        entries.inspect_ok(move |found| way.after_list(std::slice::from_ref(found))).boxed()
    }

    fn after_list(&self, found: &[ObjectMeta]) {
        let Some(broken) = self.world.broken else { return };
        for object in found {
            broken.listed(&self.world, object.location.as_ref());
        }
    }
}

fn not_offered() -> Error {
    Error::NotImplemented { operation: "copy or multipart".into(), implementer: "sim".into() }
}

impl fmt::Debug for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the bucket of {}", self.name)
    }
}
