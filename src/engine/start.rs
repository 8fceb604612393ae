//! Starts executions: who has an id, under which generation, and the first commit of a run.
//!
//! A generation is created only if the one before is closed, with put-if-absent on its key; so an
//! id has one live run, whoever starts it and however often.

use std::{sync::Arc, time::Duration};

use super::{
    Engine, Error, StartRequest, Started, StoredBlueprint,
    blueprints::Calls,
    cache::Loaded,
    commit::{Before, DEADLINE, attention_of},
    effects::Which,
    half_of,
};
use crate::{
    log::{self, Append, Commit},
    workflow::{
        self, BlueprintRef, Draft, Event, ExecutionId, Generation, Guard, Handle, Payload, Resumed,
        RunId, Setting, Start, Timestamp, Values, deleted_by,
    },
};

/// A start commit is never sent later than this after it was looked who has the id, and so after its
/// guard: a waker may take the guard of a start for abandoned after 30 minutes, retention may delete the
/// generation before and bury it after 24 hours, and the clocks may differ.
const SENT_WITHIN: Duration = Duration::from_mins(10);
/// How often a start begins over: its guard was too old, or others kept winning.
const TRIES_MAX: u32 = 8;
/// A start that was sent twice may arrive for the second time when its execution has closed and the id
/// was used again, by an instance that was frozen in between: so far back it is recognised.
const RECOGNISED_FOR: Duration = Duration::from_hours(24);
/// And among so many generations of an id, at most: each costs a read.
const RECOGNISED_MAX: u32 = 16;

