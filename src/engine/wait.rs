//! Waits for executions to close: told at once where they close on this instance, by looking again
//! where they may close elsewhere.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Description, Ending, Engine, Error, Started, cache::Loaded, describe::handle_of_run};
use crate::workflow::{
    ExecutionId, Generation, Handle, Namespace, RunId, StepName, Stored, last_outputs,
};

/// The first pause before it is looked whether the run closed on another instance; it doubles.
const LOOK_FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Those who wait for runs to close on this instance.
#[derive(Debug, Default)]
pub(super) struct Closings(Mutex<HashMap<RunId, Vec<oneshot::Sender<Loaded>>>>);

/// A wait for one run; it is forgotten when this is dropped.
struct Watch<'a> {
    closings: &'a Closings,
    run: RunId,
    closed: oneshot::Receiver<Loaded>,
}

impl Closings {
    fn watch(&self, run: RunId) -> Watch<'_> {
        let (tell, closed) = oneshot::channel();
        self.lock().entry(run).or_default().push(tell);
        Watch { closings: self, run, closed }
    }

    /// Tells whoever waits for the run that it closed so.
    pub(super) fn tell(&self, loaded: &Loaded) {
        let Some(waiting) = self.lock().remove(&loaded.state.run) else { return };
        for tell in waiting {
            // Who waits no longer needs no answer.
            drop(tell.send(loaded.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Vec<oneshot::Sender<Loaded>>>> {
        self.0.lock().expect("BUG: a thread panicked among the closings")
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.closed.close();
        let mut closings = self.closings.lock();
        let Some(waiting) = closings.get_mut(&self.run) else { return };
        waiting.retain(|tell| !tell.is_closed());
        if waiting.is_empty() {
            closings.remove(&self.run);
        }
    }
}

impl Engine {
    /// Where an execution stands once its run is closed, or when `wait` is over. Without `run` the
    /// newest run is waited for. Cancel-safe.
    ///
    /// Costs nothing where the run is given, in memory, and closes here; else what [`Engine::describe`]
    /// costs (twice that where the run is given, and is not in memory), and on a shared store 1 GET at
    /// each look, after half a second and then every 5 s at most.
    ///
    /// # Errors
    ///
    /// As [`Engine::describe`].
    pub async fn wait(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
        run: Option<(Generation, RunId)>,
        wait: Duration,
    ) -> Result<Description, Error> {
        let handle = match run {
            Some(run) => handle_of_run(namespace, execution, run),
            None => self.newest_run(namespace, execution).await?,
        };
        let loaded = self.until_closed(&handle, run.is_none(), wait).await?;
        self.describe_loaded(&handle, loaded).await
    }

    /// How the run ended that `started` names, or where it stands when `wait` is over. Cancel-safe.
    ///
    /// Costs what [`Engine::wait`] for a given run costs, but reads no more than the outputs that it
    /// answers.
    ///
    /// # Errors
    ///
    /// As [`Engine::describe`].
    pub async fn ending(
        &self,
        namespace: &Namespace,
        started: &Started,
        wait: Duration,
    ) -> Result<Ending, Error> {
        let run = (started.generation, started.run);
        let handle = handle_of_run(namespace, &started.execution, run);
        let Loaded { state, blueprint, .. } = self.until_closed(&handle, false, wait).await?;
        let blueprint = blueprint.blueprint.clone();
        let outputs = last_outputs(&blueprint, &state);
        let stored: Vec<Stored> = outputs.iter().map(|(_, stored)| stored.clone()).collect();
        let values = self.payloads(&handle, &stored).await?;
        let value = |(step, stored): (StepName, Stored)| (step, values[&stored.at].clone());
        let outputs = outputs.into_iter().map(value).collect();
        Ok(Ending { state: *state, blueprint, outputs })
    }

    /// The run once it is closed, or when `wait` is over; `anew`: nobody who started it just now asks.
    async fn until_closed(
        &self,
        handle: &Handle,
        mut anew: bool,
        wait: Duration,
    ) -> Result<Loaded, Error> {
        let until = self.inner.env.now().after(wait);
        // Before the look, so that nothing closes unseen in between.
        let mut watch = self.inner.closings.watch(handle.run);
        let mut pause = LOOK_FIRST;
        loop {
            let loaded = self.look(handle, anew, Loaded::clone).await?;
            let left = until.since(self.inner.env.now());
            // Read by a hint, as it is where this process did not see the run before: it may have closed
            // since, and of that nobody will tell.
            let may_be_behind = !loaded.at_tail && !anew;
            if loaded.state.is_closed() || (left.is_zero() && !may_be_behind) {
                return Ok(loaded);
            }
            if may_be_behind {
                anew = true;
                continue;
            }
            let nap = if self.inner.store.is_exclusive() { left } else { left.min(pause) };
            tokio::select! {
                biased;
                closed = &mut watch.closed => match closed {
                    Ok(loaded) => return Ok(loaded),
                    Err(_) => watch = self.inner.closings.watch(handle.run),
                },
                () = self.inner.closing.cancelled() => return Err(Error::ShuttingDown),
                () = self.inner.env.sleep(nap) => {}
            }
            (pause, anew) = ((pause * 2).min(LOOK_MAX), true);
        }
    }
}
