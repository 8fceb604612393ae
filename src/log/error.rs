//! Why the log did not answer; named by what the caller must do.

use std::{io, time::Duration};

use thiserror::Error;

use crate::{store, workflow::Handle};

/// The world is wrong, not the caller.
#[derive(Debug, Error)]
pub enum Error {
    /// The commit may be in the log, or may still get there. Release no effect, drop the cached
    /// state, answer UNAVAILABLE; the same request may be sent again, through any instance.
    #[error("whether {key} was written is unknown; {advice}")]
    Unknown {
        /// The key of the commit.
        key: String,
        /// What to do: to send the same request again, and what before that.
        advice: String,
        /// What the store said last; none: nothing.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Nothing was written. Back off and try again, or do what `what` says.
    #[error("{what}")]
    Unavailable {
        /// What was tried on which key, and what to do.
        what: String,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store asks for fewer requests. Try again after the pause.
    #[error("the store asks for fewer requests; try again in {} ms", after.as_millis())]
    Throttled {
        /// How long to wait at least.
        after: Duration,
    },
    /// The bytes are not what was written, or do not continue the log. Do not retry: a person must
    /// look.
    #[error("{key} is corrupt: {fault}; look at it with `lazarus log cat`, nothing was changed")]
    Corrupt {
        /// The key of the object.
        key: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A newer version wrote it. Leave it to an instance that can read it.
    #[error("{key} was written by a newer version: {fault}; upgrade this instance")]
    TooNew {
        /// The key of the object.
        key: String,
        /// What this version does not know.
        fault: String,
    },
}

impl Error {
    /// A write of which nobody knows whether it is in; `source`: what the store said last, if anything.
    pub(super) fn unknown(key: String, source: Option<object_store::Error>) -> Self {
        let again = "send the same request again";
        let advice = match source.as_ref().and_then(full_disk) {
            Some(full) => format!("{full}, and {again}"),
            None => again.to_owned(),
        };
        Self::Unknown { key, advice, source: source.map(Into::into) }
    }

    /// Whether nothing was written, for a reason that can be over soon: the store is busy, full or out of
    /// reach, but did not refuse the request as such.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Throttled { .. } => true,
            Self::Unavailable { source, .. } => !source.downcast_ref().is_some_and(is_refusal),
            Self::Unknown { .. } | Self::Corrupt { .. } | Self::TooNew { .. } => false,
        }
    }

    /// The same where it hides whether a commit of the run that was written counts.
    #[must_use]
    pub fn after_a_write(self, handle: &Handle) -> Self {
        let (key, advice) =
            (format!("a commit of {handle}"), "send the same request again".to_owned());
        Self::Unknown { key, advice, source: Some(Box::new(self)) }
    }

    /// A read, a list or an index write that the store did not do.
    pub fn of_store(action: &str, key: &str, source: object_store::Error) -> Self {
        if is_throttling(&source) {
            return Self::Throttled { after: PAUSE };
        }
        let full = full_disk(&source);
        let advice = if is_refusal(&source) {
            "check the credentials, the permissions and the URL of the store"
        } else {
            full.as_deref().unwrap_or("try again")
        };
        let what = format!("the store did not {action} {key}; {advice}");
        Self::Unavailable { what, source: Box::new(source) }
    }
}

/// The pause after a throttled request: S3 asks for "reduced rate" without saying how much.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the store refused the request as such: nothing was done, and repeating it is useless
/// until somebody mends the set-up.
pub(super) fn is_refusal(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. }
            | object_store::Error::NotSupported { .. }
            | object_store::Error::NotImplemented { .. }
            | object_store::Error::InvalidPath { .. }
            | object_store::Error::UnknownConfigurationKey { .. }
    )
}

/// Whether the store began nothing of the write, so that it will never be found; it may be sent again.
pub(super) fn is_unbegun(error: &object_store::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<store::Full>)
}

/// What to tell of a store that did not write because its disk is full; none where that is not why.
fn full_disk(error: &object_store::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(full) = error.downcast_ref::<store::Full>() {
            return Some(full.to_string());
        }
        if error.downcast_ref::<io::Error>().is_some_and(is_about_space) {
            return Some(format!("its disk is full ({error}): free some space there"));
        }
        cause = error.source();
    }
    None
}

fn is_about_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether the store answered 429 or 503. `object_store` keeps the status to itself, so that its text
/// is all there is to tell it by.
fn is_throttling(error: &object_store::Error) -> bool {
    let object_store::Error::Generic { source, .. } = error else { return false };
    let text = source.to_string();
    ["status code: 429 ", "status code: 503 "].iter().any(|status| text.contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn a_busy_store_is_told_from_a_broken_one() {
        let busy = "Error performing GET http://s3/x in 1ms - Server returned non-2xx status code: \
                    503 Service Unavailable: <Code>SlowDown</Code>";
        let busy = Error::of_store("read", "run/x", generic(busy));
        assert_eq!(busy.to_string(), "the store asks for fewer requests; try again in 1000 ms");
        let broken = Error::of_store("read", "run/x", generic("connection reset"));
        assert_eq!(broken.to_string(), "the store did not read run/x; try again");
    }

    #[test]
    fn a_full_disk_is_named_with_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let of_file =
            object_store::Error::Generic { store: "LocalFileSystem", source: full.into() };
        let said = Error::of_store("write", "run/x", of_file).to_string();
        let expected = "the store did not write run/x; its disk is full (no storage space): free some \
                        space there";
        assert_eq!(said, expected);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let of_file =
            object_store::Error::Generic { store: "LocalFileSystem", source: full.into() };
        let said = Error::unknown("run/x".to_owned(), Some(of_file)).to_string();
        let expected = "whether run/x was written is unknown; its disk is full (no storage space): free \
                        some space there, and send the same request again";
        assert_eq!(said, expected);
        let full = store::Full { directory: "/srv".into(), free_bytes: 5 << 20 };
        let said = full.to_string();
        let own = object_store::Error::Generic { store: "embedded", source: full.into() };
        let expected = format!("the store did not write run/x; {said}");
        assert_eq!(Error::of_store("write", "run/x", own).to_string(), expected);
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        let denied =
            object_store::Error::PermissionDenied { path: "run/x".into(), source: "no".into() };
        assert_eq!(
            Error::of_store("read", "run/x", denied).to_string(),
            "the store did not read run/x; check the credentials, the permissions and the URL of \
             the store"
        );
    }

    #[test]
    fn only_a_store_that_may_answer_soon_is_worth_another_try() {
        let denied =
            object_store::Error::PermissionDenied { path: "run/x".into(), source: "no".into() };
        assert!(!Error::of_store("write", "run/x", denied).may_pass());
        let full = store::Full { directory: "/srv".into(), free_bytes: 5 << 20 };
        let full = object_store::Error::Generic { store: "embedded", source: full.into() };
        assert!(Error::of_store("write", "run/x", full).may_pass());
        assert!(Error::of_store("read", "run/x", generic("connection reset")).may_pass());
        assert!(Error::Throttled { after: PAUSE }.may_pass());
        assert!(!Error::unknown("run/x".to_owned(), Some(generic("connection reset"))).may_pass());
    }
}
