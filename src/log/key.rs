//! Every object key there is.
//!
//! Invariants:
//! * [`Key::parse`] gives back exactly the keys that [`Key::path`] makes, and nothing for any other;
//! * the last part of a key is under 255 bytes, the limit of a file name;
//! * a name that people chose stands in its key form ([`escape`]).
//!
//! Source: docs/format.md "Keys".

use object_store::path::Path;
use sha2::{Digest, Sha256};

use crate::workflow::{
    ExecutionKey, Generation, Handle, Namespace, RunId, Seq, StepName, Timestamp, Version,
    WakeKind, escape, spread,
};

/// The key of an object. `inv n` is 9999999999 - n in ten digits, so that the newest sorts first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The start commit, which names the run: `id/{spread eid}/{ns}/{eid}/{inv gen}`.
    Id {
        /// The namespace.
        namespace: Namespace,
        /// The execution's id.
        execution: ExecutionKey,
        /// Which use of the id.
        generation: Generation,
    },
    /// Commit `seq`, from 1: `run/{spread run}/{run}/{inv seq}`.
    Run {
        /// The run.
        run: RunId,
        /// The number of the commit.
        seq: Seq,
    },
    /// A large payload: `blob/{spread run}/{run}/{sha256}`.
    Blob {
        /// The run it belongs to.
        run: RunId,
        /// SHA-256 of its bytes, in lower-case hex.
        sha256: String,
    },
    /// Look at a run when it is due; empty:
    /// `wake/{shard}/{kind}/{YYYYMMDD}/{HH}/{MM}/{due, 13 digits}.{handle}`, in UTC; `.x{tries}`
    /// after it when looking has failed.
    Wake {
        /// The part of the wake index, from [`shard_of`].
        shard: u32,
        /// Timer or guard.
        kind: WakeKind,
        /// When; at most [`DUE_MAX`], later ones stand there.
        due: Timestamp,
        /// The run; its seq is the commit that the entry belongs to.
        handle: Handle,
        /// How often looking has failed.
        tries: u32,
    },
    /// A step of a run waits for a worker; empty:
    /// `queue/{shard}/{queue}/{step}/{handle}.{iteration}.{attempt}`.
    Queue {
        /// The part of the queue, from [`shard_of`].
        shard: u32,
        /// The queue's name.
        queue: String,
        /// The step.
        step: StepName,
        /// The run; its seq is the commit that made the step ready.
        handle: Handle,
        /// Iteration and attempt of the step.
        task: (u32, u32),
    },
    /// A version of a blueprint: `blueprint/{ns}/{name}/{inv version}`.
    Blueprint {
        /// The namespace.
        namespace: Namespace,
        /// The workflow's name.
        name: String,
        /// The version.
        version: Version,
    },
    /// A worker as it registered: `worker/{ns}/{worker}`.
    Worker {
        /// The namespace.
        namespace: Namespace,
        /// The worker's id.
        worker: String,
    },
    /// A push queue, as its operator set it: `push/{ns}/{queue}`.
    Push {
        /// The namespace.
        namespace: Namespace,
        /// The queue's name.
        queue: String,
    },
    /// A batch of visibility records: `feed/{YYYYMMDDHH}/{instance}.{n}`, in UTC.
    Feed {
        /// Any time in the hour of the batch.
        hour: Timestamp,
        /// The instance that wrote it.
        instance: String,
        /// The number of the batch.
        n: u64,
    },
    /// A run that was taken out of the way: `dead/{handle}`.
    Dead {
        /// The run.
        handle: Handle,
    },
    /// The layout's version and the number of shards: `sys/layout.json`.
    Layout,
}

/// The latest due time that a key holds (the year 2286): 13 digits sort as numbers do.
pub const DUE_MAX: Timestamp = Timestamp::from_millis(9_999_999_999_999);

/// The last commit that a log can hold, and what numbers are subtracted from so that the newest
/// sorts first.
pub(super) const SEQ_MAX: Seq = 9_999_999_999;

/// The part of an index that `run` belongs to, below `shards`: the first four bytes of the SHA-256
/// of its text, modulo `shards`.
pub fn shard_of(run: RunId, shards: u32) -> u32 {
    let digest = Sha256::digest(run.to_string().as_bytes());
    let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
    u32::from_be_bytes([a, b, c, d]) % shards.max(1)
}

impl Key {
    /// The key of commit `handle.seq` of the run.
    pub fn of_commit(handle: &Handle) -> Self {
        match handle.seq {
            0 => Self::of_start(handle),
            seq => Self::Run { run: handle.run, seq },
        }
    }

    /// The key of the run's start commit.
    pub fn of_start(handle: &Handle) -> Self {
        Self::Id {
            namespace: handle.namespace.clone(),
            execution: handle.execution.clone(),
            generation: handle.generation,
        }
    }

    /// The key as the store takes it.
    pub fn path(&self) -> Path {
        path(&self.to_string())
    }

    /// Where all generations of an execution stand, the newest first.
    pub fn id_prefix(namespace: &Namespace, execution: &ExecutionKey) -> Path {
        path(&format!("id/{}/{namespace}/{execution}", spread(execution.as_str())))
    }

