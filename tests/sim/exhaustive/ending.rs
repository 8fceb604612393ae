//! The time after a scenario: an instance that remembers nothing ticks and polls, people answer, what
//! is late lands. Everything must close, nothing may be left over, and the store must pass its audit.

use std::{sync::Arc, time::Duration};

use lazarus::{
    engine::{Auditor, Filter, Severity},
    workflow::{ExecutionId, Namespace, Phase},
};
use serde_json::json;

use super::{
    super::{history::left_over, workload::Work},
    operation::polled,
    stage::Stage,
};

/// The first pause between two looks; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(7);
/// The longest: as far apart as the guard of a run that nobody works on.
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// So many looks: an entry may stand undecided for half an hour, and a guard may have climbed.
const LOOKS_MAX: u32 = 14;

/// Brings everything to an end.
pub async fn end(stage: &Arc<Stage>) {
    let world = &stage.world;
    let mut pause = PAUSE_FIRST;
    for look in 0..LOOKS_MAX {
        if world.audit.open_runs().is_empty() && left_over(world).is_empty() {
            return read_again(stage).await;
        }
        world.timeline.wait(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        tick(stage).await;
        work(stage).await;
        answer(stage, look).await;
    }
    let (left, open) = (left_over(world), world.audit.open_runs());
    world.trace.fault(format!("left over: {left:?}; open: {open:?}"));
}

async fn tick(stage: &Stage) {
    loop {
        match stage.last.engine.tick().await {
            Ok(progress) if progress.more => {}
            Ok(_) => return,
            Err(error) => return stage.world.trace.fault(format!("no tick: {error}")),
        }
    }
}

/// Does all tasks that are to be had.
async fn work(stage: &Stage) {
    let (world, engine) = (&stage.world, &stage.last.engine);
    loop {
        match polled(world, engine, "last").await {
            Ok(Some((token, _))) => {
                let done = Work::Result(1).submission(token.task.iteration);
                match engine.submit(&token, "last", done).await {
                    Ok(_) => world.audit.acknowledged(&token, true),
                    Err(error) => world.trace.fault(format!("{token} is refused: {error}")),
                }
            }
            Ok(None) => return,
            Err(error) => return world.trace.fault(format!("no poll: {error}")),
        }
    }
}

/// Approves what waits.
async fn answer(stage: &Stage, look: u32) {
    let (world, engine, namespace) = (&stage.world, &stage.last.engine, Namespace::default());
    for execution in executions(stage) {
        let before = world.audit.newest(execution.as_str());
        let seen = match engine.describe(&namespace, &execution).await {
            Ok(seen) => seen.state,
            Err(error) => {
                return world.trace.fault(format!("{execution} is not described: {error}"));
            }
        };
        world.audit.described(&seen, before);
        for (step, open) in &seen.open {
            if seen.is_closed() || !matches!(open.phase, Phase::Approval { .. }) {
                continue;
            }
            let (step, yes) = (Some(step.clone()), (json!({}), false));
            let request = format!("at the end {look}");
            let answer = engine.approve(&namespace, &execution, step, "ann", &request, yes).await;
            match answer {
                Ok(_) => world.audit.applied(&request),
                Err(error) => world.trace.fault(format!("no approval: {error}")),
            }
        }
    }
}

/// Reads everything once more: the list and every execution.
async fn read_again(stage: &Stage) {
    let (world, engine, namespace) = (&stage.world, &stage.last.engine, Namespace::default());
    match engine.list(&namespace, &Filter::default(), 0, usize::MAX).await {
        Ok(page) => world.audit.listed(&page.records),
        Err(error) => world.trace.fault(format!("executions can not be listed: {error}")),
    }
    for execution in executions(stage) {
        if let Err(error) = engine.history(&namespace, &execution).await {
            world.trace.fault(format!("{execution} can not be read: {error}"));
        }
    }
}

/// Audits the whole store, as `lazarus audit` does, once everything has ended.
pub async fn audited(stage: &Stage) {
    let (world, engine) = (&stage.world, &stage.last.engine);
    let auditor = Auditor::new(engine.store().clone(), Arc::clone(engine.env()), 1);
    let mut faults = vec![];
    let told = auditor
        .audit(|finding| {
            if finding.severity == Severity::Fault {
                faults.push(format!("{finding:?}"));
            }
        })
        .await;
    if let Err(error) = told {
        world.trace.fault(format!("the store can not be audited: {error}"));
    }
    if !faults.is_empty() {
        world.trace.fault(format!("the audit of the store: {faults:?}"));
    }
}

fn executions(stage: &Stage) -> Vec<ExecutionId> {
    let known = stage.world.audit.executions();
    known.iter().map(|id| ExecutionId::known(id).expect("an id")).collect()
}
