//! What an audit tells.

use serde::Serialize;

use crate::log;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing is lost, and nothing has to be done.
    Note,
    /// A promise is broken, or something that was acknowledged is gone.
    Fault,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The key of the object that it is about, or under which something is missing.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
}

/// To be done about bytes of the log that are not what was written.
pub(super) const RESTORE: &str =
    "restore this object from a backup; until then the execution can not go on";
/// To be done about an index.
pub(super) const SCRUB: &str = "run `lazarus scrub`";
/// To be done about an entry that nobody took although it is long due.
pub(super) const SCRUB_AND_WAKE: &str =
    "run `lazarus scrub`, and see that an engine or `lazarus wake` runs: it is over two hours due";
/// To be done about what a newer build wrote.
pub(super) const UPGRADE: &str = "audit with the build that wrote it";
/// To be done about a key that is nobody's.
pub(super) const NOBODYS: &str = "delete it if you know where it comes from; it is left alone";
/// To be done about evidence that the log was longer.
pub(super) const LOST: &str =
    "restore the missing objects from a backup; somebody or something deleted them";

impl Finding {
    /// A broken promise.
    #[expect(clippy::needless_pass_by_value, reason = "callers give keys and texts, owned or not")]
    pub(super) fn fault(key: impl ToString, what: impl Into<String>, advice: &'static str) -> Self {
        Self { severity: Severity::Fault, key: key.to_string(), what: what.into(), advice }
    }

    /// Worth knowing.
    pub(super) fn note(key: impl ToString, what: impl Into<String>, advice: &'static str) -> Self {
        Self { severity: Severity::Note, ..Self::fault(key, what, advice) }
    }

    /// A key that no writer of ours makes.
    pub(super) fn nobodys(key: impl ToString) -> Self {
        Self::note(key, "it is not written as any key of ours", NOBODYS)
    }

    /// Whether it is more than a note.
    pub fn is_fault(&self) -> bool {
        self.severity == Severity::Fault
    }

    /// Whether a scrub ends it.
    pub(in crate::maintenance) fn is_mended_by_scrub(&self) -> bool {
        [SCRUB, SCRUB_AND_WAKE].contains(&self.advice)
    }

    /// What reading an object came to; the error itself when it says nothing about the object.
    pub(super) fn of_read(error: log::Error) -> Result<Self, log::Error> {
        match error {
            log::Error::Corrupt { key, fault } => Ok(Self::fault(key, fault, RESTORE)),
            log::Error::TooNew { key, fault } => {
                Ok(Self::note(key, format!("it can not be judged: {fault}"), UPGRADE))
            }
            other @ (log::Error::Unknown { .. }
            | log::Error::Unavailable { .. }
            | log::Error::Throttled { .. }) => Err(other),
        }
    }
}

/// How much was looked at, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Execution ids.
    pub executions: u64,
    /// Runs: generations of them.
    pub runs: u64,
    /// Runs that are not closed.
    pub open: u64,
    /// Commits read, each checked against the one before.
    pub commits: u64,
    /// Snapshots that were compared with the fold of the events before them.
    pub snapshots: u64,
    /// Blobs read.
    pub blobs: u64,
    /// Versions of blueprints read.
    pub blueprints: u64,
    /// Wake entries.
    pub wakes: u64,
    /// Offers.
    pub offers: u64,
    /// Visibility records.
    pub records: u64,
    /// Runs that were put aside.
    pub dead: u64,
    /// Executions that changed each time they were looked at, and so were not judged.
    pub moving: u64,
    /// Faults found.
    pub faults: u64,
    /// Notes made.
    pub notes: u64,
}

impl Summary {
    pub(super) fn count(&mut self, finding: &Finding) {
        if finding.is_fault() {
            self.faults += 1;
        } else {
            self.notes += 1;
        }
    }
}
