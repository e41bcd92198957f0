//! The actor that owns the definitions of the upstream brokers. A change is checked, then stored, then told to the
//! Router, and only then answered.

mod announcer;
mod document;
mod error;
mod file;
mod forwarding;
mod groups;
mod offline;
mod revisions;
mod secret;
mod validation;

pub use announcer::BrokersChanged;
pub use error::ConfigError;
pub use groups::{ListGroups, UpdateGroup};

use std::path::Path;

use actix::prelude::*;
use log::{info, warn};
use serde_json::Value;
use uuid::Uuid;

use self::announcer::Announcer;
use self::file::BrokersFile;
use self::forwarding::DrainWatch;
use self::groups::Configured;
use crate::broker::{Broker, BrokerId, BrokerSource, Secret, SharedBroker, is_reference};
use crate::broker_group::SharedGroup;
use crate::definition::{self, BrokerChanges, FieldError};
use crate::limits;
use crate::messages::{
    AddBroker, GetBroker, GetDrained, ListBrokers, RemoveBroker, ToggleBroker, UpdateBroker,
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
    /// What groups of brokers are told, where somebody said it.
    configured: Configured,
    /// Counts the changes since the start; the Router has to have heard of the last one.
    revision: u64,
    announcer: Announcer,
    drain_watch: DrainWatch,
    /// The longest packet that is accepted from a device.
    packet_bytes_max: usize,
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
        ConfigStore::open_seeded(data_dir, secret, command_line, None)
    }

    /// The same, and where the directory has no `brokers.json` yet it begins with the brokers of the file `seed`.
    ///
    /// # Errors
    /// As with [`ConfigStore::open`], and where the seed is needed and cannot be used.
    pub fn open_seeded(
        data_dir: &Path,
        secret: Option<Secret>,
        command_line: Vec<BrokerChanges>,
        seed: Option<&Path>,
    ) -> Result<ConfigStore, OpenError> {
        let (file, stored, configured) = BrokersFile::open(data_dir, secret, seed)?;
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
        groups::check_members(&brokers).map_err(|error| OpenError::new(format!("brokers: {error}")))?;
        let mut store = ConfigStore {
            file,
            brokers,
            configured,
            revision: 1,
            announcer: Announcer::default(),
            drain_watch: DrainWatch::default(),
            packet_bytes_max: 0,
            warned_of_clear_passwords: false,
        };
        store.warn_of_clear_passwords();
        Ok(store)
    }

    /// Who this installation is, for as long as its data directory lasts.
    pub fn instance_id(&self) -> Uuid {
        self.file.instance_id()
    }

    /// Names the Router, which is told about every change. Call it before the actor starts.
    pub fn set_router(&mut self, router: Recipient<BrokersChanged>) {
        self.announcer.set_router(router);
    }

    /// Names who knows how far drains are. Call it before the actor starts.
    pub fn set_drain_watch(&mut self, router: Recipient<GetDrained>) {
        self.drain_watch.set_router(router);
    }

    /// Says how long a packet of a device may be. Call it before the actor starts.
    pub fn set_packet_bytes_max(&mut self, packet_bytes_max: usize) {
        self.packet_bytes_max = packet_bytes_max;
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
        let mut broker = changes.apply(before).map_err(ConfigError::Field)?;
        if broker.paused || !broker.enabled {
            broker.draining = None;
        }
        if broker == **before {
            return Ok(before.clone());
        }
        self.check_name(&broker)?;
        let broker = SharedBroker::new(broker);
        let mut brokers = self.brokers.clone();
        brokers[index] = broker.clone();
        self.replace(brokers)?;
        info!("broker {:?} changed: {}:{}", broker.name, broker.address, broker.port);
        Ok(self.brokers[index].clone())
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
        let broker =
            SharedBroker::new(Broker { enabled: !before.enabled, draining: None, ..Broker::clone(before) });
        let mut brokers = self.brokers.clone();
        brokers[index] = broker.clone();
        self.replace(brokers)?;
        info!("broker {:?} {}", broker.name, if broker.enabled { "enabled" } else { "disabled" });
        Ok(self.brokers[index].clone())
    }

    fn check_name(&self, broker: &Broker) -> Result<(), ConfigError> {
        if has_name(&self.brokers, &broker.name, Some(broker.id)) {
            return Err(ConfigError::NameInUse(broker.name.clone()));
        }
        Ok(())
    }

    /// Stores the brokers, and only then holds them in memory.
    fn replace(&mut self, mut brokers: Vec<SharedBroker>) -> Result<(), ConfigError> {
        groups::check_members(&brokers).map_err(ConfigError::Field)?;
        // What waits for a member is the group's from now on.
        for broker in brokers.iter_mut().filter(|it| it.group.is_some() && it.draining.is_some()) {
            SharedBroker::make_mut(broker).draining = None;
        }
        self.count_on(&mut brokers);
        let configured = groups::with_members(&self.configured, &brokers);
        self.file.write(&brokers, &configured).map_err(|problem| {
            warn!("brokers not stored: {problem}");
            ConfigError::Storage(problem)
        })?;
        (self.brokers, self.configured) = (brokers, configured);
        self.revision += 1;
        self.warn_of_clear_passwords();
        Ok(())
    }

    fn warn_of_clear_passwords(&mut self) {
        let is_clear = |secret: Value| secret.as_str().is_some_and(|text| !is_reference(text));
        let clear = |broker: &SharedBroker| {
            let mut secrets = definition::fields().filter(|field| field.is_secret());
            broker.source == BrokerSource::Stored && secrets.any(|field| is_clear((field.get)(broker)))
        };
        if !self.warned_of_clear_passwords && !self.file.encrypts() && self.brokers.iter().any(clear) {
            self.warned_of_clear_passwords = true;
            warn!("secrets of brokers are stored in the clear; set MQTT_PROXY_SECRET to encrypt them");
        }
    }

    /// What the Router has to know now.
    fn current(&self) -> BrokersChanged {
        BrokersChanged { revision: self.revision, brokers: self.brokers.clone(), groups: self.groups() }
    }
}

impl Actor for ConfigStore {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        self.announce(ctx);
        self.watch_drains(ctx);
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

impl Handler<ListGroups> for ConfigStore {
    type Result = MessageResult<ListGroups>;

    fn handle(&mut self, _: ListGroups, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.groups())
    }
}

impl Handler<UpdateGroup> for ConfigStore {
    type Result = ResponseFuture<Result<SharedGroup, ConfigError>>;

    fn handle(&mut self, update: UpdateGroup, ctx: &mut Self::Context) -> Self::Result {
        let outcome = self.update_group(&update.name, update.fields);
        self.answer_when_told(outcome, ctx)
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
        let name = changes.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
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
