//! Polls, and the tasks that they bring.

use std::time::Duration;

use prost_types::Struct;
use serde_json::json;

use super::{
    value::{timestamp, wire, wire_object},
    worker::polling_worker_id,
};
use crate::{
    engine::{Error, PollRequest, TaskForWorker},
    proto::cerebelum::{self, Task},
    workflow::Namespace,
};

/// How long a poll that does not say is held: what the SDK asks for.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a poll is held at most: proxies cut off calls that are silent for longer.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Reads a poll that came on `connection`.
pub(in crate::frontdoor) fn poll(
    namespace: Namespace,
    request: cerebelum::PollRequest,
    connection: Option<String>,
) -> Result<PollRequest, Error> {
    let wait = match u64::try_from(request.timeout_ms) {
        Ok(0) | Err(_) => WAIT_DEFAULT,
        Ok(millis) => Duration::from_millis(millis).min(WAIT_MAX),
    };
    Ok(PollRequest { namespace, worker: polling_worker_id(request.worker_id)?, wait, connection })
}

/// The answer to a poll; none is a task without an id, because an error would count against the
/// channel.
pub(in crate::frontdoor) fn task(task: Option<TaskForWorker>) -> Task {
    let Some(task) = task else { return Task::default() };
    let inputs = task.inputs.iter().map(|(name, value)| (name.clone(), wire(value)));
    Task {
        context: Some(context(&task)),
        step_inputs: Some(Struct { fields: inputs.collect() }),
        task_id: task.token.to_string(),
        execution_id: task.execution.to_string(),
        workflow_module: task.workflow,
        step_name: task.token.task.step.to_string(),
        created_at: Some(timestamp(task.created)),
        attempt: task.token.task.attempt,
        lease_until: Some(timestamp(task.lease_until)),
    }
}

/// What a step may want to know of its call.
fn context(task: &TaskForWorker) -> Struct {
    wire_object(&json!({
        "execution_id": task.execution.as_str(),
        "step_name": &*task.token.task.step,
        "idempotency_key": task.token.idempotency_key(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{ExecutionId, Timestamp};

    fn wait(timeout_ms: i32) -> Duration {
        let request = cerebelum::PollRequest { worker_id: "w1".to_owned(), timeout_ms };
        poll(Namespace::default(), request, None).unwrap().wait
    }

    #[test]
    fn a_poll_is_held_for_30_seconds_unless_it_says_and_never_over_60() {
        assert_eq!(wait(0), Duration::from_secs(30));
        assert_eq!(wait(-5), Duration::from_secs(30));
        assert_eq!(wait(250), Duration::from_millis(250));
        assert_eq!(wait(i32::MAX), Duration::from_mins(1));
    }

    #[test]
    fn no_task_is_an_empty_one() {
        assert_eq!(task(None), Task::default());
        assert_eq!(task(None).task_id, "");
    }

    #[test]
    fn a_task_carries_the_arguments_of_its_step_and_no_more() {
        let token = "default.order-1.0.000000000000000000000000000000aa.3.ship.1.2";
        let given = TaskForWorker {
            token: token.parse().unwrap(),
            execution: ExecutionId::known("order-1").unwrap(),
            workflow: "orders".to_owned(),
            inputs: [("charge".to_owned(), json!("paid"))].into(),
            lease_until: Timestamp::from_millis(301_000),
            created: Timestamp::from_millis(1_000),
        };
        let seconds = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        assert_eq!(
            task(Some(given)),
            Task {
                task_id: token.to_owned(),
                execution_id: "order-1".to_owned(),
                workflow_module: "orders".to_owned(),
                step_name: "ship".to_owned(),
                step_inputs: Some(wire_object(&json!({"charge": "paid"}))),
                context: Some(wire_object(&json!({
                    "execution_id": "order-1",
                    "step_name": "ship",
                    "idempotency_key": "000000000000000000000000000000aa/ship/1",
                }))),
                created_at: seconds(1),
                attempt: 2,
                lease_until: seconds(301),
            }
        );
    }
}
