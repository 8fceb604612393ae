//! Goes on with an execution that closed without completing: always a new generation of its id.
//!
//! Closed is final: the log of the run that failed is not touched. The new run's start commit carries
//! the results that are kept, so that it never needs the old log again.

use std::time::Duration;

use super::{
    Engine, Error, ResumeRequest, StartRequest, Started,
    blueprints::Calls,
    start::{NewRun, answer, handle_of, is_request, started_by},
};
use crate::{
    log,
    workflow::{
        Event, Handle, INLINE_BYTES_MAX, Payload, Rejection, Resumed, RunId, State, Status,
    },
};

/// How often a resumption begins over because its guard was too old.
const TRIES_MAX: u32 = 8;

/// The most bytes of kept results that stand in a start commit; the rest stands in blobs.
const KEPT_BYTES_MAX: u64 = 1 << 20;

impl Engine {
    /// Starts a new run of an execution that failed, was cancelled or ran out of time: from where it
    /// stood, or, without its results, from the beginning. The workflow's version, its inputs, its
    /// timeout and its labels are those of the run before; the timeout begins anew.
    ///
    /// An execution that is open is answered as it is (`was_running`). Sent twice with one request
    /// id, it resumes once, also when the run that it began has closed and was resumed since. Costs
    /// 2 PUT (guard, start commit), 2 LIST and 4 GET (the newest generation and the newest commit, and
    /// what is read on the way to it), 1 GET for each kept result that the old state does not carry,
    /// and 1 PUT for each that is large.
    ///
    /// # Errors
    ///
    /// * [`Error::Rejected`]: it completed, and there is nothing to resume.
    /// * [`Error::NotFound`]: there is no execution of that id.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn resume(&self, request: ResumeRequest) -> Result<Started, Error> {
        self.refuse_when_closing()?;
        let ResumeRequest { namespace, execution, keeps_results, by, request: id } = request;
        for _ in 0..TRIES_MAX {
            let looked = self.inner.env.now();
            let (generation, start) = self.newest_start(&namespace, &execution).await?;
            let began = started_by(&start)?;
            if began.resumed.is_some() && is_request(began, &id) {
                return Ok(answer(began, start.time, false));
            }
            let handle = handle_of(began);
            let Some(newest) = self.inner.log.newest(&handle).await? else { continue };
            let state = newest.into_state();
            if !state.is_closed() {
                return Ok(answer(began, start.time, true));
            }
            if let Some(earlier) = self.started_earlier(&id, &handle).await? {
                return Ok(earlier);
            }
            if state.status == Status::Completed {
                return Err(Rejection::NothingToResume.into());
            }
            let resumed = Resumed { generation, run: state.run, by: by.clone(), keeps_results };
            let run = NewRun {
                looked,
                place: (execution.clone(), generation + 1),
                kept: if keeps_results { self.kept(&handle, &state).await? } else { vec![] },
                resumed: Some(resumed),
                calls: Calls::of(&state),
            };
            let again = self.request_again(&handle, &state, &id).await?;
            if let Some(started) = self.start_at(&again, run).await? {
                return Ok(started);
            }
        }
        Err(log::Error::Throttled { after: Duration::from_secs(1) }.into())
    }

    /// The request that would start the run of `state` again.
    async fn request_again(
        &self,
        handle: &Handle,
        state: &State,
        request: &str,
    ) -> Result<StartRequest, Error> {
        let input = self.payloads(handle, std::slice::from_ref(&state.input)).await?;
        Ok(StartRequest {
            namespace: state.namespace.clone(),
            workflow: state.blueprint.name.clone(),
            version: Some(state.blueprint.version),
            execution: Some(state.execution.clone()),
            input: (*input[&state.input.at]).clone(),
            request: request.to_owned(),
            timeout: state.deadline.map(|deadline| Duration::from_millis(deadline.timeout_ms)),
            correlation_id: state.correlation_id.clone(),
            tags: state.tags.clone(),
        })
    }

    /// What a run that resumes `state` keeps of it, as the events that say so.
    async fn kept(&self, handle: &Handle, state: &State) -> Result<Vec<Event>, Error> {
        let outputs: Vec<_> = state.done.keys().filter_map(|step| state.output(step)).collect();
        let values = self.payloads(handle, &outputs).await?;
        let mut kept = vec![];
        // A step whose rule went back too often is done; where it leads is decided again.
        let undecided = state.status.failed_step();
        for (step, done) in state.done.iter().filter(|(step, _)| Some(*step) != undecided) {
            let (started, ended) = state.times(done);
            kept.push(Event::ResultKept {
                step: step.clone(),
                iteration: done.iteration(),
                attempt: done.attempt(),
                started,
                ended,
                result: Payload::Json(values[&done.at()].clone()),
                error: state.caught.get(step).cloned(),
            });
        }
        kept.extend(state.way());
        Ok(kept)
    }

    /// The kept results as the start commit of `run` carries them: large ones in blobs of its own.
    pub(super) async fn in_this_run(
        &self,
        run: RunId,
        mut kept: Vec<Event>,
    ) -> Result<Vec<Event>, Error> {
        let mut inline_bytes = 0;
        for event in &mut kept {
            let Event::ResultKept { result, .. } = event else { continue };
            self.inner.log.offload(run, result).await?;
            let Payload::Json(value) = &*result else { continue };
            let bytes = result.bytes();
            if bytes > INLINE_BYTES_MAX && inline_bytes + bytes > KEPT_BYTES_MAX {
                let sha256 = self.inner.log.put_blob(run, value.to_string().into()).await?.into();
                *result = Payload::Blob { sha256, bytes };
            } else {
                inline_bytes += bytes;
            }
        }
        Ok(kept)
    }
}
