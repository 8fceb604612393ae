//! Keys, handles and tokens: what is read is exactly what is written, and nothing else is.

use lazarus::{
    log::{DUE_MAX, Key},
    workflow::{
        ExecutionId, ExecutionKey, Handle, Namespace, RunId, Task, TaskToken, Timestamp, WakeKind,
        escape, unescape,
    },
};
use object_store::path::Path;

use super::{Verdict, input::Input};

/// The longest last part of a key: a file name's limit is 255.
const LAST_PART_BYTES_MAX: usize = 254;

/// `data` once as the text of a key, and once as the choices of which one is made.
pub fn key(data: &[u8]) -> Verdict {
    made(&mut Input::new(data));
    let text = String::from_utf8_lossy(data);
    names(&text);
    Verdict::of(read(&text))
}

/// Whether `text` is a key of ours; then it comes back to the letter.
fn read(text: &str) -> bool {
    let Ok(path) = Path::parse(text) else { return false };
    let Some(key) = Key::parse(&path) else { return false };
    assert_eq!(key.to_string(), path.as_ref(), "it was read, but is not written so");
    assert_eq!(key.path(), path);
    assert_eq!(Key::parse(&key.path()), Some(key.clone()));
    if let Key::Id { execution, .. } = &key {
        canonical(execution);
    }
    if let Key::Wake { handle, .. } | Key::Queue { handle, .. } | Key::Dead { handle } = &key {
        canonical(&handle.execution);
    }
    true
}

/// An execution stands in keys as its id is escaped, or as a hash: one id, one key.
fn canonical(execution: &ExecutionKey) {
    let key = execution.as_str();
    match unescape(key) {
        Some(id) => assert_eq!(escape(&id), key, "no id is written so"),
        None => assert!(
            key.strip_prefix('~').is_some_and(|sum| sum.len() == 64 && *sum == sum.to_lowercase()),
            "neither an id nor a hash: {key}"
        ),
    }
}

/// The texts that lead to runs.
fn names(text: &str) {
    let key = escape(text);
    assert!(key.len() <= 120, "{key}");
    match unescape(&key) {
        Some(back) => assert_eq!(back, text),
        None => assert!(key.starts_with('~'), "{key}"),
    }
    if let Ok(handle) = text.parse::<Handle>() {
        canonical(&handle.execution);
        assert_eq!(handle.to_string().parse::<Handle>().ok(), Some(handle));
    }
    if let Ok(token) = text.parse::<TaskToken>() {
        canonical(&token.handle.execution);
        assert_eq!(token.to_string().parse::<TaskToken>().ok(), Some(token));
    }
    if let Ok(run) = text.parse::<RunId>() {
        assert_eq!(run.to_string(), text);
    }
}

/// A key of any names and numbers is a path of the store, short enough, and is read back, unless a
/// name stands in it as a hash.
fn made(input: &mut Input<'_>) {
    let is_plain = |key: &str| key.split(['/', '.']).all(|part| !part.starts_with('~'));
    let Some(key) = chosen(input) else { return };
    let path = key.path();
    let last = path.filename().unwrap_or_default();
    assert!(last.len() <= LAST_PART_BYTES_MAX, "{} bytes: {last}", last.len());
    let read = Key::parse(&path);
    match key {
        // Times are written by the hour here, and up to a last one there.
        Key::Feed { .. } => assert!(read.is_some() || !is_plain(path.as_ref()), "{path}"),
        Key::Wake { shard, kind, due, handle, tries } => {
            let due = due.min(DUE_MAX);
            assert_eq!(read, Some(Key::Wake { shard, kind, due, handle, tries }));
        }
        Key::Id { .. } | Key::Run { .. } | Key::Blob { .. } | Key::Dead { .. } | Key::Layout => {
            assert_eq!(read, Some(key));
        }
        Key::Queue { .. } | Key::Blueprint { .. } | Key::Worker { .. } | Key::Push { .. } => {
            assert!(read == Some(key) || (read.is_none() && !is_plain(path.as_ref())), "{path}");
        }
    }
}

/// Names that must not be empty are not: whoever makes a key has checked that.
fn chosen(input: &mut Input<'_>) -> Option<Key> {
    let name = |input: &mut Input<'_>| Some(input.text()).filter(|text| !text.is_empty());
    let namespace = Namespace::new(input.one_of(&["default", "a", "0-9"])).ok()?;
    let run = RunId::from_random(input.bits_128());
    let kind = input.byte();
    let execution = ExecutionId::known(&name(input)?).ok()?.key();
    let generation = input.number_32();
    // No log is longer than the numbers in keys are.
    let seq = input.number().min(9_999_999_999);
    let handle =
        Handle { namespace: namespace.clone(), execution: execution.clone(), generation, run, seq };
    let shard = input.number_32();
    Some(match kind % 11 {
        0 => Key::Id { namespace, execution, generation },
        1 => Key::Run { run, seq },
        2 => Key::Blob { run, sha256: format!("{:064x}", input.bits_128()) },
        3 => Key::Wake {
            shard,
            kind: if input.byte().is_multiple_of(2) { WakeKind::Timer } else { WakeKind::Guard },
            due: Timestamp::from_millis(input.number()),
            handle,
            tries: input.number_32(),
        },
        4 => {
            let (queue, step) = (name(input)?, name(input)?);
            let task = Task { step: step.as_str().into(), iteration: shard, attempt: generation };
            let token = TaskToken { handle: handle.clone(), task };
            let back = token.to_string().parse::<TaskToken>().ok();
            assert!(back == Some(token) || escape(&step).starts_with('~'), "{step}");
            let task = (input.number_32(), input.number_32());
            Key::Queue { shard, queue, step: step.into(), handle, task }
        }
        5 => Key::Blueprint { namespace, name: name(input)?, version: generation },
        6 => Key::Worker { namespace, worker: name(input)? },
        7 => Key::Feed {
            hour: Timestamp::from_millis(input.number()),
            instance: name(input)?,
            n: seq,
        },
        8 => Key::Dead { handle },
        9 => Key::Push { namespace, queue: name(input)? },
        _ => Key::Layout,
    })
}
