//! Opens and closes everything that is kept on disk under the data directory: the log's files, and the store that follows
//! them. (`brokers.json` belongs to the ConfigStore.)

use std::path::Path;
use std::sync::Arc;

use crate::Metrics;
use crate::message_log::segment::RealDisk;
use crate::message_log::{Alarm, DiskLog, DiskOptions, MessageLog, OpenFiles};
use crate::store::keeper::{self, Keeper};
use crate::store::{StateStore, StoredState};

/// The name of the store's file in the data directory.
const STATE_FILE: &str = "state.redb";

/// What is kept on disk, and the threads that keep it.
pub struct Storage {
    disk: DiskLog,
    keeper: Keeper,
}

impl Storage {
    /// Opens the files, mends what a crash left torn, and brings the store up to the end of the log. Answers also with
    /// the state of before. The directory must be locked.
    ///
    /// # Errors
    /// One line that names the file and says what to do.
    pub fn open(
        data_dir: &Path,
        options: DiskOptions,
        metrics: &Arc<Metrics>,
    ) -> Result<(Storage, StoredState), String> {
        let files = OpenFiles::open(options, Arc::new(RealDisk))?;
        let path = data_dir.join(STATE_FILE);
        let mut store = StateStore::open(&path).map_err(|error| error.to_string())?;
        keeper::catch_up(&mut store, files.files())?;
        let stored = store.load().map_err(|error| error.to_string())?;
        let written = Arc::new(Alarm::default());
        let disk = files.run(stored.highest_offset, written.clone(), metrics);
        let keeper = Keeper::start(path, store, disk.log().clone(), written);
        Ok((Storage { disk, keeper }, stored))
    }

    /// The log.
    pub fn log(&self) -> &Arc<MessageLog> {
        self.disk.log()
    }

    /// Brings everything to the disk and ends the threads. Waits for the disk, so it has no place among actors.
    pub fn close(self) {
        self.disk.close();
        self.keeper.close();
    }
}
