//! What must hold of a run that goes on with an earlier one of its execution.

use std::collections::BTreeMap;

use lazarus::{
    log::Commit,
    workflow::{Event, RunId, Status},
};

use super::rules::{Check, Run, holds};

/// The start commit of a resumption names a run that is closed and did not complete, and keeps of it
/// what it had and nothing else.
pub(super) fn resumes(runs: &BTreeMap<RunId, Run>, commit: &Commit) -> Check {
    let Some(Event::ExecutionStarted(start)) = commit.events.first() else { return Ok(()) };
    let kept = commit.events.iter().filter_map(|event| match event {
        Event::ResultKept { step, iteration, attempt, .. } => Some((step, *iteration, *attempt)),
        _ => None,
    });
    let kept: Vec<_> = kept.collect();
    let Some(resumed) = &start.resumed else {
        return holds(kept.is_empty(), || "a run that resumes nothing keeps results".to_owned());
    };
    let before = runs.get(&resumed.run).ok_or("it resumes a run that never was")?;
    let state = &before.state;
    holds(state.is_closed() && state.status != Status::Completed, || {
        format!("it resumes run {}, which is {:?}", resumed.run, state.status)
    })?;
    holds(state.execution == start.execution && state.generation + 1 == start.generation, || {
        format!("it resumes run {} of another execution or generation", resumed.run)
    })?;
    holds(resumed.keeps_results || kept.is_empty(), || "it keeps what it should not".to_owned())?;
    for (step, iteration, attempt) in &kept {
        let is_same = state
            .done
            .get(*step)
            .is_some_and(|done| (done.iteration(), done.attempt()) == (*iteration, *attempt));
        holds(is_same, || format!("it keeps a result of {step} that run {} had not", resumed.run))?;
    }
    // A step whose rule went back too often is done, and decided again.
    let undecided = usize::from(resumed.keeps_results && state.status.failed_step().is_some());
    let least =
        if resumed.keeps_results { state.done.len() - undecided.min(state.done.len()) } else { 0 };
    holds(kept.len() >= least, || {
        format!("it keeps {} results of {}", kept.len(), state.done.len())
    })
}
