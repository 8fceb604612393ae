//! Serves an engine on its listeners until a signal ends it: what `dev` and `serve` share.

use std::{io, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{
    exit::{Exit, Failure},
    instance,
};
use crate::{
    config::PushArgs,
    engine::{Caller, Engine, RetentionPolicy},
    env::Env,
    frontdoor::{self, Listeners},
    telemetry,
};

/// How long an instance that was told to stop may take to finish what it was asked.
const GRACE: Duration = Duration::from_secs(10);

/// Listens on `address`; `flag` is what the user would change.
pub(super) async fn listen(address: &str, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            return Failure::unavailable(
                format_args!("{address} is taken by another process"),
                format_args!(
                    "stop that one (another lazarus? `ss -ltnp` and `lsof -i` name it), or choose \
                     another address with {flag}"
                ),
            );
        }
        Failure::usage(
            format_args!("{flag} {address}: {error}"),
            "give an address of this machine as HOST:PORT; ports under 1024 need privileges",
        )
    })
}

/// The address on which `listener` really listens: the port, too, where 0 was asked for.
pub(super) fn address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// What calls the targets of push queues.
pub(super) fn caller(args: &PushArgs) -> Result<Arc<dyn Caller>, Failure> {
    args.caller().map_err(|error| {
        Failure::refused(
            format_args!("the targets of push queues can not be called: {error}"),
            "check the certificates of this machine (SSL_CERT_FILE)",
        )
    })
}

/// Collects metrics from here on; to be called before the store is opened.
pub(super) fn metrics() -> Result<PrometheusHandle, Failure> {
    telemetry::start_metrics().map_err(|error| {
        Failure::refused(format_args!("no metrics can be collected: {error}"), "report this bug")
    })
}

/// Serves until SIGTERM or SIGINT, then ends gracefully within ten seconds; a second signal ends it
/// at once. Nothing that was acknowledged is lost either way.
pub(super) async fn serve(
    engine: Engine,
    listeners: Listeners,
    metrics: PrometheusHandle,
    retention: &RetentionPolicy,
    caller: Arc<dyn Caller>,
    env: Arc<dyn Env>,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let mut work = Box::pin(work(&engine, listeners, metrics, retention, caller, stop.clone()));
    let asked = tokio::select! {
        ended = &mut work => return ended,
        () = signals.next() => Ok(()),
        failure = instance::watch_clock(engine.store().clone(), Arc::clone(&env)) => Err(failure),
        failure = instance::watch_store(engine.store()) => Err(failure),
    };
    tracing::info!("going down within {GRACE:?}; a second signal ends this at once");
    stop.cancel();
    tokio::select! {
        ended = work => ended.and(asked),
        () = signals.next() => Err(interrupted()),
        () = env.sleep(GRACE) => {
            tracing::warn!("not finished within {GRACE:?}; whatever is open is found again");
            asked
        }
    }
}

/// Serves and works off what is due, until `stop`.
async fn work(
    engine: &Engine,
    listeners: Listeners,
    metrics: PrometheusHandle,
    retention: &RetentionPolicy,
    caller: Arc<dyn Caller>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let serving = async {
        let stopped = stop.cancelled_owned();
        let ended = frontdoor::serve(engine.clone(), listeners, Some(metrics), stopped).await;
        // Also where serving ended by itself: the background must not go on alone.
        engine.begin_shutdown();
        ended
    };
    let (served, (), (), ()) = tokio::join!(
        serving,
        engine.run_background(),
        engine.run_retention(retention),
        engine.run_push(caller)
    );
    served.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|it| format!(": {it}"));
        Failure::unavailable(
            format_args!("{error}{}", cause.unwrap_or_default()),
            "start it again; whatever is open goes on",
        )
    })
}

fn interrupted() -> Failure {
    Failure {
        exit: Exit::Interrupted,
        what: "ended at once, on a second signal".to_owned(),
        advice: "nothing acknowledged is lost: the next start goes on".to_owned(),
    }
}

/// What asks a process to end.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves at the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_says_which_flag_to_change() {
        let first = listen("127.0.0.1:0", "--grpc").await.unwrap();
        let taken = address(&first);
        let failure = listen(&taken, "--grpc").await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.what, format!("{taken} is taken by another process"));
        assert!(failure.advice.ends_with("choose another address with --grpc"));
    }

    #[tokio::test]
    async fn what_is_no_address_is_a_usage_error() {
        let failure = listen("50051", "--http").await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.what.starts_with("--http 50051: "), "{}", failure.what);
    }
}
