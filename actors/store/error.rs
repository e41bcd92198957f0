//! Why the store cannot do its work, in one line for whoever runs the proxy.

use std::path::Path;

/// What a start without the file means.
const WITHOUT: &str = "move it away to start without the sessions and retained messages in it";

/// Why the store cannot do its work: one line that names the file and says what to do. After an error of a write
/// the store has to be opened anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(String);

impl StoreError {
    /// The file is of another version of mqtt-proxy.
    pub(super) fn of_schema(path: &Path, found: u64, known: u64) -> StoreError {
        let path = path.display();
        StoreError(format!(
            "{path} has schema version {found} and this mqtt-proxy knows {known}: start the mqtt-proxy that \
             wrote it, or {WITHOUT}"
        ))
    }

    /// What stands in the file cannot be what was written.
    pub(super) fn of_damage(path: &Path, reason: impl std::fmt::Display) -> StoreError {
        let path = path.display();
        StoreError(one_line(&format!("{path} is damaged or no state of mqtt-proxy ({reason}): {WITHOUT}")))
    }

    /// The file system said no.
    pub(super) fn of_file(path: &Path, error: &std::io::Error) -> StoreError {
        let path = path.display();
        StoreError(one_line(&format!(
            "cannot use {path}: {error}; see to the disk and to the rights of the file"
        )))
    }

    /// What redb says.
    pub(super) fn of_database(path: &Path, error: &redb::Error) -> StoreError {
        match error {
            redb::Error::DatabaseAlreadyOpen => {
                let path = path.display();
                StoreError(format!("cannot use {path}: another process has it open; stop that one first"))
            }
            redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
                StoreError::of_file(path, error)
            }
            redb::Error::PreviousIo => {
                let path = path.display();
                StoreError(format!("cannot use {path} after an earlier error of the disk; start again"))
            }
            error => StoreError::of_damage(path, error),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
