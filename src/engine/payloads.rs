//! Payloads of a run: into blobs before an event names them, and back where a decision or a call needs
//! them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Engine, Error,
    cache::{Blob, Loaded, Pending},
    commit::no_such_run,
};
use crate::{
    log,
    workflow::{self, At, Command, Event, Handle, Json, Payload, RunId, State, Stored, Values},
};

/// How many payloads of one run are read at once.
const READS_AT_ONCE: usize = 16;

impl Engine {
    /// Puts a large payload of the command into a blob, before any event names it; gives its value,
    /// which conditions may look at.
    pub(super) async fn offload(
        &self,
        handle: &Handle,
        command: &mut Command,
    ) -> Result<Option<Blob>, Arc<Error>> {
        let Some(payload) = command.payload_mut() else { return Ok(None) };
        self.offload_payload(handle.run, payload).await.map_err(|error| Arc::new(error.into()))
    }

    /// Puts `payload` into a blob if it is too large for a commit; gives its value then.
    pub(super) async fn offload_payload(
        &self,
        run: RunId,
        payload: &mut Payload,
    ) -> Result<Option<Blob>, log::Error> {
        let value = match payload {
            Payload::Json(value) => value.clone(),
            Payload::Blob { .. } => return Ok(None),
        };
        self.inner.log.offload(run, payload).await?;
        match payload {
            Payload::Blob { sha256, .. } => Ok(Some((sha256.clone(), value))),
            Payload::Json(_) => Ok(None),
        }
    }

    /// The values that conditions may look at. Costs nothing where no step of the batch has rules,
    /// else 1 GET for each value that neither the state nor memory carries.
    pub(super) async fn values(&self, loaded: &Loaded, batch: &[Pending]) -> Result<Values, Error> {
        let Loaded { state, blueprint, .. } = loaded;
        let mut values = Values::default();
        let mut needed = BTreeMap::new();
        for Pending { command, blob, .. } in batch {
            let read = workflow::reads(&blueprint.blueprint, state, command);
            needed.extend(read.into_iter().map(|stored| ((stored.at.0, stored.at.1), stored)));
            if let Some((sha256, value)) = blob {
                values.put_blob(sha256.clone(), value.clone());
            }
        }
        let needed: Vec<_> = needed.into_values().collect();
        for (at, value) in self.payloads(&state.handle(), &needed).await? {
            values.put_stored(at, value);
        }
        Ok(values)
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

    /// Keeps the payloads of a commit, `blobs` those that it names only: whoever is called with one
    /// need not read back what was just written. Also the small ones, of which a state carries no more
    /// than the newest.
    pub(super) fn remember_payloads(&self, state: &State, events: &[Event], blobs: &[Blob]) {
        for (index, event) in (0_u32..).zip(events) {
            let Some(payload) = event.payload() else { continue };
            let value = match payload {
                Payload::Json(value) => Some(value),
                Payload::Blob { sha256, .. } => {
                    blobs.iter().find(|(name, _)| name == sha256).map(|(_, value)| value)
                }
            };
            if let Some(value) = value {
                let at = At(state.seq, index);
                self.inner.memory.put_payload(state.run, at, value.clone(), payload.bytes());
            }
        }
    }
}
