//! What people ask of push queues: to set, show and delete them.

use super::lane::QueueStatus;
use crate::{
    engine::{Calling, Engine, Error, PushQueue},
    push::SetQueue,
    workflow::{Namespace, Timestamp},
};

/// A queue, and how it stands in the instance that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// The queue.
    pub queue: PushQueue,
    /// When it was set.
    pub changed: Timestamp,
    /// How it stands here.
    pub status: QueueStatus,
}

impl Engine {
    /// Sets a push queue; other instances know it within 30 s. Gives what its operator should know.
    /// Whoever comes last counts; sent twice, it is set once. Costs 1 PUT.
    ///
    /// # Errors
    ///
    /// * [`Error::InvalidInput`]: says what is wrong with it.
    /// * [`Error::Log`]: it may be set; set it again.
    pub async fn set_queue(&self, queue: &PushQueue) -> Result<Vec<String>, Error> {
        self.refuse_when_closing()?;
        queue.check().map_err(|fault| Error::InvalidInput { what: fault.to_string() })?;
        self.inner.queues.put(queue, self.inner.env.now()).await?;
        Ok(self.inner.lanes.hindrance(queue).into_iter().collect())
    }

    /// A push queue, as it is in the store. Costs 1 GET.
    ///
    /// # Errors
    ///
    /// * [`Error::NotFound`]: there is none of that name.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn queue(&self, namespace: &Namespace, name: &str) -> Result<QueueView, Error> {
        if !PushQueue::may_be_called(name) {
            return Err(no_queue(namespace, name));
        }
        let found = self.inner.queues.get(namespace, name).await?;
        found.map(|queue| self.view(&queue)).ok_or_else(|| no_queue(namespace, name))
    }

    /// The push queues of a namespace, by name. Costs 1 LIST, and 1 GET for each that is not known.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: ask again.
    pub async fn queues(&self, namespace: &Namespace) -> Result<Vec<QueueView>, Error> {
        self.inner.queues.forget();
        let all = self.inner.queues.all(self.inner.env.now()).await?;
        let of_namespace = all.iter().filter(|(queue, _)| queue.namespace == *namespace);
        Ok(of_namespace.map(|queue| self.view(queue)).collect())
    }

    /// Deletes a push queue; its tasks wait for workers that poll, and calls under way go on. Costs 1
    /// GET and 1 DELETE.
    ///
    /// # Errors
    ///
    /// * [`Error::NotFound`]: there is none of that name.
    /// * [`Error::Log`]: it may be deleted; delete it again.
    pub async fn delete_queue(&self, namespace: &Namespace, name: &str) -> Result<(), Error> {
        self.refuse_when_closing()?;
        // One that can not be read can be deleted.
        if !PushQueue::may_be_called(name)
            || matches!(self.inner.queues.get(namespace, name).await, Ok(None))
        {
            return Err(no_queue(namespace, name));
        }
        Ok(self.inner.queues.delete(namespace, name).await?)
    }

    /// The push queue that takes a step, in words. Costs 1 LIST where they were not read of late.
    pub(in crate::engine) async fn push_queue_of(
        &self,
        namespace: &Namespace,
        workflow: &str,
        step: &str,
    ) -> Result<Option<String>, Error> {
        let all = self.inner.queues.all(self.inner.env.now()).await?;
        let takes = all
            .iter()
            .find(|(queue, _)| queue.namespace == *namespace && queue.takes(Some(workflow), step));
        let Some((queue, _)) = takes else { return Ok(None) };
        let name = &queue.name;
        let QueueStatus { calling, last_failure, .. } = self.inner.lanes.status(namespace, name);
        let more = match calling {
            Calling::NotBefore(until) => {
                let seconds = until.since(self.inner.env.now()).as_secs_f64();
                let reason = last_failure.unwrap_or_default();
                format!(", whose target {reason} and is left alone for {seconds:.1} s")
            }
            Calling::Hindered(why) => format!(", which is not served from here: {why}"),
            Calling::Yes | Calling::Probing | Calling::NotHere => String::new(),
        };
        Ok(Some(format!("push queue `{name}`{more}")))
    }

    fn view(&self, (queue, changed): &SetQueue) -> QueueView {
        let status = self.inner.lanes.status(&queue.namespace, &queue.name);
        QueueView { queue: (**queue).clone(), changed: *changed, status }
    }
}

fn no_queue(namespace: &Namespace, name: &str) -> Error {
    let shown: String = name.chars().take(64).collect();
    Error::NotFound { what: format!("there is no push queue `{shown}` in namespace `{namespace}`") }
}
