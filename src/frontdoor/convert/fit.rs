//! Makes a status fit into what the SDK receives.
//!
//! Its channel takes messages of at most 4 MiB, and a status carries every output twice. One that
//! does not fit can not be read at all, so what is large is left out, and says so.

use prost::Message as _;
use serde_json::json;

use super::value::wire_object;
use crate::proto::cerebelum::ExecutionStatus;

/// The longest message that a gRPC client takes unless it was told otherwise.
const CLIENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The field that stands in place of an output that was left out.
const LEFT_OUT: &str = "lazarus_left_out";

/// `status`, without its largest parts if it would be too long for the SDK.
///
/// First the outputs beside the steps go, which also stand in `step_outputs`; then the largest of
/// those, and last the inputs.
pub(super) fn fit(mut status: ExecutionStatus) -> ExecutionStatus {
    if status.encoded_len() <= CLIENT_BYTES_MAX {
        return status;
    }
    for step in &mut status.completed_steps {
        step.output = None;
    }
    // The sizes are counted down and not measured again: there may be thousands of outputs.
    let mut excess = status.encoded_len().saturating_sub(CLIENT_BYTES_MAX);
    let sizes = status.step_outputs.iter().map(|(step, it)| (it.encoded_len(), step.clone()));
    let mut outputs: Vec<(usize, String)> = sizes.collect();
    outputs.sort_unstable_by(|one, other| other.cmp(one));
    for (bytes, step) in outputs {
        if excess == 0 {
            return status;
        }
        let instead = left_out(bytes);
        excess = excess.saturating_sub(bytes.saturating_sub(instead.encoded_len()));
        status.step_outputs.insert(step, instead);
    }
    if excess > 0 {
        let bytes = status.inputs.as_ref().map_or(0, prost::Message::encoded_len);
        status.inputs = Some(left_out(bytes));
    }
    status
}

fn left_out(bytes: usize) -> prost_types::Struct {
    let why = format!("{bytes} bytes, too many for one answer; `lazarus status` shows them");
    wire_object(&json!({ LEFT_OUT: why }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::cerebelum::StepStatus;

    fn status(outputs: &[(&str, usize)]) -> ExecutionStatus {
        let output = |bytes: usize| wire_object(&json!({"ok": "x".repeat(bytes)}));
        let step = |&(step, bytes): &(&str, usize)| StepStatus {
            step_name: step.to_owned(),
            output: Some(output(bytes)),
            ..StepStatus::default()
        };
        ExecutionStatus {
            completed_steps: outputs.iter().map(step).collect(),
            step_outputs: outputs.iter().map(|&(step, it)| (step.to_owned(), output(it))).collect(),
            ..ExecutionStatus::default()
        }
    }

    #[test]
    fn a_status_that_fits_stays_as_it_is() {
        let given = status(&[("a", 1_000_000), ("b", 1_000_000)]);
        assert_eq!(fit(given.clone()), given);
    }

    #[test]
    fn what_stands_twice_goes_first() {
        let given = status(&[("a", 1_500_000), ("b", 1_500_000)]);
        let fitted = fit(given.clone());
        assert_eq!(fitted.step_outputs, given.step_outputs);
        assert!(fitted.completed_steps.iter().all(|step| step.output.is_none()));
    }

    #[test]
    fn the_largest_output_goes_next_and_says_so() {
        let given = status(&[("a", 3_000_000), ("b", 2_000_000)]);
        let fitted = fit(given.clone());
        assert_eq!(fitted.step_outputs["b"], given.step_outputs["b"]);
        let bytes = given.step_outputs["a"].encoded_len();
        let why = format!("{bytes} bytes, too many for one answer; `lazarus status` shows them");
        assert_eq!(fitted.step_outputs["a"], wire_object(&json!({"lazarus_left_out": why})));
        assert!(fitted.encoded_len() <= CLIENT_BYTES_MAX);
    }
}