impl Engine {
    /// Starts an execution; answers once its start commit is in the log.
    ///
    /// With a request id, and with a chosen execution id while that is open, a repetition answers
    /// the execution that exists. Costs 2 PUT (guard, start commit), with a chosen id 1 LIST more
    /// (and 2 GET where the id was used before, 1 more for each earlier use in the last 24 hours),
    /// with the newest version of a workflow 1 GET more on a shared store.
    ///
    /// # Errors
    ///
    /// * [`Error::NotFound`]: no such workflow, or not that version.
    /// * [`Error::InvalidInput`]: the input is no object, or the id is open under another workflow.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn start(&self, request: StartRequest) -> Result<Started, Error> {
        self.refuse_when_closing()?;
        if !request.input.is_object() {
            let what = "the input of a workflow is a JSON object, such as {\"order\": 7}";
            return Err(Error::InvalidInput { what: what.to_owned() });
        }
        for _ in 0..TRIES_MAX {
            let looked = self.inner.env.now();
            let place = match Box::pin(self.place(&request)).await? {
                Place::Taken(started) => return Ok(started),
                Place::Free(execution, generation) => (execution, generation),
                Place::Deleted => continue,
            };
            let run =
                NewRun { place, looked, kept: vec![], resumed: None, calls: Calls::default() };
            if let Some(started) = Box::pin(self.start_at(&request, run)).await? {
                return Ok(started);
            }
        }
        Err(log::Error::Throttled { after: Duration::from_secs(1) }.into())
    }

    /// Where the execution is to be created, or who is there.
    async fn place(&self, request: &StartRequest) -> Result<Place, Error> {
        let Some(execution) = &request.execution else {
            let made = if request.request.is_empty() {
                ExecutionId::made(self.inner.env.now(), self.inner.env.random())
            } else {
                ExecutionId::of_request(&format!("{} {}", request.namespace, request.request))
            };
            return Ok(Place::Free(made, 0));
        };
        let head = self.inner.log.head(&request.namespace, &execution.key()).await?;
        let Some((generation, start)) = head else { return Ok(Place::Free(execution.clone(), 0)) };
        let winner = started_by(&start)?;
        if is_same_request(winner, request) {
            return Ok(Place::Taken(answer(winner, start.time, false)));
        }
        let handle = handle_of(winner);
        let is_tombstone = deleted_by(&start.events).is_some();
        let is_closed = if is_tombstone {
            true
        } else {
            let Some(newest) = self.inner.log.newest(&handle).await? else {
                return Ok(Place::Deleted);
            };
            newest.state().is_closed()
        };
        if is_closed {
            if let Some(earlier) = self.started_earlier(&request.request, &handle).await? {
                return Ok(Place::Taken(earlier));
            }
            return Ok(Place::Free(execution.clone(), generation + 1));
        }
        if winner.blueprint.name != request.workflow {
            let (execution, other) = (&winner.execution, &winner.blueprint.name);
            let what = format!(
                "execution `{execution}` is open already, and is one of workflow `{other}`; choose \
                 another id"
            );
            return Err(Error::InvalidInput { what });
        }
        Ok(Place::Taken(answer(winner, start.time, true)))
    }

    /// What the request `id` started before the generation of `newest`. Without an id nothing is
    /// read.
    pub(super) async fn started_earlier(
        &self,
        id: &str,
        newest: &Handle,
    ) -> Result<Option<Started>, Error> {
        if id.is_empty() {
            return Ok(None);
        }
        let generations = (0..newest.generation).rev().take(RECOGNISED_MAX as usize);
        for generation in generations {
            let handle = Handle { generation, ..newest.clone() };
            let Some(start) = self.inner.log.start_of(&handle).await? else { break };
            if self.inner.env.now().since(start.time) > RECOGNISED_FOR {
                break;
            }
            let earlier = started_by(&start)?;
            if is_request(earlier, id) {
                return Ok(Some(answer(earlier, start.time, false)));
            }
        }
        Ok(None)
    }

    /// Creates the run; none: begin over.
    pub(super) async fn start_at(
        &self,
        request: &StartRequest,
        NewRun { place: (execution, generation), looked, kept, resumed, calls }: NewRun,
    ) -> Result<Option<Started>, Error> {
        let now = self.inner.env.now();
        let run = RunId::from_random(self.inner.env.random());
        let handle = Handle {
            namespace: request.namespace.clone(),
            execution: execution.key(),
            generation,
            run,
            seq: 0,
        };
        let policy = &self.inner.config.policy;
        let guard = Guard { epoch: 0, due: now.after(policy.guard) };
        let along = self.inner.wakes.along(&handle, attention_of(guard));
        let goes_along = along.is_some();
        let arm = async {
            if goes_along {
                return Ok(());
            }
            self.inner.wakes.put(&handle, attention_of(guard)).await
        };
        let (armed, blueprint) = tokio::join!(arm, self.blueprint_to_start(request));
        let blueprint = match (armed, blueprint) {
            (Ok(()), Ok(blueprint)) => blueprint,
            (armed, blueprint) => {
                // Nothing was sent that could need the guard.
                if !goes_along {
                    self.inner.wakes.delete(&handle, attention_of(guard)).await;
                }
                armed?;
                blueprint?
            }
        };
        let mut input = Payload::of(request.input.clone());
        let blob = self.offload_payload(run, &mut input).await?;
        let kept = self.in_this_run(run, kept).await?;
        let identity = (&execution, generation, run);
        let mut start = self.start_event(request, &blueprint, identity, input, now);
        start.resumed = resumed;
        start.with_inputs.extend(calls.with_inputs);
        start.arguments.extend(calls.arguments);
        let random = self.inner.env.random();
        let mut draft = Draft::begin(start, now, half_of(random));
        let values = Values::default();
        let setting = Setting { blueprint: &blueprint.blueprint, policy, values: &values };
        workflow::start(&mut draft, &setting, kept);
        let assigned = self.assign(&mut draft, &blueprint, &[]);
        let sealed = draft.seal(policy.guard_ms());
        assert_eq!(sealed.guard_first, Some(guard), "BUG: a start needs another guard than it has");
        let requests: Vec<String> =
            Some(request.request.clone()).into_iter().filter(|id| !id.is_empty()).collect();
        let encoded = self.encode((&sealed, random), &requests, None);
        if self.inner.env.now().since(looked) > SENT_WITHIN {
            assigned.cancel();
            return Ok(None);
        }
        // Whoever is handed the first task waits at the desk until memory has the run.
        let desk = self.inner.slots.of(run);
        let _turn = desk.turn.lock().await;
        let key = execution.key();
        let place = (&request.namespace, &key, generation);
        let created = self.inner.log.create(place, &encoded, along, DEADLINE).await;
        match created {
            Ok(Append::Committed) => {
                let loaded = Loaded::after(sealed.state, blueprint, &encoded, now);
                let before = Before::start(handle);
                self.remember_payloads(&loaded.state, &sealed.events, blob.as_slice());
                self.release(&before, &loaded, &sealed.events, assigned, Which::New);
                self.inner.memory.put(loaded);
                let began = sealed.facts.time;
                Ok(Some(Started { execution, generation, run, began, was_running: false }))
            }
            Ok(Append::Lost(winner)) => {
                assigned.cancel();
                // Whether ours is in is decided: it is not, and its guard guards nothing.
                if !goes_along {
                    self.inner.wakes.delete(&handle, attention_of(guard)).await;
                }
                if deleted_by(&winner.events).is_some() {
                    return Ok(None);
                }
                let start = started_by(&winner)?;
                let is_ours = is_same_request(start, request);
                Ok(Some(answer(start, winner.time, !is_ours)))
            }
            Err(error) => {
                assigned.cancel();
                Err(error.into())
            }
        }
    }

    fn start_event(
        &self,
        request: &StartRequest,
        blueprint: &StoredBlueprint,
        (execution, generation, run): (&ExecutionId, Generation, RunId),
        input: Payload,
        now: Timestamp,
    ) -> Start {
        let hash = blueprint.blueprint.hash();
        let Calls { with_inputs, arguments } = self.learnt_calls(hash);
        let timeout_ms =
            request.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        Start {
            namespace: request.namespace.clone(),
            execution: execution.clone(),
            generation,
            run,
            blueprint: BlueprintRef {
                name: blueprint.blueprint.name().to_owned(),
                version: blueprint.version,
                hash: hash.to_owned(),
            },
            input,
            request: request.request.clone(),
            timeout_ms,
            deadline: timeout_ms.map(|millis| now.after_millis(millis)),
            correlation_id: request.correlation_id.clone(),
            tags: request.tags.clone(),
            with_inputs,
            arguments,
            resumed: None,
        }
    }

    async fn blueprint_to_start(
        &self,
        request: &StartRequest,
    ) -> Result<Arc<StoredBlueprint>, Error> {
        self.stored_blueprint(&request.namespace, &request.workflow, request.version).await
    }
}

