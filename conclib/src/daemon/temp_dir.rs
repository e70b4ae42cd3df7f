//! A directory of one's own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A directory that nobody else can look into; removed when dropped.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

impl TempDir {
    /// Its name is chosen, but it does not exist yet: so that somebody can know what to remove
    /// before there is anything.
    pub(super) fn plan() -> Self {
        let name = format!("conclib-redis-{}", Uuid::new_v4().simple());
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn create(&self) -> io::Result<()> {
        // Fails if it exists, so nobody can have prepared it.
        DirBuilder::new().mode(0o700).create(&self.0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // It may not exist. A leftover is harmless: it is where such things are cleaned up.
        let _ = fs::remove_dir_all(&self.0);
    }
}
