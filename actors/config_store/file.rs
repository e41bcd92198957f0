//! `data/brokers.json` and the lock on its directory: reading with every mistake named, writing new-then-rename.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::OpenError;
use super::document::{Document, Encryption, Entry, Seed, VERSION, VersionOnly};
use super::groups::{self, Configured};
use super::secret::{KeyDerivation, Vault};
use crate::broker::{BrokerSource, Secret, SharedBroker};
use crate::limits;

const FILE_NAME: &str = "brokers.json";
const NEW_FILE_NAME: &str = "brokers.json.new";
const LOCK_NAME: &str = "lock";

/// The open file. Whoever holds it is the only one who uses its directory.
pub struct BrokersFile {
    path: PathBuf,
    instance_id: Uuid,
    vault: Option<Vault>,
    /// Held for its lock, which ends with it.
    _lock: File,
}

impl BrokersFile {
    /// Locks the directory, reads the brokers and makes the file where there is none yet, with the brokers of `seed`.
    pub fn open(
        data_dir: &Path,
        secret: Option<Secret>,
        seed: Option<&Path>,
    ) -> Result<(BrokersFile, Vec<SharedBroker>, Configured), OpenError> {
        let lock = lock_directory(data_dir)?;
        let path = data_dir.join(FILE_NAME);
        let document = read_document(&path)?;
        // A secret that was not there before seals what is stored at once, not with the next change.
        let is_sealed = |document: &Document| secret.is_none() || document.encryption.is_some();
        let is_settled =
            document.as_ref().is_some_and(|document| document.is_complete() && is_sealed(document));
        let is_new = document.is_none();
        let document = document.unwrap_or_else(Document::empty);
        let vault = open_vault(&path, document.encryption.as_ref(), secret.as_ref())?;
        let brokers = match seed.filter(|_| is_new) {
            None => check_brokers(&path, document.brokers, vault.as_ref())?,
            Some(seed) => check_brokers(seed, read_seed(seed)?.brokers, vault.as_ref())?,
        };
        let wrong = |problem| OpenError::new(format!("{}: groups: {problem}", path.display()));
        let configured = groups::from_json(document.groups).map_err(wrong)?;
        let instance_id = document.instance_id.unwrap_or_else(Uuid::new_v4);
        let file = BrokersFile { path, instance_id, vault, _lock: lock };
        if !is_settled {
            file.write(&brokers, &configured)
                .map_err(|problem| OpenError::new(format!("cannot write {problem}")))?;
        }
        Ok((file, brokers, configured))
    }

    /// What makes the identities of this installation's command-line brokers its own.
    pub fn instance_id(&self) -> Uuid {
        self.instance_id
    }

    /// Whether passwords are encrypted in the file.
    pub fn encrypts(&self) -> bool {
        self.vault.is_some()
    }

    /// Replaces the stored brokers and what groups are told; brokers of other sources are left out. After an error the old file still stands,
    /// unless only the flush of the directory failed, of which the error speaks too.
    pub fn write(&self, brokers: &[SharedBroker], configured: &Configured) -> Result<(), String> {
        let bytes = self.render(brokers, configured)?;
        let new_path = self.path.with_file_name(NEW_FILE_NAME);
        let outcome = write_new(&new_path, &bytes)
            .map_err(|error| format!("{}: {error}", new_path.display()))
            .and_then(|()| {
                fs::rename(&new_path, &self.path).map_err(|error| format!("{}: {error}", self.path.display()))
            });
        if outcome.is_err() {
            // What is left of it would be harmless; on a full disk it is in the way.
            let _ = fs::remove_file(&new_path);
            return outcome;
        }
        sync_directory_of(&self.path)
    }

