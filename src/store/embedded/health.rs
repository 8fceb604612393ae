//! Whether an embedded store takes writes still.
//!
//! Its engine takes none after one that failed, nor after a failure of its own in the background; it
//! has to be opened again. Whoever owns the process must hear of it, as no request can mend it.

use std::{sync::OnceLock, time::Duration};

use tokio_util::sync::CancellationToken;

/// How often the engine is asked, beside what writes tell: one that stopped in the background may
/// hold up a write for ever.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Told once, and for good.
#[derive(Debug, Default)]
pub(super) struct Health {
    cause: OnceLock<String>,
    broken: CancellationToken,
}

impl Health {
    /// Notes that no write succeeds any more, and why; the first cause counts.
    pub(super) fn breaks(&self, cause: &str) {
        if self.cause.set(cause.to_owned()).is_ok() {
            tracing::error!(
                cause,
                "the embedded store takes no more writes until it is opened again"
            );
        }
        self.broken.cancel();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Why it is broken; empty while it is not.
    pub(super) fn cause(&self) -> &str {
        self.cause.get().map_or("", String::as_str)
    }

    /// Resolves with the cause when it is broken.
    pub(super) async fn broken(&self) -> &str {
        self.broken.cancelled().await;
        self.cause()
    }
}
