//! The directory of an embedded store: who owns it, and what is in it.
//!
//! `owner` (locked, holds the pid), `format` (written once the engine was first opened), `objects/`
//! (the engine's files).

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::journal;
use crate::store::OpenError;

/// What `format` holds; any other content was written by a newer version.
const FORMAT: &str = "lazarus embedded store 1\n";

/// A locked directory; unlocked by drop, and by the system when the process ends in any way.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    owner: File,
}

impl Directory {
    /// Creates `path` if it is missing, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Directory { directory: path.to_owned(), source };
        create_synced(path).map_err(failed)?;
        let mut owner = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("owner"))
            .map_err(failed)?;
        match owner.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                owner.read_to_string(&mut pid).map_err(failed)?;
                let pid = if pid.is_empty() { "that just locked it" } else { pid.trim() };
                return Err(OpenError::Owned { directory: path.to_owned(), pid: pid.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        owner.set_len(0).map_err(failed)?;
        writeln!(owner, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), owner })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `open` on the engine's files, after cutting off what a crash tore.
    ///
    /// An engine that was killed while it first created its files can not always open them again.
    /// Until `format` stands, nothing in them was ever acknowledged: they are begun anew then.
    pub(super) fn open<T>(
        &self,
        open: impl Fn(&PathBuf) -> fjall::Result<T>,
    ) -> Result<T, OpenError> {
        let failed = |source| OpenError::Directory { directory: self.path.clone(), source };
        let objects = self.path.join("objects");
        let complete = self.is_complete()?;
        let kept = journal::cut_torn_tail(&objects).map_err(|error| match error {
            journal::Error::Io(source) => failed(source),
            journal::Error::Damaged(detail) => self.damaged(detail),
        })?;
        if !complete && kept > 0 {
            return Err(self.damaged("there are objects, but the file `format` is gone".to_owned()));
        }
        if !complete && objects.exists() {
            fs::remove_dir_all(&objects).map_err(failed)?;
        }
        let opened = match open(&objects) {
            Ok(opened) => opened,
            Err(fjall::Error::Io(source)) => return Err(failed(source)),
            Err(error) => return Err(self.damaged(error.to_string())),
        };
        if !complete {
            self.mark_complete().map_err(failed)?;
        }
        Ok(opened)
    }

    fn is_complete(&self) -> Result<bool, OpenError> {
        match fs::read_to_string(self.path.join("format")) {
            Ok(format) if format == FORMAT => Ok(true),
            Ok(other) => Err(self.damaged(format!(
                "its format is {:?}, and this version reads {:?}",
                other.trim(),
                FORMAT.trim()
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(OpenError::Directory { directory: self.path.clone(), source }),
        }
    }

    /// Writes `format` in one step: a crash leaves none or all of it.
    fn mark_complete(&self) -> io::Result<()> {
        let unfinished = self.path.join("format.new");
        let mut file = File::create(&unfinished)?;
        file.write_all(FORMAT.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path.join("format"))?;
        File::open(&self.path)?.sync_all()
    }

    fn damaged(&self, detail: String) -> OpenError {
        OpenError::Damaged { directory: self.path.clone(), detail }
    }
}

impl Drop for Directory {
    /// Takes the pid out, so that nobody is told of a process that has long left, and unlocks. To close
    /// the file is not enough: a process that is just being forked has it open too.
    fn drop(&mut self) {
        let left = self.owner.set_len(0).and_then(|()| self.owner.unlock());
        if let Err(error) = left {
            tracing::debug!(directory = %self.path.display(), %error, "the lock was left to its file");
        }
    }
}

/// Creates `path` with its parents, so that a power cut does not take the new directories away.
fn create_synced(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_synced(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let holder = parent.map_or_else(|| Path::new(".").to_owned(), Path::to_owned);
    File::open(holder)?.sync_all()
}
