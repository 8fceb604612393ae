//! Lists: range scans over whole path segments, in key order, read in chunks as they are taken.

use std::{ops::Bound, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{Error, ListResult, ObjectMeta, Result, path::Path};

use super::database::Database;

/// The first chunk of a list; each further one is twice as long, up to the last number.
const CHUNK_FIRST: usize = 16;
const CHUNK_MAX: usize = 1_024;

/// The keys under a prefix, as a range.
#[derive(Clone, Debug)]
struct Span {
    from: Bound<String>,
    to: Bound<String>,
}

impl Span {
    /// All keys below `prefix`, which counts in whole segments.
    fn below(prefix: &Path) -> Self {
        if prefix.as_ref().is_empty() {
            return Self { from: Bound::Unbounded, to: Bound::Unbounded };
        }
        Self {
            from: Bound::Excluded(format!("{prefix}/")),
            to: Bound::Excluded(format!("{prefix}{AFTER_SLASH}")),
        }
    }

    /// The part after `key`.
    fn after(self, key: &str) -> Self {
        let later = match &self.from {
            Bound::Unbounded => true,
            Bound::Included(from) | Bound::Excluded(from) => key >= from.as_str(),
        };
        if later { Self { from: Bound::Excluded(key.to_owned()), ..self } } else { self }
    }

    /// The part from `key` on.
    fn starting_at(self, key: String) -> Self {
        Self { from: Bound::Included(key), ..self }
    }

    /// The bounds, or none when they enclose nothing (which a range scan would not take).
    fn bounds(&self) -> Option<(Bound<String>, Bound<String>)> {
        let text = |bound: &Bound<String>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
            Bound::Unbounded => None,
        };
        let empty = text(&self.from).zip(text(&self.to)).is_some_and(|(from, to)| from >= to);
        (!empty).then(|| (self.from.clone(), self.to.clone()))
    }
}

/// The character after `/`: what ends the range of a prefix.
const AFTER_SLASH: char = '0';

/// The objects below `prefix`, after `offset` if there is one.
pub(super) fn entries(
    database: Arc<Database>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let mut span = Span::below(&prefix.cloned().unwrap_or_default());
    if let Some(offset) = offset {
        span = span.after(offset.as_ref());
    }
    let start = Some(Position { database, span, length: CHUNK_FIRST });
    futures::stream::try_unfold(start, async |position| match position {
        Some(position) => position.read().await.map(Some),
        None => Ok(None),
    })
    .map_ok(|chunk| futures::stream::iter(chunk.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

/// How far a list has been read.
struct Position {
    database: Arc<Database>,
    span: Span,
    length: usize,
}

impl Position {
    /// The next chunk, and where the one after it begins; none when this was the last.
    ///
    /// No iterator of the engine is kept in between: it would pin what is deleted meanwhile.
    async fn read(self) -> Result<(Vec<ObjectMeta>, Option<Self>)> {
        let Self { database, span, length } = self;
        let scanned = tokio::task::spawn_blocking(move || {
            let chunk = chunk(&database, &span, length)?;
            Ok::<_, Error>((chunk, database, span))
        });
        let (chunk, database, span) = scanned.await??;
        let last = chunk.last().filter(|_| chunk.len() == length);
        let next = last.map(|last| Self {
            span: span.after(last.location.as_ref()),
            length: (length * 2).min(CHUNK_MAX),
            database,
        });
        Ok((chunk, next))
    }
}

fn chunk(database: &Database, span: &Span, length: usize) -> Result<Vec<ObjectMeta>> {
    let Some(bounds) = span.bounds() else { return Ok(Vec::new()) };
    let entries = database.range(bounds).take(length);
    entries.map(|entry| entry.map(|(key, record)| record.meta(key))).collect()
}

/// The objects and the prefixes directly below `prefix`.
///
/// Jumps over the keys of a prefix once it has one of them: the cost is that of the answer.
pub(super) fn children(database: &Database, prefix: &Path) -> Result<ListResult> {
    let mut found = ListResult {
        common_prefixes: Vec::new(),
        objects: Vec::new(),
        extensions: http::Extensions::default(),
    };
    let mut span = Span::below(prefix);
    while let Some(bounds) = span.bounds() {
        let mut jump = None;
        for entry in database.range(bounds) {
            let (key, record) = entry?;
            let mut parts = key.prefix_match(prefix).into_iter().flatten();
            match (parts.next(), parts.next()) {
                (Some(child), Some(_)) => {
                    let child = prefix.clone().join(child);
                    jump = Some(format!("{child}{AFTER_SLASH}"));
                    found.common_prefixes.push(child);
                    break;
                }
                (_, _) => {
                    drop(parts);
                    found.objects.push(record.meta(key));
                }
            }
        }
        match jump {
            Some(key) => span = span.starting_at(key),
            None => break,
        }
    }
    Ok(found)
}
