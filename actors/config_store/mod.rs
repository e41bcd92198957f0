//! The actor that owns the definitions of the upstream brokers. A change is checked, then stored, then told to the
//! Router, and only then answered.

mod announcer;
mod document;
mod error;
mod file;
mod secret;

pub use error::ConfigError;

use std::path::Path;

use actix::prelude::*;
use log::{info, warn};
use uuid::Uuid;

use self::announcer::Announcer;
use self::file::BrokersFile;
use crate::broker::{Broker, BrokerId, BrokerSource, Secret, SharedBroker};
use crate::broker_changes::{BrokerChanges, FieldError};
use crate::limits;
use crate::messages::{
    AddBroker, BrokersChanged, GetBroker, ListBrokers, RemoveBroker, ToggleBroker, UpdateBroker,
};

/// Why the store could not be opened, in one line. Nothing was overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError(String);

impl OpenError {
    fn new(line: impl Into<String>) -> OpenError {
        OpenError(line.into())
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for OpenError {}

/// Owns the definitions of the upstream brokers. Start it on an Arbiter of its own: it writes files.
pub struct ConfigStore {
    file: BrokersFile,
    /// Those of the command line, then the stored ones in the order in which they were added.
    brokers: Vec<SharedBroker>,
    /// Counts the changes since the start; the Router has to have heard of the last one.
    revision: u64,
    announcer: Announcer,
    /// Whether it was said that passwords are in the clear.
    warned_of_clear_passwords: bool,
}

impl ConfigStore {
    /// Opens the store in `data_dir`, which is made where it is missing, and adds the brokers of the command line.
    /// With a secret passwords are stored encrypted, without one in the clear.
    ///
    /// # Errors
    /// Where the directory, its `brokers.json` or a broker of the command line cannot be used.
    pub fn open(
        data_dir: &Path,
        secret: Option<Secret>,
        command_line: Vec<BrokerChanges>,
    ) -> Result<ConfigStore, OpenError> {
        let (file, stored) = BrokersFile::open(data_dir, secret)?;
        let mut brokers = check_command_line(command_line, file.instance_id())?;
        if let Some(double) = stored.iter().find(|broker| has_name(&brokers, &broker.name, None)) {
            return Err(OpenError::new(format!(
                "--upstream: name: {:?} is in use by a stored broker; add ?name=... to the URL",
                double.name
            )));
        }
        brokers.extend(stored);
        if brokers.len() > limits::BROKERS_MAX {
            let (count, max) = (brokers.len(), limits::BROKERS_MAX);
            return Err(OpenError::new(format!("{count} brokers, at most {max}")));
        }
        let mut store = ConfigStore {
            file,
            brokers,
            revision: 1,
            announcer: Announcer::default(),
            warned_of_clear_passwords: false,
        };
        store.warn_of_clear_passwords();
        Ok(store)
    }

    /// Names the Router, which is told about every change. Call it before the actor starts.
    pub fn set_router(&mut self, router: Recipient<BrokersChanged>) {
        self.announcer.set_router(router);
    }

    /// All brokers: those of the command line first, then the stored ones in the order in which they were added.
    pub fn brokers(&self) -> &[SharedBroker] {
        &self.brokers
    }

    fn position(&self, id: BrokerId) -> Result<usize, ConfigError> {
        self.brokers.iter().position(|broker| broker.id == id).ok_or(ConfigError::NotFound(id))
    }

    /// The place of a broker that may be changed here.
    fn position_to_change(&self, id: BrokerId) -> Result<usize, ConfigError> {
        let index = self.position(id)?;
        let broker = &self.brokers[index];
        match broker.source {
            BrokerSource::Stored => Ok(index),
            BrokerSource::CommandLine => Err(ConfigError::ReadOnly(broker.name.clone())),
        }
    }

    fn add(&mut self, changes: BrokerChanges) -> Result<SharedBroker, ConfigError> {
        if self.brokers.len() >= limits::BROKERS_MAX {
            return Err(ConfigError::TooMany(limits::BROKERS_MAX));
        }
        let id = BrokerId(Uuid::new_v4());
        let broker = changes.create(id, BrokerSource::Stored).map_err(ConfigError::Field)?;
        self.check_name(&broker)?;
        let broker = SharedBroker::new(broker);
        let mut brokers = self.brokers.clone();
        brokers.push(broker.clone());
        self.replace(brokers)?;
        info!("broker {:?} added: {}:{}", broker.name, broker.address, broker.port);
        Ok(broker)
    }

    fn update(&mut self, id: BrokerId, changes: BrokerChanges) -> Result<SharedBroker, ConfigError> {
        let index = self.position_to_change(id)?;
        let before = &self.brokers[index];
        let broker = changes.apply(before).map_err(ConfigError::Field)?;
        if broker == **before {
            return Ok(before.clone());
        }
        self.check_name(&broker)?;
        let broker = SharedBroker::new(broker);
        let mut brokers = self.brokers.clone();
        brokers[index] = broker.clone();
        self.replace(brokers)?;
        info!("broker {:?} changed: {}:{}", broker.name, broker.address, broker.port);
        Ok(broker)
    }

    fn remove(&mut self, id: BrokerId) -> Result<(), ConfigError> {
        let index = self.position_to_change(id)?;
        let mut brokers = self.brokers.clone();
        let removed = brokers.remove(index);
        self.replace(brokers)?;
        info!("broker {:?} removed", removed.name);
        Ok(())
    }

    fn toggle(&mut self, id: BrokerId) -> Result<SharedBroker, ConfigError> {
        let index = self.position_to_change(id)?;
        let before = &self.brokers[index];
        let broker = SharedBroker::new(Broker { enabled: !before.enabled, ..Broker::clone(before) });
        let mut brokers = self.brokers.clone();
        brokers[index] = broker.clone();
        self.replace(brokers)?;
        info!("broker {:?} {}", broker.name, if broker.enabled { "enabled" } else { "disabled" });
        Ok(broker)
    }

    fn check_name(&self, broker: &Broker) -> Result<(), ConfigError> {
        if has_name(&self.brokers, &broker.name, Some(broker.id)) {
            return Err(ConfigError::NameInUse(broker.name.clone()));
        }
        Ok(())
    }

    /// Stores the brokers, and only then holds them in memory.
    fn replace(&mut self, brokers: Vec<SharedBroker>) -> Result<(), ConfigError> {
        self.file.write(&brokers).map_err(|problem| {
            warn!("brokers not stored: {problem}");
            ConfigError::Storage(problem)
        })?;
        self.brokers = brokers;
        self.revision += 1;
        self.warn_of_clear_passwords();
        Ok(())
    }

    fn warn_of_clear_passwords(&mut self) {
        let clear =
            |broker: &SharedBroker| broker.source == BrokerSource::Stored && broker.password.is_some();
        if !self.warned_of_clear_passwords && !self.file.encrypts() && self.brokers.iter().any(clear) {
            self.warned_of_clear_passwords = true;
            warn!("passwords of brokers are stored in the clear; set MQTT_PROXY_SECRET to encrypt them");
        }
    }

    /// What the Router has to know now.
    fn current(&self) -> BrokersChanged {
        BrokersChanged { revision: self.revision, brokers: self.brokers.clone() }
    }
}

impl Actor for ConfigStore {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        self.announce(ctx);
    }
}

impl Handler<ListBrokers> for ConfigStore {
    type Result = MessageResult<ListBrokers>;

