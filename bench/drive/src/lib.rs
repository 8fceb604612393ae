//! How clients are driven, the same for every system: what differs is only what a [`Client`] sends.

mod args;
mod batch;
mod closed;
mod figures;

pub use args::{Batch, Closed, Named, Paced};
pub use batch::{batch, each, paced};
pub use closed::{calls, closed};
pub use figures::{Ended, of};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clients and workers of both systems share the machine with the server: what they take is kept small.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The pause of a client that was refused, before it sends again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a result of the workload `payload` is.
pub const PAYLOAD_BYTES: usize = 100_000;

/// One client of a system.
pub trait Client: Clone + Send + 'static {
    /// Runs one execution to its end. The same `id` again is the same execution; none: a new one.
    fn run(
        &mut self,
        workload: &str,
        id: Option<&str>,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A result of 100 KB. What repeats itself would be compressed away before it reaches a disk.
pub fn payload() -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state % 64) as u8).to_ascii_lowercase()
    };
    (0..PAYLOAD_BYTES).map(|_| letter()).collect()
}

/// Milliseconds of the wall clock, which is one for all processes here.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
