//! Answers questions about executions, from their logs and from the lists.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::{Description, Engine, Error, Filter, Page, cache::Loaded};
use crate::{
    dispatch::WorkerRecord,
    log::Commit,
    workflow::{
        Answer, Command, ExecutionId, Generation, Handle, Json, Namespace, OpenStep, Payload,
        Phase, RunId, State, StepName, Stored, Timestamp, deleted_by,
    },
};

/// A worker that did not poll for this long is taken to be gone.
const WORKER_GONE: Duration = Duration::from_mins(2);

impl Engine {
    /// Where an execution stands, checked against its log. Costs 1 LIST and 3 GET (start commit,
    /// tail, none after it), 1 GET for each output that the state does not carry, and where a step
    /// waits for a worker, 1 LIST and 1 GET for each worker, and 1 LIST more where the push queues were
    /// not read within 30 s.
    ///
    /// # Errors
    ///
    /// * [`Error::NotFound`]: there is no execution of that id.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn describe(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
    ) -> Result<Description, Error> {
        let handle = self.newest_run(namespace, execution).await?;
        let loaded = self.look_at_newest(&handle, Loaded::clone).await?;
        self.describe_loaded(&handle, loaded).await
    }

    /// The description of a run as it was seen.
    pub(super) async fn describe_loaded(
        &self,
        handle: &Handle,
        loaded: Loaded,
    ) -> Result<Description, Error> {
        let Loaded { state, blueprint, .. } = loaded;
        let done: Vec<(StepName, Stored)> = state
            .done
            .keys()
            .filter_map(|step| Some((step.clone(), state.output(step)?)))
            .collect();
        let waiting: Vec<(StepName, Stored)> = state.open.iter().filter_map(data_of).collect();
        let stored: Vec<Stored> =
            done.iter().chain(&waiting).map(|(_, it)| it).chain([&state.input]).cloned().collect();
        let values = self.payloads(handle, &stored).await?;
        let named = |steps: Vec<(StepName, Stored)>| -> BTreeMap<StepName, Json> {
            steps.into_iter().map(|(step, stored)| (step, values[&stored.at].clone())).collect()
        };
        let notes = self.notes(&state).await?;
        Ok(Description {
            input: values[&state.input.at].clone(),
            outputs: named(done),
            data: named(waiting),
            blueprint: blueprint.blueprint.clone(),
            now: self.inner.env.now(),
            notes,
            state: *state,
        })
    }

    /// The commits of the newest run, checked, oldest first. Costs 1 LIST and 1 GET each.
    ///
    /// # Errors
    ///
    /// As [`Engine::describe`].
    pub async fn history(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
    ) -> Result<Vec<Commit>, Error> {
        let handle = self.newest_run(namespace, execution).await?;
        Ok(self.inner.log.history(&handle).await?)
    }

    /// Key and stored bytes of each commit of the newest run, oldest first, unchecked: for an
    /// incident; of a deleted execution its tombstone.
    ///
    /// # Errors
    ///
    /// As [`Engine::describe`].
    pub async fn raw_log(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
    ) -> Result<Vec<(String, Bytes)>, Error> {
        let (generation, start) = self.newest_generation(namespace, execution).await?;
        let handle = handle_of_run(namespace, execution, (generation, start.run));
        Ok(self.inner.log.raw(&handle).await?)
    }

    /// Key and stored bytes of commits 1 and on of any run, oldest first, unchecked.
    ///
    /// # Errors
    ///
    /// * [`Error::NotFound`]: there is no commit under that run id.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn raw_log_of_run(&self, run: RunId) -> Result<Vec<(String, Bytes)>, Error> {
        let commits = self.inner.log.raw_of_run(run).await?;
        if commits.is_empty() {
            let what = format!("run {run} has no commit after its start in this store");
            return Err(Error::NotFound { what });
        }
        Ok(commits)
    }

    /// Executions, newest first. Eventually consistent: on a shared store, seconds behind.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: by what the log says must be done.
    pub async fn list(
        &self,
        namespace: &Namespace,
        filter: &Filter,
        offset: usize,
        limit: usize,
    ) -> Result<Page, Error> {
        Ok(self.inner.feed.list(namespace, filter, offset, limit).await?)
    }

    /// Approves the step that waits (`step`; none: the only one); `response` is its output, or, with
    /// `again`, the step runs again with it as its `inputs`. `request` sent twice is applied once.
    ///
    /// Costs at most 2 LIST, 6 GET and 2 PUT (guard, commit) where the last commit carries the state.
    ///
    /// # Errors
    ///
    /// * [`Error::Rejected`]: nothing waits, or it is not clear which.
    /// * [`Error::NotFound`]: there is no execution of that id.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn approve(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
        step: Option<StepName>,
        by: &str,
        request: &str,
        (response, again): (serde_json::Value, bool),
    ) -> Result<Answer, Error> {
        let (by, request) = (by.to_owned(), request.to_owned());
        let response = Payload::of(response);
        let command = Command::Approve { step, by, request, response, again };
        self.change(namespace, execution, command).await
    }

    /// Rejects the step that waits (`step`; none: the only one): it fails. Costs and errors as
    /// [`Engine::approve`].
    ///
    /// # Errors
    ///
    /// As [`Engine::approve`].
    pub async fn reject(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
        step: Option<StepName>,
        by: &str,
        request: &str,
        reason: &str,
    ) -> Result<Answer, Error> {
        let (by, request, reason) = (by.to_owned(), request.to_owned(), reason.to_owned());
        self.change(namespace, execution, Command::Reject { step, by, request, reason }).await
    }

    /// Ends an execution. Costs as [`Engine::approve`], and a PUT more that loses, as the id leads to the
    /// start commit.
    ///
    /// # Errors
    ///
    /// As [`Engine::approve`].
    pub async fn cancel(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
        by: &str,
        request: &str,
        reason: &str,
    ) -> Result<Answer, Error> {
        let (by, request, reason) = (by.to_owned(), request.to_owned(), reason.to_owned());
        self.change(namespace, execution, Command::Cancel { by, request, reason }).await
    }

    async fn change(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
        command: Command,
    ) -> Result<Answer, Error> {
        self.refuse_when_closing()?;
        let handle = self.newest_run(namespace, execution).await?;
        let (answer, _) = self.handle(&handle, command).await?;
        Ok(answer)
    }

    /// The run that an execution id stands for now.
    pub(super) async fn newest_run(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
    ) -> Result<Handle, Error> {
        let (generation, start) = self.newest_start(namespace, execution).await?;
        Ok(handle_of_run(namespace, execution, (generation, start.run)))
    }

    /// The newest generation of an execution id, and its start commit, unless that is a tombstone.
    pub(super) async fn newest_start(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
    ) -> Result<(Generation, Commit), Error> {
        let (generation, start) = self.newest_generation(namespace, execution).await?;
        match deleted_by(&start.events) {
            None => Ok((generation, start)),
            Some((_, closed)) => Err(Error::NotFound {
                what: format!(
                    "execution `{execution}` in namespace `{namespace}` closed on {} and was deleted \
                     by retention on {}; its id can be used again",
                    day(closed),
                    day(start.time)
                ),
            }),
        }
    }

    /// The newest generation of an execution id, and its start commit, a tombstone's too.
    async fn newest_generation(
        &self,
        namespace: &Namespace,
        execution: &ExecutionId,
    ) -> Result<(Generation, Commit), Error> {
        let head = self.inner.log.head(namespace, &execution.key()).await?;
        head.ok_or_else(|| Error::NotFound {
            what: format!("there is no execution `{execution}` in namespace `{namespace}`"),
        })
    }

    /// What holds the run up, in words.
    async fn notes(&self, state: &State) -> Result<Vec<String>, Error> {
        let now = self.inner.env.now();
        let ready = |open: &OpenStep| match &open.phase {
            Phase::Ready { not_before, .. } => Some(not_before.filter(|due| *due > now)),
            Phase::Leased { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => None,
        };
        let waiting: Vec<(&StepName, &OpenStep, Option<Timestamp>)> = state
            .open
            .iter()
            .filter(|_| !state.is_closed())
            .filter_map(|(step, open)| Some((step, open, ready(open)?)))
            .collect();
        if waiting.is_empty() {
            return Ok(vec![]);
        }
        let workers = self.inner.workers.all(&state.namespace).await?;
        let alive = |worker: &&WorkerRecord| now.since(worker.seen) < WORKER_GONE;
        let mut notes = vec![];
        for (step, open, not_before) in waiting {
            let workflow = &state.blueprint.name;
            let announced = workers.iter().filter(alive).any(|worker| worker.announces(step));
            let pushed = self.push_queue_of(&state.namespace, workflow, step).await?;
            notes.push(if let Some(due) = not_before {
                let seconds = due.since(now).as_secs_f64();
                format!("step `{step}` {}; it is tried again in {seconds:.1} s", why(open))
            } else if let Some(queue) = pushed {
                format!("step `{step}` waits for {queue}")
            } else if announced || self.inner.board.has_poller_for(&state.namespace, step) {
                format!("step `{step}` waits for a free worker")
            } else {
                format!("no worker announces step `{step}`; start one that has it")
            });
        }
        Ok(notes)
    }
}

/// A run of which no commit is known but that it was started.
pub(super) fn handle_of_run(
    namespace: &Namespace,
    execution: &ExecutionId,
    (generation, run): (Generation, RunId),
) -> Handle {
    let (namespace, execution) = (namespace.clone(), execution.key());
    Handle { namespace, execution, generation, run, seq: 0 }
}

/// Why a step waits before it is tried again.
fn why(open: &OpenStep) -> String {
    match &open.last_failure {
        // The attempt before this one failed; else it was lost.
        Some(error) if open.counted + 1 == open.attempt => {
            let message = error.message.lines().next().unwrap_or_default();
            format!("failed {}, last with {}: {message}", times(open.failures), error.kind)
        }
        Some(_) | None => format!("lost its worker {}", times(open.losses)),
    }
}

/// The day of `time`, in UTC.
fn day(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d").to_string()
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn data_of((step, open): (&StepName, &OpenStep)) -> Option<(StepName, Stored)> {
    match &open.phase {
        Phase::Sleeping { data, .. } | Phase::Approval { data, .. } => {
            Some((step.clone(), data.clone()))
        }
        Phase::Ready { .. } | Phase::Leased { .. } => None,
    }
}
