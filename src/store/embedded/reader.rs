//! Reads, on threads of their own: they may wait for the disk.

use std::{io, sync::Arc};

use object_store::Result;
use tokio::runtime::{Builder, Handle, Runtime};

use super::database::Database;

/// How many threads read. Each that rests is another to be woken, with memory of its own: when 20,000
/// sleepers were due within five seconds, 32 of them took a seventh more CPU, made the last of a hundred
/// twice as late, and kept a third more memory for each sleeper. Fewer would wait for a slow disk.
const THREADS: usize = 8;

/// Reads one database; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    threads: Handle,
    database: Arc<Database>,
}

impl Reader {
    /// What `read` finds. An error also where the store is closed meanwhile.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let database = Arc::clone(&self.database);
        self.threads.spawn_blocking(move || read(&database)).await?
    }
}

/// The threads. Those that are at a read when this is dropped finish it, and are not waited for.
#[derive(Debug)]
pub(super) struct Readers(Option<Runtime>);

impl Readers {
    /// Begins none before there is something to read.
    pub(super) fn new() -> io::Result<Self> {
        let mut threads = Builder::new_current_thread();
        threads.max_blocking_threads(THREADS).thread_name("embedded-read");
        Ok(Self(Some(threads.build()?)))
    }

    /// A reader of `database` on these threads.
    pub(super) fn of(&self, database: &Arc<Database>) -> Reader {
        let threads = self.0.as_ref().expect("BUG: threads are there until they are dropped");
        Reader { threads: threads.handle().clone(), database: Arc::clone(database) }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}