    fn render(&self, brokers: &[SharedBroker], configured: &Configured) -> Result<Vec<u8>, String> {
        let stored = brokers.iter().filter(|broker| broker.source == BrokerSource::Stored);
        let entries: Result<Vec<Entry>, String> =
            stored.map(|broker| Entry::of(broker, self.vault.as_ref())).collect();
        let document = Document {
            version: VERSION,
            instance_id: Some(self.instance_id),
            encryption: self.vault.as_ref().map(|vault| Encryption::of(vault.derivation())),
            brokers: entries?,
            groups: groups::to_json(configured),
        };
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Makes the directory where it is missing and takes the lock that only one proxy can have.
fn lock_directory(data_dir: &Path) -> Result<File, OpenError> {
    let shown = data_dir.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|error| OpenError::new(format!("cannot make the data directory {shown}: {error}")))?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(data_dir.join(LOCK_NAME))
        .map_err(|error| OpenError::new(format!("cannot use the data directory {shown}: {error}")))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::new(format!("the data directory {shown} is in use by another proxy")))
        }
        Err(TryLockError::Error(error)) => {
            Err(OpenError::new(format!("cannot lock the data directory {shown}: {error}")))
        }
    }
}

/// The file's JSON, or `None` where there is no file.
fn read_document(path: &Path) -> Result<Option<Document>, OpenError> {
    let shown = path.display();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::new(format!("cannot read {shown}: {error}"))),
    };
    // serde_json's text ends with the line and the column.
    let not_json = |error: serde_json::Error| OpenError::new(format!("{shown}: {error}"));
    let VersionOnly { version } = serde_json::from_slice(&bytes).map_err(not_json)?;
    match version {
        None => {
            Err(OpenError::new(format!("{shown}: version is missing; this proxy reads version {VERSION}")))
        }
        Some(version) if version != VERSION => Err(OpenError::new(format!(
            "{shown}: version {version} is not known; this proxy reads version {VERSION}"
        ))),
        Some(_) => serde_json::from_slice(&bytes).map(Some).map_err(not_json),
    }
}

/// The brokers of a first start.
fn read_seed(path: &Path) -> Result<Seed, OpenError> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| OpenError::new(format!("cannot read {shown}: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| OpenError::new(format!("{shown}: {error}")))
}

fn open_vault(
    path: &Path,
    encryption: Option<&Encryption>,
    secret: Option<&Secret>,
) -> Result<Option<Vault>, OpenError> {
    let shown = path.display();
    let Some(secret) = secret else { return Ok(None) };
    let derivation = match encryption {
        Some(encryption) => encryption
            .derivation()
            .map_err(|problem| OpenError::new(format!("{shown}: encryption: {problem}")))?,
        None => KeyDerivation::generate()
            .map_err(|error| OpenError::new(format!("no random numbers from OpenSSL: {error}")))?,
    };
    let vault = Vault::new(secret, derivation)
        .map_err(|error| OpenError::new(format!("cannot derive a key from MQTT_PROXY_SECRET: {error}")))?;
    Ok(Some(vault))
}

fn check_brokers(
    path: &Path,
    entries: Vec<Entry>,
    vault: Option<&Vault>,
) -> Result<Vec<SharedBroker>, OpenError> {
    let shown = path.display();
    if entries.len() > limits::BROKERS_MAX {
        let (count, max) = (entries.len(), limits::BROKERS_MAX);
        return Err(OpenError::new(format!("{shown}: {count} brokers, at most {max}")));
    }
    let mut brokers: Vec<SharedBroker> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let label = entry.name().map_or(format!("number {}", index + 1), |name| format!("{name:?}"));
        let wrong = |problem: &str| OpenError::new(format!("{shown}: broker {label}: {problem}"));
        let broker = entry.check(vault).map_err(|problem| wrong(&problem))?;
        if brokers.iter().any(|other| other.name == broker.name) {
            return Err(wrong("name: another broker has it too"));
        }
        if brokers.iter().any(|other| other.id == broker.id) {
            return Err(wrong("id: another broker has it too"));
        }
        brokers.push(broker.into());
    }
    Ok(brokers)
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A torn one of an earlier write may be there, with another mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory_of(path: &Path) -> Result<(), String> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| {
        format!("{} was written, but its directory was not flushed: {error}", path.display())
    })
}
