//! Whether the disk has room for what an embedded store is asked to write.
//!
//! A write that fails halfway ends the key-value engine for good: what reached the disk is unknown then,
//! and only opening it again tells. So writes are refused while there is room left still, nothing of
//! them is begun, and the store goes on by itself when there is more room again.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Below this much room nothing more is written. What was accepted already needs some: up to five
/// buffers of 8 MiB that become tables, the batch under way, and merges of tables.
pub(super) const RESERVE_BYTES: u64 = 64 << 20;

/// The disk of an embedded store is full; nothing was written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "the disk of the embedded store in {} is full: {} MiB are free, and the last {} MiB are kept for \
     what was accepted already; free some space there, and the store goes on by itself",
    directory.display(), free_bytes >> 20, RESERVE_BYTES >> 20
)]
pub struct Full {
    /// The store's directory.
    pub directory: PathBuf,
    /// How much room its disk has for this process.
    pub free_bytes: u64,
}

/// Looks at the disk of one directory.
#[derive(Debug)]
pub(super) struct Space {
    directory: PathBuf,
    free: fn(&Path) -> io::Result<u64>,
}

impl Space {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), free: free_bytes }
    }

    /// Refuses when there is too little room. Costs a system call of about a microsecond.
    ///
    /// A disk that does not say how much room it has is written to until it fails.
    pub(super) fn check(&self) -> Result<(), Full> {
        match (self.free)(&self.directory) {
            Ok(free_bytes) if free_bytes < RESERVE_BYTES => {
                Err(Full { directory: self.directory.clone(), free_bytes })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// How much an unprivileged process may still write to the disk of `directory`.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free: fn(&Path) -> io::Result<u64>) -> Space {
        Space { directory: PathBuf::from("/srv/store"), free }
    }

    #[test]
    fn a_disk_with_little_room_is_full_and_says_what_to_do() {
        assert_eq!(space(|_| Ok(RESERVE_BYTES)).check(), Ok(()));
        let full = space(|_| Ok(RESERVE_BYTES - 1)).check().unwrap_err();
        assert_eq!(
            full.to_string(),
            "the disk of the embedded store in /srv/store is full: 63 MiB are free, and the last 64 \
             MiB are kept for what was accepted already; free some space there, and the store goes on \
             by itself"
        );
    }

    #[test]
    fn a_disk_that_does_not_say_is_not_full() {
        assert_eq!(space(|_| Err(io::Error::other("no statvfs"))).check(), Ok(()));
    }

    #[test]
    fn this_disk_says_how_much_room_it_has() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(free_bytes(directory.path()).expect("it says") > 0);
    }
}