    fn handle(&mut self, _: ListBrokers, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.brokers.clone())
    }
}

impl Handler<GetBroker> for ConfigStore {
    type Result = MessageResult<GetBroker>;

    fn handle(&mut self, GetBroker(id): GetBroker, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.position(id).ok().map(|index| self.brokers[index].clone()))
    }
}

impl Handler<AddBroker> for ConfigStore {
    type Result = ResponseFuture<Result<SharedBroker, ConfigError>>;

    fn handle(&mut self, AddBroker(changes): AddBroker, ctx: &mut Self::Context) -> Self::Result {
        let outcome = self.add(changes);
        self.answer_when_told(outcome, ctx)
    }
}

impl Handler<UpdateBroker> for ConfigStore {
    type Result = ResponseFuture<Result<SharedBroker, ConfigError>>;

    fn handle(&mut self, UpdateBroker(id, changes): UpdateBroker, ctx: &mut Self::Context) -> Self::Result {
        let outcome = self.update(id, changes);
        self.answer_when_told(outcome, ctx)
    }
}

impl Handler<RemoveBroker> for ConfigStore {
    type Result = ResponseFuture<Result<(), ConfigError>>;

    fn handle(&mut self, RemoveBroker(id): RemoveBroker, ctx: &mut Self::Context) -> Self::Result {
        let outcome = self.remove(id);
        self.answer_when_told(outcome, ctx)
    }
}

impl Handler<ToggleBroker> for ConfigStore {
    type Result = ResponseFuture<Result<SharedBroker, ConfigError>>;

    fn handle(&mut self, ToggleBroker(id): ToggleBroker, ctx: &mut Self::Context) -> Self::Result {
        let outcome = self.toggle(id);
        self.answer_when_told(outcome, ctx)
    }
}

fn has_name(brokers: &[SharedBroker], name: &str, except: Option<BrokerId>) -> bool {
    brokers.iter().any(|broker| broker.name == name && Some(broker.id) != except)
}

/// The brokers of `--upstream`: the same name is the same broker at every start of this installation.
fn check_command_line(
    command_line: Vec<BrokerChanges>,
    instance_id: Uuid,
) -> Result<Vec<SharedBroker>, OpenError> {
    let mut brokers: Vec<SharedBroker> = Vec::with_capacity(command_line.len());
    for changes in command_line {
        let name = changes.name.clone().unwrap_or_default();
        let id = BrokerId(Uuid::new_v5(&instance_id, name.trim().as_bytes()));
        let wrong = |error: FieldError| OpenError::new(format!("--upstream {name:?}: {error}"));
        let broker = changes.create(id, BrokerSource::CommandLine).map_err(wrong)?;
        if has_name(&brokers, &broker.name, None) {
            return Err(OpenError::new(format!(
                "--upstream: two brokers have the name {:?}; add ?name=... to one URL",
                broker.name
            )));
        }
        brokers.push(broker.into());
    }
    Ok(brokers)
}

#[cfg(test)]
mod tests;
