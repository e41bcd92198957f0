//! A small file system in memory that can be filled up.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::run;

/// The file system, mounted. It goes when this does, so whoever uses it has to end before.
pub struct Tmpfs {
    directory: TempDir,
}

impl Tmpfs {
    /// Mounts one of this size; `None`, and a line that says so, where that is not allowed.
    pub fn mount(mebibytes: usize) -> Option<Tmpfs> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let size = format!("size={mebibytes}m");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path());
        let done = run("mount", &mut command);
        if done.code == Some(0) {
            return Some(Tmpfs { directory });
        }
        eprintln!("skipped: a tmpfs cannot be mounted here: {}", done.output.trim());
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all the room but `left` bytes.
    pub fn fill_up(&self, left: u64) {
        let mut file =
            OpenOptions::new().create(true).append(true).open(self.ballast()).expect("ballast can be made");
        let page = [0; 4_096];
        loop {
            match file.write_all(&page) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("ballast: {error}"),
            }
        }
        let length = file.metadata().expect("ballast has a length").len();
        file.set_len(length.saturating_sub(left)).expect("ballast can shrink");
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("there is ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let done = run("umount", Command::new("umount").arg("-l").arg(self.path()));
        if done.code != Some(0) {
            eprintln!("umount: {}", done.output.trim());
        }
    }
}
