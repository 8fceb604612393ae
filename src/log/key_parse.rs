//! Reading keys back.

use object_store::path::Path;

use super::key::{Key, uninverse};
use crate::workflow::{ExecutionKey, Handle, Namespace, Timestamp, WakeKind, unescape};

impl Key {
    /// The key that stands at `path`; none when nothing of ours would.
    ///
    /// A name that stands as a hash can not be read back: such a key gives none as well.
    pub fn parse(path: &Path) -> Option<Self> {
        let parts: Vec<&str> = path.as_ref().split('/').collect();
        let key = read(&parts)?;
        // Whatever is not written exactly as we write it is not ours: `007`, a wrong minute, ...
        (key.to_string() == path.as_ref()).then_some(key)
    }
}

fn read(parts: &[&str]) -> Option<Key> {
    Some(match parts {
        ["id", _, namespace, execution, generation] => Key::Id {
            namespace: Namespace::new(namespace).ok()?,
            execution: ExecutionKey::parse(execution)?,
            generation: uninverse(generation)?.try_into().ok()?,
        },
        ["run", _, run, seq] => Key::Run { run: run.parse().ok()?, seq: uninverse(seq)? },
        ["blob", _, run, sha256] => {
            Key::Blob { run: run.parse().ok()?, sha256: (*sha256).to_owned() }
        }
        ["wake", shard, kind, _, _, _, entry] => wake(shard, kind, entry)?,
        ["queue", shard, queue, step, offer] => {
            let [rest, iteration, attempt] = from_the_end(offer)?;
            Key::Queue {
                shard: shard.parse().ok()?,
                queue: unescape(queue)?,
                step: unescape(step)?.into(),
                handle: rest.parse().ok()?,
                task: (iteration.parse().ok()?, attempt.parse().ok()?),
            }
        }
        ["blueprint", namespace, name, version] => Key::Blueprint {
            namespace: Namespace::new(namespace).ok()?,
            name: unescape(name)?,
            version: uninverse(version)?.try_into().ok()?,
        },
        ["worker", namespace, worker] => {
            Key::Worker { namespace: Namespace::new(namespace).ok()?, worker: unescape(worker)? }
        }
        ["push", namespace, queue] => {
            Key::Push { namespace: Namespace::new(namespace).ok()?, queue: unescape(queue)? }
        }
        ["feed", hour, batch] => {
            let (instance, n) = batch.rsplit_once('.')?;
            let (instance, n) = (unescape(instance)?, n.parse().ok()?);
            Key::Feed { hour: start_of_hour(hour)?, instance, n }
        }
        ["dead", handle] => Key::Dead { handle: handle.parse().ok()? },
        ["sys", "layout.json"] => Key::Layout,
        _ => return None,
    })
}

fn wake(shard: &str, kind: &str, entry: &str) -> Option<Key> {
    let kind = [WakeKind::Timer, WakeKind::Guard].into_iter().find(|it| it.word() == kind)?;
    let (due, rest) = entry.split_once('.')?;
    // Only the last part says how often it was tried: an execution's id may begin with an x too.
    let (handle, last) = rest.rsplit_once('.')?;
    let (handle, tries) = match last.strip_prefix('x') {
        Some(tries) => (handle, tries.parse().ok()?),
        None => (rest, 0),
    };
    let handle: Handle = handle.parse().ok()?;
    let due = Timestamp::from_millis(due.parse().ok()?);
    Some(Key::Wake { shard: shard.parse().ok()?, kind, due, handle, tries })
}

/// `{rest}.{a}.{b}`
fn from_the_end(text: &str) -> Option<[&str; 3]> {
    let (rest, b) = text.rsplit_once('.')?;
    let (rest, a) = rest.rsplit_once('.')?;
    Some([rest, a, b])
}

fn start_of_hour(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M", format!("{text}00")).ok()?;
    let time = jiff::tz::Offset::UTC.to_timestamp(time).ok()?;
    Some(Timestamp::from_millis(u64::try_from(time.as_millisecond()).ok()?))
}