/// The run that a start creates.
#[derive(Debug)]
pub(super) struct NewRun {
    /// When it was looked who has the id.
    pub(super) looked: Timestamp,
    /// The id, and which generation of it.
    pub(super) place: (ExecutionId, Generation),
    /// What it keeps of the run that it resumes.
    pub(super) kept: Vec<Event>,
    /// The run that it resumes.
    pub(super) resumed: Option<Resumed>,
    /// What that run had learnt of the calls of its steps.
    pub(super) calls: Calls,
}

/// Where a start goes.
enum Place {
    /// Nobody is there.
    Free(ExecutionId, Generation),
    /// This execution is.
    Taken(Started),
    /// Who was there is deleted meanwhile: look again.
    Deleted,
}

/// The start that a start commit carries.
pub(super) fn started_by(commit: &Commit) -> Result<&Start, Error> {
    match commit.events.first() {
        Some(Event::ExecutionStarted(start)) => Ok(start),
        Some(_) | None => Err(Error::Log(log::Error::Corrupt {
            key: format!("the start commit of run {}", commit.run),
            fault: "its first event is not execution_started".to_owned(),
        })),
    }
}

fn is_same_request(start: &Start, request: &StartRequest) -> bool {
    is_request(start, &request.request)
}

/// Whether the request `id` started the run.
pub(super) fn is_request(start: &Start, id: &str) -> bool {
    !id.is_empty() && start.request == id
}

pub(super) fn handle_of(start: &Start) -> Handle {
    Handle {
        namespace: start.namespace.clone(),
        execution: start.execution.key(),
        generation: start.generation,
        run: start.run,
        seq: 0,
    }
}

pub(super) fn answer(start: &Start, began: Timestamp, was_running: bool) -> Started {
    let Start { execution, generation, run, .. } = start.clone();
    Started { execution, generation, run, began, was_running }
}
