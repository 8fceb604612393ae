//! The limits on what clients send: every text is checked once, here.

use crate::{
    engine::Error,
    workflow::{ExecutionId, ID_BYTES_MAX, RunId, StepName},
};

/// The longest id of a worker, name of a language or version of an SDK.
const NAME_BYTES_MAX: usize = 256;
/// The longest name of a step or a workflow that is looked up.
const STEP_BYTES_MAX: usize = 512;
/// The longest text that a person writes: a reason, who they are.
const WORDS_BYTES_MAX: usize = 8 * 1024;
/// How many labels an execution may have, and how long each may be.
const TAGS_MAX: usize = 100;
const TAG_BYTES_MAX: usize = 256;

pub(super) fn invalid(what: impl Into<String>) -> Error {
    Error::InvalidInput { what: what.into() }
}

fn text(field: &str, value: String, bytes_max: usize) -> Result<String, Error> {
    if value.len() > bytes_max {
        let bytes = value.len();
        return Err(invalid(format!(
            "`{field}` has {bytes} bytes; at most {bytes_max} are allowed"
        )));
    }
    Ok(value)
}

/// A short name, which may be empty.
pub(super) fn name(field: &str, value: String) -> Result<String, Error> {
    text(field, value, NAME_BYTES_MAX)
}

/// What a person writes, which may be empty.
pub(in crate::frontdoor) fn words(field: &str, value: String) -> Result<String, Error> {
    text(field, value, WORDS_BYTES_MAX)
}

/// The language that a worker is written in, which it need not say.
pub(in crate::frontdoor) fn language(value: String) -> Result<String, Error> {
    name("language", value)
}

/// Who asks, in their own words.
pub(in crate::frontdoor) fn who(value: String) -> Result<String, Error> {
    let value = name("by", value)?;
    Ok(if value.is_empty() { "somebody".to_owned() } else { value })
}

/// The id of a run.
pub(in crate::frontdoor) fn run_id(value: &str) -> Result<RunId, Error> {
    Ok(value.parse()?)
}

/// The name of a workflow that must exist.
pub(in crate::frontdoor) fn workflow(field: &str, value: String) -> Result<String, Error> {
    if value.is_empty() {
        return Err(invalid(format!("`{field}` is empty; name a workflow")));
    }
    text(field, value, STEP_BYTES_MAX)
}

/// The name of a step; none when it is empty.
pub(in crate::frontdoor) fn step(value: String) -> Result<Option<StepName>, Error> {
    let value = text("step", value, STEP_BYTES_MAX)?;
    Ok((!value.is_empty()).then(|| value.into()))
}

/// The id of an execution that exists.
pub(in crate::frontdoor) fn execution_id(value: &str) -> Result<ExecutionId, Error> {
    if value.is_empty() {
        return Err(invalid("`execution_id` is empty; name an execution"));
    }
    Ok(ExecutionId::known(value)?)
}

/// The id under which a request may be repeated, which may be empty.
pub(in crate::frontdoor) fn request_id(value: String) -> Result<String, Error> {
    text("request_id", value, ID_BYTES_MAX)
}

/// The caller's own id for what an execution belongs to.
pub(super) fn correlation_id(value: String) -> Result<String, Error> {
    text("correlation_id", value, ID_BYTES_MAX)
}

/// The caller's own labels.
pub(super) fn tags(values: Vec<String>) -> Result<Vec<String>, Error> {
    if values.len() > TAGS_MAX {
        let tags = values.len();
        return Err(invalid(format!("{tags} tags are too many; at most {TAGS_MAX} are allowed")));
    }
    values.into_iter().map(|tag| text("tags", tag, TAG_BYTES_MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_named() {
        assert_eq!(
            name("worker_id", "x".repeat(257)).unwrap_err().to_string(),
            "`worker_id` has 257 bytes; at most 256 are allowed"
        );
        assert_eq!(
            tags(vec![String::new(); 101]).unwrap_err().to_string(),
            "101 tags are too many; at most 100 are allowed"
        );
    }

    #[test]
    fn an_empty_name_is_refused_where_something_must_exist() {
        assert_eq!(
            execution_id("").unwrap_err().to_string(),
            "`execution_id` is empty; name an execution"
        );
        assert_eq!(
            workflow("workflow_module", String::new()).unwrap_err().to_string(),
            "`workflow_module` is empty; name a workflow"
        );
        assert_eq!(step(String::new()).unwrap(), None);
    }
}
