//! The one table from errors to gRPC: the code says what the caller must do, the message what was
//! wrong.
//!
//! | code | the caller |
//! |---|---|
//! | `INVALID_ARGUMENT`, `NOT_FOUND` | changes the request |
//! | `FAILED_PRECONDITION` | looks at the execution: it can not take this request now |
//! | `UNAVAILABLE` | sends the same request again, to any instance |
//! | `RESOURCE_EXHAUSTED` | does so after the pause in `grpc-retry-pushback-ms` |
//! | `DATA_LOSS` | calls a person |
//! | `UNIMPLEMENTED` | upgrades this instance, or asks a newer one |
//! | `INTERNAL` | reports a bug |

use tonic::{Code, Status, metadata::MetadataValue};

use crate::{engine, log, workflow::Rejection};

/// The longest message of a status: it travels in a header, percent-encoded (up to three times as
/// long), and clients refuse headers over 8 KiB.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Where clients look for the pause before the next try (gRPC proposal A6).
const PUSHBACK_KEY: &str = "grpc-retry-pushback-ms";

impl From<engine::Error> for Status {
    fn from(error: engine::Error) -> Self {
        report(&error);
        let mut status = Self::new(code(&error), capped(error.to_string(), MESSAGE_BYTES_MAX));
        if let engine::Error::Log(log::Error::Throttled { after }) = error.whole() {
            let pause = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            status.metadata_mut().insert(PUSHBACK_KEY, MetadataValue::from(pause));
        }
        status
    }
}

fn code(error: &engine::Error) -> Code {
    match error.whole() {
        engine::Error::Rejected(rejection) => code_of_rejection(rejection),
        engine::Error::InvalidId(_)
        | engine::Error::InvalidBlueprint(_)
        | engine::Error::InvalidInput { .. } => Code::InvalidArgument,
        engine::Error::NotFound { .. } => Code::NotFound,
        engine::Error::Log(error) => code_of_log(error),
        engine::Error::ShuttingDown | engine::Error::Shared(_) => Code::Unavailable,
    }
}

fn code_of_rejection(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::UnknownStep { .. }
        | Rejection::UnknownAttempt { .. }
        | Rejection::AmbiguousApproval { .. } => Code::InvalidArgument,
        Rejection::Closed { .. }
        | Rejection::Superseded { .. }
        | Rejection::NotReady { .. }
        | Rejection::NotYet { .. }
        | Rejection::LacksStep { .. }
        | Rejection::NothingToApprove
        | Rejection::NothingToResume
        | Rejection::NotWaiting { .. }
        | Rejection::NoLease { .. } => Code::FailedPrecondition,
    }
}

fn code_of_log(error: &log::Error) -> Code {
    match error {
        log::Error::Unknown { .. } | log::Error::Unavailable { .. } => Code::Unavailable,
        log::Error::Throttled { .. } => Code::ResourceExhausted,
        log::Error::Corrupt { .. } => Code::DataLoss,
        log::Error::TooNew { .. } => Code::Unimplemented,
    }
}

/// Tells the operator what is not the caller's fault: here, because here it is handled.
fn report(error: &engine::Error) {
    let engine::Error::Log(error) = error else { return };
    let cause = std::error::Error::source(error).map(ToString::to_string);
    match error {
        log::Error::Corrupt { .. } => tracing::error!(%error, "a log is corrupt"),
        log::Error::TooNew { .. } => tracing::error!(%error, "a log is of a newer version"),
        log::Error::Unknown { .. } | log::Error::Unavailable { .. } => {
            tracing::warn!(%error, cause, "the store did not answer");
        }
        log::Error::Throttled { .. } => tracing::warn!(%error, "the store is busy"),
    }
}

/// The answer to a request whose code panicked; the panic itself was reported where it happened.
pub(super) fn crashed() -> Status {
    Status::internal(
        "this instance met a bug while it worked on the request; look at its log, and at the \
         execution before you send the request again",
    )
}

/// The beginning of `text`, at most `bytes_max` bytes of it and a word about the rest.
pub(super) fn capped(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let (kept, rest) = text.split_at(text.floor_char_boundary(bytes_max));
    format!("{kept}... ({} bytes more)", rest.len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::workflow::{BlueprintFault, BlueprintFaults, InvalidId};

    fn status(error: impl Into<engine::Error>) -> (Code, String) {
        let status = Status::from(error.into());
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn a_caller_that_is_wrong_is_told_what_to_change() {
        assert_eq!(
            status(InvalidId::Empty),
            (
                Code::InvalidArgument,
                "an execution id is empty; leave it out to have one made, or give a name"
                    .to_owned()
            )
        );
        assert_eq!(
            status(BlueprintFaults(vec![BlueprintFault::NoName])),
            (Code::InvalidArgument, "the workflow has no name".to_owned())
        );
        assert_eq!(
            status(engine::Error::NotFound { what: "no workflow `x`".to_owned() }),
            (Code::NotFound, "no workflow `x`".to_owned())
        );
        assert_eq!(
            status(Rejection::AmbiguousApproval { count: 2, steps: "a, b".to_owned() }).0,
            Code::InvalidArgument
        );
    }

    #[test]
    fn an_execution_that_can_not_take_it_is_a_failed_precondition() {
        for rejection in [
            Rejection::Closed { status: "completed" },
            Rejection::NothingToApprove,
            Rejection::NotWaiting { step: "a".into() },
        ] {
            assert_eq!(status(rejection).0, Code::FailedPrecondition);
        }
    }

    #[test]
    fn a_world_that_is_wrong_says_what_to_do_by_its_code() {
        let corrupt =
            log::Error::Corrupt { key: "run/0a/7".to_owned(), fault: "no JSON".to_owned() };
        assert_eq!(status(corrupt).0, Code::DataLoss);
        let newer = log::Error::TooNew { key: "run/0a/7".to_owned(), fault: "v 2".to_owned() };
        assert_eq!(status(newer).0, Code::Unimplemented);
        assert_eq!(status(engine::Error::ShuttingDown).0, Code::Unavailable);
    }

    #[test]
    fn a_busy_store_names_the_pause() {
        let busy = log::Error::Throttled { after: Duration::from_millis(1500) };
        let status = Status::from(engine::Error::from(busy));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(PUSHBACK_KEY).unwrap(), "1500");
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        assert_eq!(capped("abc".to_owned(), 3), "abc");
        assert_eq!(capped("aéé".to_owned(), 2), "a... (4 bytes more)");
    }
}
