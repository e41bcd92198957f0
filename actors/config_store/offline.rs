//! Adding brokers to a data directory that no proxy uses at the moment.

use std::path::Path;

use uuid::Uuid;

use super::file::BrokersFile;
use super::{ConfigStore, OpenError, groups, has_name};
use crate::broker::{BrokerId, BrokerSource, Secret, SharedBroker};
use crate::definition::BrokerChanges;
use crate::limits;

impl ConfigStore {
    /// Adds brokers to `data_dir`, which is made where it is missing: all of them in one write, or none. The secret is
    /// that of the proxy which will use the directory.
    ///
    /// # Errors
    /// Where a proxy runs on the directory, its `brokers.json` cannot be read or written, a definition is wrong, or a
    /// name is in use.
    pub fn add_offline(
        data_dir: &Path,
        secret: Option<Secret>,
        added: Vec<BrokerChanges>,
    ) -> Result<Vec<SharedBroker>, OpenError> {
        let (file, mut brokers, groups) = BrokersFile::open(data_dir, secret, None)?;
        let before = brokers.len();
        for changes in added {
            let broker = changes
                .create(BrokerId(Uuid::new_v4()), BrokerSource::Stored)
                .map_err(|error| OpenError::new(error.to_string()))?;
            if has_name(&brokers, &broker.name, None) {
                let name = &broker.name;
                return Err(OpenError::new(format!("name: {name:?} is in use; nothing was added")));
            }
            brokers.push(broker.into());
        }
        if brokers.len() > limits::BROKERS_MAX {
            let (count, max) = (brokers.len(), limits::BROKERS_MAX);
            return Err(OpenError::new(format!("{count} brokers, at most {max}; nothing was added")));
        }
        let added = brokers[before..].to_vec();
        if !added.is_empty() {
            groups::check_members(&brokers).map_err(|error| OpenError::new(error.to_string()))?;
            let groups = groups::with_members(&groups, &brokers);
            file.write(&brokers, &groups)
                .map_err(|problem| OpenError::new(format!("cannot write {problem}")))?;
        }
        Ok(added)
    }
}
