//! How a command ends: the exit code, and the two lines that say why.
//!
//! Invariant: an exit code says what the caller does next, never what went wrong inside; a script
//! may send the same command again on 3, and only on 3.

use std::{fmt, io, process::ExitCode};

use tonic::{Code, Status};

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nothing: it is done.
    Ok,
    /// Changes the request, or looks at the execution: asking again gives the same answer.
    Refused,
    /// Changes the command line (clap ends with the same code).
    Usage,
    /// Asks again later: nobody answered.
    Unavailable,
    /// Knows: it asked twice to stop.
    Interrupted,
}

impl Exit {
    /// The number, as docs/operations.md "Exit codes" lists it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            // As shells show a process that Ctrl-C ended.
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the caller does next.
    pub exit: Exit,
    /// What was wrong, in one line; empty: nothing to say (the reader of our output went away).
    pub what: String,
    /// What to do, in one line; empty where `what` says it.
    pub advice: String,
}

impl Failure {
    /// The request was understood and can not be done.
    pub fn refused(what: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { exit: Exit::Refused, what: what.to_string(), advice: advice.to_string() }
    }

    /// The command line can not be meant so.
    pub fn usage(what: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, what: what.to_string(), advice: advice.to_string() }
    }

    /// Nobody answered; the same command may be sent again.
    pub fn unavailable(what: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { exit: Exit::Unavailable, what: what.to_string(), advice: advice.to_string() }
    }

    /// What a server's answer means for whoever gave the command; `target` is who was asked.
    pub fn of_status(status: &Status, target: &str) -> Self {
        if is_transport(status) {
            return Self::unavailable(
                format_args!("nobody answers at {target}"),
                "start a server with `lazarus dev`, name another with --server, or work on the \
                 bucket itself with --store",
            );
        }
        let (exit, advice) = meaning(status.code());
        Self { exit, what: first_line(status), advice: advice.to_owned() }
    }
}

/// The code and the advice for each answer of a server; the message names what was wrong.
fn meaning(code: Code) -> (Exit, &'static str) {
    match code {
        Code::Ok => (Exit::Ok, ""),
        Code::InvalidArgument | Code::OutOfRange => (
            Exit::Refused,
            "change what the message names; the command's --help says what is possible",
        ),
        Code::NotFound => (
            Exit::Refused,
            "look with `lazarus list`, `blueprint list` or `queue list`, and check --namespace",
        ),
        Code::FailedPrecondition | Code::AlreadyExists => {
            (Exit::Refused, "look at the execution with `lazarus status ID`")
        }
        Code::DataLoss => {
            (Exit::Refused, "a person must look: `lazarus log cat ID` shows what is stored")
        }
        Code::Unimplemented => {
            (Exit::Refused, "upgrade whichever of this command and the server is older")
        }
        Code::PermissionDenied | Code::Unauthenticated => {
            (Exit::Refused, "check the credentials that this command was given")
        }
        Code::Internal | Code::Unknown => {
            (Exit::Refused, "this is a bug: report it with the log of the server")
        }
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::ResourceExhausted
        | Code::Aborted => (Exit::Unavailable, "give the same command again later"),
    }
}

/// Whether the same request may be sent again at once: it was not answered, or with "later".
pub(super) fn is_worth_a_retry(status: &Status) -> bool {
    is_transport(status) || matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

/// Whether the connection failed, rather than a server answered: only then has a status a cause.
fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn first_line(status: &Status) -> String {
    match status.message().lines().next() {
        Some(line) => line.to_owned(),
        None => format!("the server answered {:?} and no more", status.code()),
    }
}

/// Failing to print: a reader that went away (`lazarus history ID | head`) is no failure of ours.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Ok, what: String::new(), advice: String::new() };
        }
        Self::unavailable(
            format_args!("the output can not be written: {error}"),
            "check where it goes to, and the free space there",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(code: Code) -> u8 {
        Failure::of_status(&Status::new(code, "no"), "http://x").exit.code()
    }

    #[test]
    fn every_answer_has_its_exit_code() {
        for code in [
            Code::InvalidArgument,
            Code::NotFound,
            Code::AlreadyExists,
            Code::FailedPrecondition,
            Code::OutOfRange,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::Unimplemented,
            Code::DataLoss,
            Code::Internal,
            Code::Unknown,
        ] {
            assert_eq!(code_of(code), 1, "{code:?}");
        }
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Cancelled,
            Code::ResourceExhausted,
            Code::Aborted,
        ] {
            assert_eq!(code_of(code), 3, "{code:?}");
        }
        assert_eq!(Failure::usage("a", "b").exit.code(), 2);
        assert_eq!(Exit::Ok.code(), 0);
    }

    #[test]
    fn a_broken_connection_is_unavailable_whatever_its_code() {
        let status = Status::from_error(Box::new(io::Error::other("broken pipe")));
        let failure = Failure::of_status(&status, "http://127.0.0.1:50051");
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.what, "nobody answers at http://127.0.0.1:50051");
        assert!(is_worth_a_retry(&status));
    }

    #[test]
    fn only_what_may_be_sent_again_is() {
        assert!(is_worth_a_retry(&Status::unavailable("later")));
        assert!(!is_worth_a_retry(&Status::not_found("x")));
        assert!(!is_worth_a_retry(&Status::internal("bug")));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((gone.exit.code(), gone.what.as_str()), (0, ""));
    }
}
