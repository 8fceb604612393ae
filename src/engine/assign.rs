//! Gives the steps that a commit makes ready to workers, so that the lease rides in that commit.

use super::{
    Engine, StoredBlueprint,
    cache::{Loaded, Pending},
};
use crate::{
    dispatch::{Candidate, Grant, Held, Match, Offer, Poller, Ready, Submitter},
    workflow::{
        self, Command, Draft, OpenStep, Phase, Setting, State, StepName, Task, TaskToken,
        Timestamp, Values,
    },
};

/// Workers chosen for tasks, until the commit that leases them is in the log or is not.
#[derive(Debug, Default)]
pub(super) struct Assigned(Vec<(Candidate, Task)>);

impl Engine {
    /// Chooses workers for what `draft` makes ready, and writes their leases into it: first the
    /// workers that submit in this very batch, then polls that wait.
    pub(super) fn assign(
        &self,
        draft: &mut Draft,
        blueprint: &StoredBlueprint,
        batch: &[Pending],
    ) -> Assigned {
        let now = draft.now();
        let mut submitters = self.submitters(draft.state(), batch);
        let mut assigned = Assigned::default();
        for ready in self.ready_since(draft.state(), blueprint, draft.seq(), now) {
            let Some(candidate) = self.inner.board.choose(&ready, &submitters, now) else {
                continue;
            };
            submitters.retain(|submitter| submitter.poller.worker != candidate.worker);
            let command = Command::LeaseStep {
                task: ready.offer.task.clone(),
                worker: candidate.worker.clone(),
                partial: candidate.fit == Match::Partial,
            };
            let (blueprint, policy) = (&blueprint.blueprint, &self.inner.config.policy);
            let setting = Setting { blueprint, policy, values: &Values::default() };
            workflow::decide(draft, &setting, &command)
                .expect("BUG: a step that was just made ready can not be leased");
            assigned.0.push((candidate, ready.offer.task));
        }
        assigned
    }

    /// The workers whose result is in this batch, and who are about to poll again.
    fn submitters(&self, state: &State, batch: &[Pending]) -> Vec<Submitter> {
        if !self.inner.config.reservations {
            return vec![];
        }
        let submitter = |pending: &Pending| match &pending.command {
            Command::SubmitResult { worker, .. } => Some(Submitter {
                poller: Poller::named(&state.namespace, worker),
                place: pending.place,
            }),
            Command::LeaseStep { .. }
            | Command::ExtendLease { .. }
            | Command::ReturnTask { .. }
            | Command::Wake
            | Command::Approve { .. }
            | Command::Reject { .. }
            | Command::Cancel { .. } => None,
        };
        batch.iter().filter_map(submitter).collect()
    }

    /// The tasks that commit `seq` made ready and that may begin by `now`.
    fn ready_since(
        &self,
        state: &State,
        blueprint: &StoredBlueprint,
        seq: workflow::Seq,
        now: Timestamp,
    ) -> Vec<Ready> {
        let all = self.ready_tasks(state, blueprint, now);
        all.into_iter().filter(|ready| ready.offer.handle.seq == seq).collect()
    }

    /// The tasks of a run that a worker may begin at `now`; none of a run that closed.
    pub(super) fn ready_tasks(
        &self,
        state: &State,
        blueprint: &StoredBlueprint,
        now: Timestamp,
    ) -> Vec<Ready> {
        if state.is_closed() {
            // What one decision made ready, the next one may have ended in the same commit; and the
            // steps stay open for ever: offering one would bring the run back without end.
            return vec![];
        }
        let is_due = |open: &OpenStep| match &open.phase {
            Phase::Ready { not_before, .. } => not_before.is_none_or(|due| due <= now),
            Phase::Leased { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => false,
        };
        let ready = |(step, open): (&StepName, &OpenStep)| {
            let offer = offer_of(state, step, open).filter(|_| is_due(open))?;
            let without = open.without.clone();
            let blueprint = Some(blueprint.blueprint.clone());
            Some(Ready { offer, blueprint, without, is_stored: self.stores_offers() })
        };
        state.open.iter().filter_map(ready).collect()
    }

    /// Whether tasks that nobody waits for are offered through the store, for other instances, and
    /// for this one when it remembers nothing.
    pub(super) fn stores_offers(&self) -> bool {
        !(self.inner.store.is_exclusive() && self.inner.memory.is_on())
    }
}

/// The offers that a state's ready tasks have, if they were offered.
pub(super) fn ready_offers(state: &State) -> Vec<Offer> {
    if state.is_closed() {
        return vec![];
    }
    state.open.iter().filter_map(|(step, open)| offer_of(state, step, open)).collect()
}

fn offer_of(state: &State, step: &StepName, open: &OpenStep) -> Option<Offer> {
    let Phase::Ready { since, .. } = &open.phase else { return None };
    let (iteration, attempt) = (open.iteration, open.attempt);
    let task = Task { step: step.clone(), iteration, attempt };
    Some(Offer { handle: state.handle().at(*since), task })
}

impl Assigned {
    /// The leases are in the log: the polls get their tasks, the rest waits for its worker's next
    /// poll.
    pub(super) fn hand_out(self, engine: &Engine, loaded: &Loaded) {
        if self.0.is_empty() {
            return;
        }
        let state = &loaded.state;
        let handle = state.handle();
        let now = engine.inner.env.now();
        for (Candidate { worker, waiting, .. }, task) in self.0 {
            let token = TaskToken { handle: handle.clone(), task };
            let is_handed = waiting.is_some_and(|poll| {
                let call = loaded.call(&token.task, &worker);
                let call = call.expect("BUG: a step that was just leased is not");
                // Before the poll hears of it: it may have reported the task a moment later.
                engine.inner.board.hold(&state.namespace, &worker, Held::delivered(token.clone()));
                poll.grant(Grant::Task(token.clone(), Box::new(call)))
            });
            if !is_handed {
                // It was reserved, or the poll is gone by now.
                engine.keep_for_next_poll(&state.namespace, &worker, token, now);
            }
        }
    }

    /// The leases are not in the log: the polls look again.
    pub(super) fn cancel(self) {
        for (candidate, _) in self.0 {
            if let Some(waiting) = candidate.waiting {
                waiting.grant(Grant::Look);
            }
        }
    }
}

impl Loaded {
    /// The tasks that the log says are in a worker's hands, with the worker.
    pub(super) fn leased(&self) -> Vec<(String, TaskToken)> {
        let handle = self.state.handle();
        let leased = |(step, open): (&StepName, &OpenStep)| match &open.phase {
            Phase::Leased { worker, .. } => {
                let (iteration, attempt) = (open.iteration, open.attempt);
                let task = Task { step: step.clone(), iteration, attempt };
                Some((worker.clone(), TaskToken { handle: handle.clone(), task }))
            }
            Phase::Ready { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => None,
        };
        self.state.open.iter().filter_map(leased).collect()
    }
}
