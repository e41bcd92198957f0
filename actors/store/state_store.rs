//! The state as the sum of the log, in one file. The log is what makes a change durable; the store follows it, so that
//! a start needs not read the whole log and the log need not be kept for ever.
//!
//! Every transaction is on disk when `apply` returns (two flushes): redb would forget all that it committed in any
//! other way if the process were killed, and the log may drop what the store has. redb's quick repair keeps the time to
//! open the file after a kill independent of its size.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use log::error;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use super::error::StoreError;
use super::group_draft::{GroupDraft, Known, News};
use super::stored::{self, StoredState};
use super::tables::{self, META_APPLIED, META_SCHEMA, SCHEMA, Tables};
use crate::message_log::Record;
use crate::store::SessionKey;

/// What redb may keep of the file in memory. The state is read once, at the start.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Records that changed nothing may pass without a transaction, as long as there are no more of them since the last one.
/// To look at them again after a crash takes some milliseconds.
const UNCOMMITTED_RECORDS_MAX: u64 = 65_536;

/// The materialised state of the log. Belongs to one thread, which waits for the disk.
pub struct StateStore {
    path: PathBuf,
    /// `None` once the store is being dropped.
    database: Option<Database>,
    known: Known,
    applied: u64,
    committed: u64,
}

impl StateStore {
    /// Opens the file, or makes it. It is refused if it is damaged, of another version or open elsewhere.
    pub fn open(path: &Path) -> Result<StateStore, StoreError> {
        if !path.try_exists().map_err(|error| StoreError::of_file(path, &error))? {
            make(path)?;
        }
        unless_damaged(path, || {
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .open(path)
                .map_err(|error| StoreError::of_database(path, &error.into()))?;
            let transaction = begin_read(path, &database)?;
            check_schema(path, &transaction)?;
            let of_database = |error| StoreError::of_database(path, &error);
            let known = read_known(&transaction).map_err(of_database)?;
            let applied = read_applied(&transaction).map_err(of_database)?;
            let database = Some(database);
            Ok(StateStore { path: path.to_owned(), database, known, applied, committed: applied })
        })
    }

    /// The offset of the next record to apply: what lies before is skipped.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// What [`StateStore::applied`] says if the process ends now and the store is opened again. The log is to keep
    /// all from here on.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Applies records, which come in the order of the log, in one transaction. `up_to` is the offset up to which the
    /// log has been looked at; records that are of no interest may be left out. After an error nothing of the group
    /// has been applied, and the store has to be opened anew before the records can be applied again.
    pub fn apply<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
        up_to: u64,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        unless_damaged(&path, || {
            let outcome = self.apply_group(records, up_to);
            outcome.map_err(|error| StoreError::of_database(&path, &error))
        })
    }

    fn apply_group<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
        up_to: u64,
    ) -> Result<(), redb::Error> {
        let transaction = begin_write(self.database())?;
        let mut tables = Tables::open(&transaction)?;
        let (news, looked_at) = self.write_group(records, &mut tables)?;
        let applied = self.applied.max(up_to).max(looked_at);
        if news.any || applied - self.committed >= UNCOMMITTED_RECORDS_MAX {
            tables.meta.insert(META_APPLIED, applied)?;
            drop(tables);
            transaction.commit()?;
            self.committed = applied;
        } else {
            drop(tables);
            transaction.abort()?;
        }
        self.known.learn(news);
        self.applied = applied;
        Ok(())
    }

    /// Brings [`StateStore::committed`] up to [`StateStore::applied`], so that the log need not keep what changed nothing.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        if self.committed == self.applied {
            return Ok(());
        }
        let path = self.path.clone();
        unless_damaged(&path, || {
            let commit = || -> Result<(), redb::Error> {
                let transaction = begin_write(self.database())?;
                let mut tables = Tables::open(&transaction)?;
                tables.meta.insert(META_APPLIED, self.applied)?;
                drop(tables);
                transaction.commit()?;
                Ok(())
            };
            commit().map_err(|error| StoreError::of_database(&path, &error))
        })?;
        self.committed = self.applied;
        Ok(())
    }

    /// Writes what the records come to. Returns also the offset behind the last of them.
    fn write_group<'a>(
        &self,
        records: impl IntoIterator<Item = Record<'a>>,
        tables: &mut Tables<'_>,
    ) -> Result<(News, u64), redb::Error> {
        let mut draft = GroupDraft::new(&self.known, self.applied);
        let mut looked_at = self.applied;
        for record in records {
            if record.offset >= looked_at {
                draft.add(&record, tables)?;
                looked_at = record.offset.saturating_add(1);
            }
        }
        Ok((draft.write(tables)?, looked_at))
    }

    /// All of the state, for those that it belongs to.
    pub fn load(&self) -> Result<StoredState, StoreError> {
        unless_damaged(&self.path, || {
            let transaction = begin_read(&self.path, self.database())?;
            stored::read(&transaction, self.applied, &self.known.upstreams)
                .map_err(|error| StoreError::of_database(&self.path, &error))
        })
    }
}

