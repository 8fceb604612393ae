//! What a target is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::workflow::{ExecutionId, StepName, TaskToken, Timestamp};

/// The worker's id under which the log knows the target of a queue, called by one engine: of two that
/// find a task, the second must not take the first one's lease for its own.
pub fn worker_name(queue: &str, engine: u32) -> String {
    format!("push:{queue}@{engine:08x}")
}

/// One attempt of a step, for a target.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The attempt.
    pub token: TaskToken,
    /// The queue's name.
    pub queue: String,
    /// From [`worker_name`].
    pub worker: String,
    /// The execution's id.
    pub execution: ExecutionId,
    /// The workflow's name.
    pub workflow: String,
    /// What to call the step with, by parameter.
    pub inputs: BTreeMap<String, serde_json::Value>,
    /// When the lease ends.
    pub lease_until: Timestamp,
    /// When it is sent.
    pub sent: Timestamp,
}

impl Delivery {
    /// The id of the message. Another one for each attempt: whoever passes over ids that it has seen
    /// must not pass over the attempt after one that failed.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.token.to_string().as_bytes());
        format!("msg_{}", hex::encode(&digest[..16]))
    }

    /// The step.
    pub fn step(&self) -> &StepName {
        &self.token.task.step
    }

    /// The body: the bytes that are signed, and no others are sent.
    pub fn body(&self) -> Bytes {
        let TaskToken { handle, task } = &self.token;
        let body = json!({
            "type": "task",
            "timestamp": utc(self.sent),
            "data": {
                "task_id": self.token.to_string(),
                "worker_id": self.worker,
                "namespace": handle.namespace.as_str(),
                "queue": self.queue,
                "execution_id": self.execution.as_str(),
                "workflow": self.workflow,
                "step": &*task.step,
                "iteration": task.iteration,
                "attempt": task.attempt,
                "idempotency_key": self.token.idempotency_key(),
                "lease_until": utc(self.lease_until),
                "inputs": self.inputs,
            },
        });
        Bytes::from(body.to_string())
    }
}

fn utc(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::workflow::{Handle, Namespace, RunId, Task};

    pub(in crate::push) fn delivery() -> Delivery {
        let execution = ExecutionId::known("order-7").unwrap();
        let handle = Handle {
            namespace: Namespace::default(),
            execution: execution.key(),
            generation: 0,
            run: RunId::from_random(0xaa),
            seq: 3,
        };
        let task = Task { step: "render".into(), iteration: 1, attempt: 2 };
        Delivery {
            token: TaskToken { handle, task },
            queue: "pdf".to_owned(),
            worker: worker_name("pdf", 0xaf),
            execution,
            workflow: "orders".to_owned(),
            inputs: BTreeMap::from([("charge".to_owned(), json!({"paid": 17.5}))]),
            lease_until: Timestamp::from_millis(1_764_000_300_000),
            sent: Timestamp::from_millis(1_764_000_000_123),
        }
    }

    #[test]
    fn the_body_is_pinned() {
        let body: serde_json::Value = serde_json::from_slice(&delivery().body()).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "task",
                "timestamp": "2025-11-24T16:00:00.123Z",
                "data": {
                    "task_id": "default.order-7.0.000000000000000000000000000000aa.3.render.1.2",
                    "worker_id": "push:pdf@000000af",
                    "namespace": "default",
                    "queue": "pdf",
                    "execution_id": "order-7",
                    "workflow": "orders",
                    "step": "render",
                    "iteration": 1,
                    "attempt": 2,
                    "idempotency_key": "000000000000000000000000000000aa/render/1",
                    "lease_until": "2025-11-24T16:05:00.000Z",
                    "inputs": {"charge": {"paid": 17.5}},
                },
            })
        );
    }

    #[test]
    fn each_attempt_is_a_message_of_its_own_and_all_share_the_key_of_the_step() {
        let (first, mut second) = (delivery(), delivery());
        second.token.task.attempt += 1;
        assert_eq!(first.id(), delivery().id());
        assert_ne!(first.id(), second.id());
        assert!(!first.id().contains('.'), "a dot would let one message pass for another");
        assert_eq!(first.token.idempotency_key(), second.token.idempotency_key());
    }
}
