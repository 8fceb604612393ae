//! The objects of one shard in the order of their due times, read lazily, on any store.

use std::collections::VecDeque;

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStore, path::Path};

use crate::{
    log::{self, Key},
    store::Store,
    workflow::{Timestamp, WakeKind},
};

/// What part of a shard's entries of one kind to read.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// The part of the index.
    pub(super) shard: u32,
    /// Timers or guards.
    pub(super) kind: WakeKind,
    /// Only keys after this one, which is where the last pass stopped.
    pub(super) after: Option<Path>,
    /// Nothing in a minute after this time's; none: everything.
    pub(super) until: Option<Timestamp>,
}

/// The objects of `range`, the earliest due first; the last minute may hold later ones too.
///
/// Where listing is ordered this is one flat LIST (a page of 1,000 is 1 request), and whoever stops
/// reading stops paying. Elsewhere folders are opened one by one, day, hour, minute: 1 LIST for each
/// folder on the way, none beyond `until`.
pub(super) fn objects(
    store: &Store,
    range: Range,
) -> BoxStream<'static, Result<ObjectMeta, log::Error>> {
    if store.is_ordered() { flat(store, &range) } else { walk(store, range) }
}

fn flat(store: &Store, range: &Range) -> BoxStream<'static, Result<ObjectMeta, log::Error>> {
    let prefix = Key::wake_prefix(range.shard, range.kind);
    let listed = match &range.after {
        Some(after) => store.objects().list_with_offset(Some(&prefix), after),
        None => store.objects().list(Some(&prefix)),
    };
    listed.map_err(move |error| log::Error::of_store("list", prefix.as_ref(), error)).boxed()
}

/// A folder still to be opened, or an object still to be given out.
#[derive(Debug)]
enum Node {
    Folder(Path),
    Object(ObjectMeta),
}

impl Node {
    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Object(object) => &object.location,
        }
    }
}

fn walk(store: &Store, range: Range) -> BoxStream<'static, Result<ObjectMeta, log::Error>> {
    let objects = store.objects().clone();
    let root = Node::Folder(Key::wake_prefix(range.shard, range.kind));
    let start = (objects, range, VecDeque::from([root]));
    stream::try_unfold(start, |(objects, range, mut nodes)| async move {
        while let Some(node) = nodes.pop_front() {
            match node {
                Node::Object(object) => return Ok(Some((object, (objects, range, nodes)))),
                Node::Folder(folder) => {
                    for child in open(objects.as_ref(), &range, &folder).await?.into_iter().rev() {
                        nodes.push_front(child);
                    }
                }
            }
        }
        Ok(None)
    })
    .boxed()
}

/// What is in `folder` and in `range`, in order. Costs 1 LIST.
async fn open(
    objects: &dyn ObjectStore,
    range: &Range,
    folder: &Path,
) -> Result<Vec<Node>, log::Error> {
    let listed = match objects.list_with_delimiter(Some(folder)).await {
        Ok(listed) => listed,
        // A store of files drops a folder with its last object, between two of our requests.
        Err(object_store::Error::NotFound { .. }) => return Ok(vec![]),
        Err(error) => return Err(log::Error::of_store("list", folder.as_ref(), error)),
    };
    let folders = listed.common_prefixes.into_iter().map(Node::Folder);
    let mut nodes: Vec<Node> =
        folders.chain(listed.objects.into_iter().map(Node::Object)).collect();
    nodes.retain(|node| is_in(range, node));
    nodes.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(nodes)
}

fn is_in(range: &Range, node: &Node) -> bool {
    let path = node.path();
    let is_object = matches!(node, Node::Object(_));
    let passed = range.after.as_ref().is_some_and(|after| {
        let reached = if is_object { after.as_ref() } else { upto(after, path) };
        path.as_ref() < reached || (is_object && path == after)
    });
    let beyond = range.until.is_some_and(|until| {
        let last = Key::wake_minute(range.shard, range.kind, until);
        !is_object && path.as_ref() > upto(&last, path)
    });
    !passed && !beyond
}

/// As many parts of `path` as `like` has.
fn upto<'a>(path: &'a Path, like: &Path) -> &'a str {
    let text = path.as_ref();
    let end = text.match_indices('/').nth(like.parts_count().saturating_sub(1));
    end.map_or(text, |(end, _)| &text[..end])
}