impl StateStore {
    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is taken only when the store is dropped")
    }
}

impl Drop for StateStore {
    /// Closes the file, which redb writes once more for. Damage that it meets then must not end the process.
    fn drop(&mut self) {
        let database = self.database.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            error!("{}", StoreError::of_damage(&self.path, "it could not be closed"));
        }
    }
}

/// Makes the file under another name, so that it is whole as soon as it is there.
fn make(path: &Path) -> Result<(), StoreError> {
    let mut new_path = path.as_os_str().to_owned();
    new_path.push(".new");
    let new_path = PathBuf::from(new_path);
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new_path);
    let file = file.map_err(|error| StoreError::of_file(&new_path, &error))?;
    fill(file).map_err(|error| StoreError::of_database(&new_path, &error))?;
    let named = fs::rename(&new_path, path).and_then(|()| sync_directory_of(path));
    named.map_err(|error| StoreError::of_file(path, &error))
}

fn fill(file: File) -> Result<(), redb::Error> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_file(file)?;
    let transaction = begin_write(&database)?;
    let mut tables = Tables::open(&transaction)?;
    tables.meta.insert(META_SCHEMA, SCHEMA)?;
    tables.meta.insert(META_APPLIED, 0)?;
    drop(tables);
    Ok(transaction.commit()?)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn begin_read(path: &Path, database: &Database) -> Result<ReadTransaction, StoreError> {
    database.begin_read().map_err(|error| StoreError::of_database(path, &error.into()))
}

/// redb does not expect every damage, and panics at some. That is an answer as well.
fn unless_damaged<T>(path: &Path, act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(StoreError::of_damage(path, "what stands in it makes no sense")))
}

fn check_schema(path: &Path, transaction: &ReadTransaction) -> Result<(), StoreError> {
    let meta = match transaction.open_table(tables::META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(StoreError::of_database(path, &error.into())),
        Err(error) => return Err(StoreError::of_damage(path, error)),
    };
    let found = meta.get(META_SCHEMA).map_err(|error| StoreError::of_database(path, &error.into()))?;
    match found.map(|found| found.value()) {
        Some(SCHEMA) => Ok(()),
        Some(other) => Err(StoreError::of_schema(path, other, SCHEMA)),
        None => Err(StoreError::of_damage(path, "it has no schema version")),
    }
}

fn read_applied(transaction: &ReadTransaction) -> Result<u64, redb::Error> {
    let applied = transaction.open_table(tables::META)?.get(META_APPLIED)?;
    applied.map(|applied| applied.value()).ok_or_else(|| tables::damaged("meta"))
}

fn read_known(transaction: &ReadTransaction) -> Result<Known, redb::Error> {
    let mut sessions = std::collections::HashSet::default();
    for row in transaction.open_table(tables::SESSIONS)?.iter()? {
        sessions.insert(SessionKey(row?.0.value()));
    }
    Ok(Known { sessions, upstreams: stored::read_upstreams(transaction)? })
}
