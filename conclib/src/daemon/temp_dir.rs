//! A private temporary directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::random::Uuid;

/// A directory that only this user can read; removed when dropped.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

impl TempDir {
    /// Chooses its name without creating it, so that its removal can be arranged before.
    pub(super) fn plan() -> Self {
        let name = format!("conclib-redis-{}", Uuid::random().text().as_str());
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn create(&self) -> io::Result<()> {
        // Fails if it exists, so that another user cannot have prepared it.
        DirBuilder::new().mode(0o700).create(&self.0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // It may not exist. A leftover is harmless in a directory that the system cleans up.
        let _ = fs::remove_dir_all(&self.0);
    }
}
