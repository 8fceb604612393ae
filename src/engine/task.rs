//! Looks at a run without changing it: how it stands, and what its tasks are called with.

use std::collections::BTreeMap;

use super::{Engine, Error, cache::Loaded};
use crate::workflow::{self, Arguments, Call, Handle, INPUTS, Stored, Task, unwrapped};

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
}
