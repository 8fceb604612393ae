//! Who may have which task: what a worker said of itself, or an operator of it, against a task.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{Offer, WorkerRecord};
use crate::workflow::{Blueprint, Namespace, Timestamp};

/// Who polls.
#[derive(Clone, Debug)]
pub struct Poller {
    /// The namespace.
    pub namespace: Namespace,
    /// The worker's id.
    pub worker: String,
    /// Its record; none: it is offered anything.
    pub record: Option<Arc<WorkerRecord>>,
    /// The tasks that an operator sends to it; none: it takes what its record says.
    pub scope: Option<Scope>,
    /// The connection it polls on.
    pub connection: Option<String>,
}

/// The tasks that an operator sends to a poller, whatever its record says.
#[derive(Clone)]
pub struct Scope(Arc<Takes>);

/// Whether it takes a step of a workflow; of no workflow: of one of which that is not known.
type Takes = dyn Fn(Option<&str>, &str) -> bool + Send + Sync;

impl Scope {
    /// Of what `takes` says: of a workflow, where that is known, and a step.
    pub fn new(takes: impl Fn(Option<&str>, &str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(takes))
    }

    pub(super) fn takes(&self, blueprint: Option<&Blueprint>, step: &str) -> bool {
        (self.0)(blueprint.map(Blueprint::name), step)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Scope")
    }
}

impl Poller {
    /// A worker of which nothing but the name is known.
    pub fn named(namespace: &Namespace, worker: &str) -> Self {
        Self {
            namespace: namespace.clone(),
            worker: worker.to_owned(),
            record: None,
            scope: None,
            connection: None,
        }
    }

    /// What the board knows it by.
    pub(super) fn name(&self) -> (Namespace, String) {
        (self.namespace.clone(), self.worker.clone())
    }

    pub(super) fn is_one_slot(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_one_slot())
    }
}

/// A task that a worker may have.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The run and the commit that made the task ready.
    pub offer: Offer,
    /// The workflow, where this instance has it at hand.
    pub blueprint: Option<Arc<Blueprint>>,
    /// Workers that do not have the step, and until when they are not asked.
    pub without: Vec<(String, Timestamp)>,
    /// Whether the offer also stands in the store.
    pub is_stored: bool,
}

/// How well a worker fits a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It has the step and every other of the workflow, or never said what it has.
    Full,
    /// It has the step, but not every step of the workflow.
    Partial,
}

/// Whether, and how well, `poller` fits `ready`; `full_is_near`: whether somebody who has every step
/// of the workflow has polled of late, and goes before one that has only some.
pub(super) fn fit(
    poller: &Poller,
    ready: &Ready,
    now: Timestamp,
    fits: &mut Fits,
    full_is_near: impl FnOnce(&mut Fits, &Blueprint) -> bool,
) -> Option<Match> {
    let is_without =
        ready.without.iter().any(|(worker, until)| *worker == poller.worker && *until > now);
    if poller.namespace != ready.offer.handle.namespace || is_without {
        return None;
    }
    if let Some(scope) = &poller.scope {
        // An operator has said so: there is nothing to guess at.
        let takes = scope.takes(ready.blueprint.as_deref(), &ready.offer.task.step);
        return takes.then_some(Match::Full);
    }
    let Some(record) = &poller.record else { return Some(Match::Full) };
    if !record.announces(&ready.offer.task.step) {
        return None;
    }
    let Some(blueprint) = &ready.blueprint else { return Some(Match::Full) };
    if fits.has_all(record, blueprint) {
        return Some(Match::Full);
    }
    (!full_is_near(fits, blueprint)).then_some(Match::Partial)
}

/// How many answers are remembered.
const FITS_MAX: usize = 4_096;

/// Which workers have every step of which workflow: found out once, not for each task.
#[derive(Debug, Default)]
pub(super) struct Fits {
    /// By the address of the record, which is kept so that no other gets it, and the blueprint's hash.
    known: HashMap<usize, (Arc<WorkerRecord>, HashMap<String, bool>)>,
    count: usize,
}

impl Fits {
    /// Whether a worker has every step of the workflow.
    pub(super) fn has_all(&mut self, record: &Arc<WorkerRecord>, blueprint: &Blueprint) -> bool {
        let address = Arc::as_ptr(record).addr();
        let known = self.known.get(&address).and_then(|(_, known)| known.get(blueprint.hash()));
        if let Some(known) = known {
            return *known;
        }
        if self.count >= FITS_MAX {
            *self = Self::default();
        }
        let has_all = !record.steps.is_empty()
            && blueprint.steps().iter().all(|step| record.announces(&step.name));
        let (_, known) =
            self.known.entry(address).or_insert_with(|| (Arc::clone(record), HashMap::new()));
        known.insert(blueprint.hash().to_owned(), has_all);
        self.count += 1;
        has_all
    }
}
