//! Looks at a run without changing it, and fetches the payloads that its state refers to.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};

use super::{Engine, Error, cache::Loaded, commit::no_such_run};
use crate::{
    log,
    workflow::{self, Arguments, At, Call, Handle, INPUTS, Json, RunId, Stored, Task, unwrapped},
};

/// How many payloads of one run are read at once.
const READS_AT_ONCE: usize = 16;

impl Loaded {
    /// The call of `task`, if it is leased to `worker`.
    pub(super) fn call(&self, task: &Task, worker: &str) -> Option<Call> {
        workflow::call(&self.blueprint.blueprint, &self.state, task, worker)
    }
}

impl Engine {
    /// Looks at a run as memory, or else its log, has it: perhaps behind its newest commit.
    pub(super) async fn look_at<T>(
        &self,
        handle: &Handle,
        look: impl FnOnce(&Loaded) -> T,
    ) -> Result<T, Error> {
        self.look(handle, false, look).await
    }

    /// Looks at a run as its newest commit left it.
    pub(super) async fn look_at_newest<T>(
        &self,
        handle: &Handle,
        look: impl FnOnce(&Loaded) -> T,
    ) -> Result<T, Error> {
        self.look(handle, true, look).await
    }

    pub(super) async fn look<T>(
        &self,
        handle: &Handle,
        anew: bool,
        look: impl FnOnce(&Loaded) -> T,
    ) -> Result<T, Error> {
        let desk = self.inner.slots.of(handle.run);
        let _turn = desk.turn.lock().await;
        let (loaded, _) = self.rehydrate(handle, anew).await?;
        let seen = look(&loaded);
        self.inner.memory.put(loaded);
        Ok(seen)
    }

    /// What a step is called with, by parameter.
    pub(super) async fn arguments_of(
        &self,
        handle: &Handle,
        arguments: &Arguments,
    ) -> Result<BTreeMap<String, serde_json::Value>, Error> {
        let Arguments { outputs, inputs } = arguments;
        let stored: Vec<Stored> = outputs
            .iter()
            .filter_map(|(_, stored)| stored.as_ref())
            .chain(inputs)
            .cloned()
            .collect();
        let values = self.payloads(handle, &stored).await?;
        let mut call = BTreeMap::new();
        for (name, stored) in outputs {
            let value = stored.as_ref().map(|stored| unwrapped(&values[&stored.at]));
            call.insert(name.to_string(), value.unwrap_or_default());
        }
        if let Some(inputs) = inputs {
            call.insert(INPUTS.to_owned(), (*values[&inputs.at]).clone());
        }
        Ok(call)
    }

    /// The values of `stored`, from the state, from memory, or from the log: 1 GET for each of the
    /// latter, and 1 more for a blob; several at once.
    pub(super) async fn payloads(
        &self,
        handle: &Handle,
        stored: &[Stored],
    ) -> Result<HashMap<At, Json>, Error> {
        let mut values = HashMap::with_capacity(stored.len());
        let mut unknown = vec![];
        for stored in stored {
            let remembered = || self.inner.memory.payload(handle.run, stored.at);
            match stored.value.clone().or_else(remembered) {
                Some(value) => drop(values.insert(stored.at, value)),
                None => unknown.push(stored.clone()),
            }
        }
        if !unknown.is_empty() {
            let reads = stream::iter(unknown).map(|stored| async move {
                let value = self.read_payload(handle, &stored).await?;
                Ok::<_, Error>((stored.at, value))
            });
            let read: Vec<_> =
                Box::pin(reads.buffer_unordered(READS_AT_ONCE).try_collect()).await?;
            values.extend(read);
        }
        Ok(values)
    }

    async fn read_payload(&self, handle: &Handle, stored: &Stored) -> Result<Json, Error> {
        let run: RunId = handle.run;
        let value = match self.inner.log.payload(handle, stored.at).await {
            Ok(value) => value,
            // A run that is being deleted has lost its start before it loses anything else.
            Err(error @ log::Error::Corrupt { .. }) => {
                return Err(if self.inner.log.names_run(handle).await? {
                    error.into()
                } else {
                    no_such_run(handle)
                });
            }
            Err(error) => return Err(error.into()),
        };
        self.inner.memory.put_payload(run, stored.at, value.clone(), stored.bytes);
        Ok(value)
    }
}
