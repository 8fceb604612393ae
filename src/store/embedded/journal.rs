//! Cuts off what a crash tore from the end of the engine's journal, before the engine reads it.
//!
//! A write cut short is recognised by the engine itself. But a power cut may also keep a later page
//! of the last batch and lose an earlier one, and then the engine refuses the whole store. Here the
//! last batch alone is given up; it was not synced, so nobody was told of it. A broken batch with
//! sound ones after it is no torn tail: those were synced later, so synced bytes have changed, and
//! the store is reported as damaged.
//!
//! Layout (fjall 3, little-endian): a batch is `1 items:u32 seqno:u64`, its items, `3 xxh3:u64 "FJL\3"`.
//! An item is `2 kind:u8 codec:u8 keyspace:u64 key_len:u16 value_len:u32 stored_len:u32 key stored`;
//! the hash is over the items' bytes. The rest of the file is zeros, set aside for what comes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";

/// No batch that the engine wrote has a number from here on: one each nanosecond would take a century to
/// get there. At twice this number it panics.
const NUMBERS_END: u64 = 1 << 62;

/// How much of a journal is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How many zeros in a row are the end: reading all of a new journal takes 150 ms on a slow disk.
const ZEROS_MAX: usize = 1 << 20;

/// What keeps a journal from being made whole.
#[derive(Debug)]
pub(super) enum Error {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes the newest journal of `directory` end with a sound batch; returns how many journals or
/// batches hold data. Older journals were sealed with a sync, so they have no torn tail.
pub(super) fn cut_torn_tail(directory: &Path) -> Result<usize, Error> {
    let mut journals = journals(directory)?;
    let Some((_, newest)) = journals.pop() else { return Ok(0) };
    let bytes = read_data(&newest)?;
    let (batches, sound) = sound_part(&bytes);
    let tail = &bytes[sound..];
    if !tail.is_empty() {
        if let Some(offset) = later_batch(tail) {
            return Err(Error::Damaged(format!(
                "{} is broken at byte {sound}, with sound data from byte {} on",
                newest.display(),
                sound + offset
            )));
        }
        tracing::warn!(journal = %newest.display(), at = sound, "cutting off an unfinished write");
        let file = OpenOptions::new().write(true).open(&newest)?;
        file.set_len(sound as u64)?;
        file.sync_all()?;
    }
    Ok(journals.len() + batches)
}

/// What `journal` holds before the zeros at its end, of which a new one has 64 MiB.
///
/// Stops at [`ZEROS_MAX`] of them. What may lie behind is part of the same torn batch: it goes when
/// the file is cut before them, here or (when they follow a sound batch at once) by the engine.
fn read_data(journal: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(journal)?;
    let mut data = Vec::new();
    let mut zeros = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    let blank = vec![0; CHUNK_BYTES];
    while zeros < ZEROS_MAX {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        if chunk[..length] == blank[..length] {
            zeros += length;
        } else {
            data.resize(data.len() + std::mem::take(&mut zeros), 0);
            data.extend_from_slice(&chunk[..length]);
        }
    }
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data.truncate(end);
    Ok(data)
}

/// The journals, oldest first.
fn journals(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// How many sound batches `bytes` begin with, and how long they are together.
fn sound_part(bytes: &[u8]) -> (usize, usize) {
    let mut batches = 0;
    let mut sound = 0;
    while let Some(length) = batch_length(&bytes[sound..]) {
        batches += 1;
        sound += length;
    }
    (batches, sound)
}

/// Where a sound batch begins within `tail`, other than at its first byte.
fn later_batch(tail: &[u8]) -> Option<usize> {
    let starts = tail.iter().enumerate().skip(1).filter(|(_, byte)| **byte == START);
    starts.map(|(offset, _)| offset).find(|offset| batch_length(&tail[*offset..]).is_some())
}

/// The length of the batch at the start of `bytes`; none when there is none, or a broken one.
fn batch_length(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != START {
        return None;
    }
    let items = u32::from_le_bytes(reader.array()?);
    // The hash does not cover the number, and the engine would count on from it.
    if u64::from_le_bytes(reader.array()?) >= NUMBERS_END {
        return None;
    }
    let mut hash = Xxh3::new();
    for _ in 0..items {
        let from = reader.at;
        reader.item()?;
        hash.update(&bytes[from..reader.at]);
    }
    let sound = reader.byte()? == END
        && u64::from_le_bytes(reader.array()?) == hash.digest()
        && reader.array()? == TRAILER;
    sound.then_some(reader.at)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, _) = self.bytes.get(self.at..)?.split_first_chunk::<N>()?;
        self.at += N;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.at = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        Some(())
    }

    fn item(&mut self) -> Option<()> {
        if self.byte()? != ITEM {
            return None;
        }
        self.skip(1 + 1 + 8)?;
        let key = usize::from(u16::from_le_bytes(self.array()?));
        self.skip(4)?;
        let stored = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        self.skip(key)?;
        self.skip(stored)
    }
}
