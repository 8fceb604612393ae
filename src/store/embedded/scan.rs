//! Lists: range scans over whole path segments, in key order, read in chunks as they are taken.

use std::ops::Bound;

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{ListResult, ObjectMeta, Result, path::Path};

use super::{database::Database, reader::Reader};

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
    reader: Reader,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let mut span = Span::below(&prefix.cloned().unwrap_or_default());
    if let Some(offset) = offset {
        span = span.after(offset.as_ref());
    }
    let start = Some(Position { reader, span, length: CHUNK_FIRST });
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
    reader: Reader,
    span: Span,
    length: usize,
}

impl Position {
    /// The next chunk, and where the one after it begins; none when this was the last.
    ///
    /// No iterator of the engine is kept in between: it would pin what is deleted meanwhile.
    async fn read(self) -> Result<(Vec<ObjectMeta>, Option<Self>)> {
        let Self { reader, span, length } = self;
        let scanned = reader.read(move |database| Ok((chunk(database, &span, length)?, span)));
        let (chunk, span) = scanned.await?;
        let last = chunk.last().filter(|_| chunk.len() == length);
        let next = last.map(|last| Self {
            span: span.after(last.location.as_ref()),
            length: (length * 2).min(CHUNK_MAX),
            reader,
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
            if let (Some(child), Some(_)) = (parts.next(), parts.next()) {
                let child = prefix.clone().join(child);
                jump = Some(format!("{child}{AFTER_SLASH}"));
                found.common_prefixes.push(child);
                break;
            }
            drop(parts);
            found.objects.push(record.meta(key));
        }
        match jump {
            Some(key) => span = span.starting_at(key),
            None => break,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use bytes::Bytes;

    use super::*;
    use crate::{
        store::embedded::{reader::Readers, record::Record},
        workflow::Timestamp,
    };

    fn key(text: &str) -> Path {
        Path::parse(text).expect("a key")
    }

    #[tokio::test]
    async fn the_first_key_of_a_long_list_costs_one_short_chunk() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path()).expect("opens");
        let record = Record { modified: Timestamp::from_millis(1), body: Bytes::new() };
        let changes: HashMap<Path, Option<Record>> = (0..5_000)
            .map(|number| (key(&format!("wake/{number:05}")), Some(record.clone())))
            .collect();
        database.write(changes).expect("is written");

        let span = Span::below(&key("wake"));
        let readers = Readers::new().expect("threads");
        let reader = readers.of(&Arc::new(database));
        let position = Position { reader, span, length: CHUNK_FIRST };
        let (chunk, rest) = position.read().await.expect("a chunk");
        assert_eq!(chunk.len(), CHUNK_FIRST);
        let rest = rest.expect("there is more");
        assert_eq!(rest.length, 2 * CHUNK_FIRST);
        let (chunk, _) = rest.read().await.expect("a chunk");
        assert_eq!(chunk[0].location, key("wake/00016"), "it goes on without a gap");
    }

    #[test]
    fn a_span_covers_whole_segments() {
        let covers = |span: &Span, text: &str| {
            let range = span.bounds().expect("not empty");
            std::ops::RangeBounds::<String>::contains(&range, &text.to_owned())
        };
        let span = Span::below(&key("run/a"));
        assert!(covers(&span, "run/a/1") && covers(&span, "run/a/~"));
        assert!(!covers(&span, "run/a") && !covers(&span, "run/a-b/1") && !covers(&span, "run/ab"));
        let rest = span.after("run/a/1");
        assert!(!covers(&rest, "run/a/1") && covers(&rest, "run/a/10"));
        assert!(rest.after("run/b").bounds().is_none());
    }
}
