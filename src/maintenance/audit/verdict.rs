//! What an audit has to say of one run or one object, and what would mend it.

use object_store::path::Path;

use super::finding::Finding;
use crate::{
    maintenance::Record,
    wake::Entry,
    workflow::{Attention, Handle, RunId},
};

/// What is wrong, and what mends it.
#[derive(Clone, Debug, Default)]
pub(in crate::maintenance) struct Verdict {
    /// The run; none: it is about an object that leads to none.
    pub(in crate::maintenance) handle: Option<Handle>,
    /// What is wrong.
    pub(in crate::maintenance) findings: Vec<Finding>,
    /// What mends some of it.
    pub(in crate::maintenance) mend: Mend,
}

/// What mends a run's indexes, in the order in which it has to be done: `put`, `first` (only if
/// something is removed) and `record`, and only when all of that is surely there, `remove` and
/// `retract`.
#[derive(Clone, Debug, Default)]
pub(in crate::maintenance) struct Mend {
    /// Wake entries that are missing.
    pub(in crate::maintenance) put: Vec<Attention>,
    /// All wake entries that the run needs.
    pub(in crate::maintenance) first: Vec<Attention>,
    /// Its record for lists.
    pub(in crate::maintenance) record: Option<Box<Record>>,
    /// Wake entries that nothing needs; the log's tail is at or past each one's commit.
    pub(in crate::maintenance) remove: Vec<Entry>,
    /// Offers of tasks that are over.
    pub(in crate::maintenance) retract: Vec<Path>,
    /// A run that nothing names: everything of it goes.
    pub(in crate::maintenance) delete: Option<RunId>,
}

impl Verdict {
    /// What is wrong with objects that lead to no run.
    pub(super) fn of(findings: Vec<Finding>) -> Self {
        Self { findings, ..Self::default() }
    }
}