    /// Where the commits of a run stand from 1, the newest first.
    pub fn run_prefix(run: RunId) -> Path {
        path(&format!("run/{}/{run}", spread(&run.to_string())))
    }

    /// Where the blobs of a run stand.
    pub fn blob_prefix(run: RunId) -> Path {
        path(&format!("blob/{}/{run}", spread(&run.to_string())))
    }

    /// Where a shard's wake entries of one kind stand, the earliest first.
    pub fn wake_prefix(shard: u32, kind: WakeKind) -> Path {
        path(&format!("wake/{shard}/{}", kind.word()))
    }

    /// The minute's folder in which an entry that is `due` stands: every entry of an earlier minute
    /// sorts before it.
    pub fn wake_minute(shard: u32, kind: WakeKind, due: Timestamp) -> Path {
        path(&format!("wake/{shard}/{}/{}", kind.word(), utc(due, "%Y%m%d/%H/%M")))
    }

    /// Where a shard's queues stand; a delimited list of it names those that are not empty.
    pub fn queues_prefix(shard: u32) -> Path {
        path(&format!("queue/{shard}"))
    }

    /// Where a queue's offers stand; a delimited list of it names the steps.
    pub fn queue_prefix(shard: u32, queue: &str) -> Path {
        path(&format!("queue/{shard}/{}", escape(queue)))
    }

    /// Where the offers of one step stand.
    pub fn offers_prefix(shard: u32, queue: &str, step: &str) -> Path {
        path(&format!("queue/{shard}/{}/{}", escape(queue), escape(step)))
    }

    /// Where a namespace's blueprints stand.
    pub fn blueprints_prefix(namespace: &Namespace) -> Path {
        path(&format!("blueprint/{namespace}"))
    }

    /// Where the versions of a blueprint stand, the newest first.
    pub fn blueprint_prefix(namespace: &Namespace, name: &str) -> Path {
        path(&format!("blueprint/{namespace}/{}", escape(name)))
    }

    /// Where a namespace's workers stand.
    pub fn workers_prefix(namespace: &Namespace) -> Path {
        path(&format!("worker/{namespace}"))
    }

    /// Where the push queues of all namespaces stand.
    pub fn push_prefix() -> Path {
        path("push")
    }

    /// Where all batches of visibility records stand, the oldest hour first.
    pub fn feed_prefix() -> Path {
        path("feed")
    }

    /// Where the runs that were taken out of the way stand.
    pub fn dead_prefix() -> Path {
        path("dead")
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id { namespace, execution, generation } => {
                let spread = spread(execution.as_str());
                write!(out, "id/{spread}/{namespace}/{execution}/{}", inverse((*generation).into()))
            }
            Self::Run { run, seq } => {
                write!(out, "run/{}/{run}/{}", spread(&run.to_string()), inverse(*seq))
            }
            Self::Blob { run, sha256 } => {
                write!(out, "blob/{}/{run}/{sha256}", spread(&run.to_string()))
            }
            Self::Wake { shard, kind, due, handle, tries } => {
                let due = (*due).min(DUE_MAX);
                let (kind, minute) = (kind.word(), utc(due, "%Y%m%d/%H/%M"));
                write!(out, "wake/{shard}/{kind}/{minute}/{:013}.{handle}", due.as_millis())?;
                if *tries > 0 { write!(out, ".x{tries}") } else { Ok(()) }
            }
            Self::Queue { shard, queue, step, handle, task: (iteration, attempt) } => {
                let (queue, step) = (escape(queue), escape(step));
                write!(out, "queue/{shard}/{queue}/{step}/{handle}.{iteration}.{attempt}")
            }
            Self::Blueprint { namespace, name, version } => {
                let version = inverse((*version).into());
                write!(out, "blueprint/{namespace}/{}/{version}", escape(name))
            }
            Self::Worker { namespace, worker } => {
                write!(out, "worker/{namespace}/{}", escape(worker))
            }
            Self::Push { namespace, queue } => write!(out, "push/{namespace}/{}", escape(queue)),
            Self::Feed { hour, instance, n } => {
                write!(out, "feed/{}/{}.{n}", utc(*hour, "%Y%m%d%H"), escape(instance))
            }
            Self::Dead { handle } => write!(out, "dead/{handle}"),
            Self::Layout => out.write_str("sys/layout.json"),
        }
    }
}

/// Nothing is ever written past [`SEQ_MAX`]; a hint from a forged token that is leads to the last key.
fn inverse(n: u64) -> String {
    format!("{:010}", SEQ_MAX.saturating_sub(n))
}

/// The number whose inverse `text` is.
pub(super) fn uninverse(text: &str) -> Option<u64> {
    SEQ_MAX.checked_sub(text.parse().ok()?)
}

fn utc(time: Timestamp, format: &str) -> String {
    let millis = i64::try_from(time.min(DUE_MAX).as_millis()).unwrap_or_default();
    let time = jiff::Timestamp::from_millisecond(millis).expect("BUG: a due time has no date");
    time.strftime(format).to_string()
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("BUG: a key is no path")
}
