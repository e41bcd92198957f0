//! The groups that brokers name in their definitions: there is one as long as it has a member, with defaults until
//! somebody configures it.

use actix::prelude::*;
use log::info;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{ConfigError, ConfigStore};
use crate::broker::{Broker, BrokerSource, SharedBroker};
use crate::broker_group::{BrokerGroup, GroupSettings, SharedGroup};
use crate::definition::{self, BrokerChanges, FieldError};

/// The groups that have members.
#[derive(Message)]
#[rtype(result = "Vec<SharedGroup>")]
pub struct ListGroups;

/// Changes what a group is told, and stores it.
#[derive(Message)]
#[rtype(result = "Result<SharedGroup, ConfigError>")]
pub struct UpdateGroup {
    /// The group's name.
    pub name: String,
    /// Fields of the group with their values; `topics` and `exclude_topics` are those of all its members.
    pub fields: Vec<(String, Value)>,
}

/// What somebody configured, by name.
pub type Configured = Vec<(String, GroupSettings)>;

/// Fields that all members have in common.
const SHARED: [&str; 2] = ["topics", "exclude_topics"];

/// The groups of these brokers, in the order of their first members.
pub fn groups_of(brokers: &[SharedBroker], configured: &Configured, instance_id: &Uuid) -> Vec<SharedGroup> {
    let mut groups: Vec<SharedGroup> = Vec::new();
    for name in brokers.iter().filter_map(|broker| broker.group.as_ref()).map(|group| &group.name) {
        if groups.iter().any(|group| group.name == *name) {
            continue;
        }
        let settings = configured.iter().find(|(of, _)| of == name);
        groups.push(SharedGroup::new(BrokerGroup {
            id: BrokerGroup::id_of(instance_id, name),
            name: name.clone(),
            settings: settings.map(|(_, settings)| settings.clone()).unwrap_or_default(),
        }));
    }
    groups
}

/// Whether the members of each group agree about what the group gets.
///
/// # Errors
/// Names the field in which the first broker differs from one before it.
pub fn check_members(brokers: &[SharedBroker]) -> Result<(), FieldError> {
    for (index, broker) in brokers.iter().enumerate() {
        let Some(group) = &broker.group else { continue };
        let is_fellow =
            |other: &&SharedBroker| other.group.as_ref().is_some_and(|other| other.name == group.name);
        let Some(fellow) = brokers[..index].iter().find(is_fellow) else { continue };
        let differs = |name: &&&str| {
            definition::field(name).is_some_and(|field| (field.get)(broker) != (field.get)(fellow))
        };
        if let Some(field) = SHARED.iter().find(differs) {
            let problem = format!(
                "must be the same as at broker {:?}, because both are in group {:?}; PUT /api/groups/{} changes it for \
                 all members",
                fellow.name, group.name, group.name
            );
            return Err(FieldError::new(*field, problem));
        }
    }
    Ok(())
}

/// A group is configured as long as it has members.
pub fn with_members(configured: &Configured, brokers: &[SharedBroker]) -> Configured {
    let has_members = |name: &str| {
        brokers.iter().any(|broker| broker.group.as_ref().is_some_and(|group| group.name == name))
    };
    configured.iter().filter(|(name, _)| has_members(name)).cloned().collect()
}

/// What the file says about the configured groups.
pub fn to_json(configured: &Configured) -> Vec<Value> {
    let entry = |(name, settings): &(String, GroupSettings)| {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), name.clone().into());
        entry.extend(settings.fields().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(entry)
    };
    configured.iter().map(entry).collect()
}

/// The configured groups of the file, or what is wrong there.
pub fn from_json(entries: Vec<Value>) -> Result<Configured, String> {
    let mut configured = Configured::new();
    for entry in entries {
        let mut fields = definition::given::object(entry)?;
        let name = fields.remove("name").ok_or("name: must be given")?;
        let name = definition::given::text(name).map_err(|problem| format!("name: {problem}"))?;
        if configured.iter().any(|(other, _)| *other == name) {
            return Err(format!("name: {name:?} is there twice"));
        }
        let mut settings = GroupSettings::default();
        for (field, value) in fields {
            settings.set(&field, value).map_err(|error| format!("{name:?}: {error}"))?;
        }
        configured.push((name, settings));
    }
    Ok(configured)
}

impl ConfigStore {
    /// The groups that have members.
    pub fn groups(&self) -> Vec<SharedGroup> {
        groups_of(&self.brokers, &self.configured, &self.file.instance_id())
    }

    /// Changes what a group is told; fields that all members have in common are changed at each of them.
    pub(super) fn update_group(
        &mut self,
        name: &str,
        fields: Vec<(String, Value)>,
    ) -> Result<SharedGroup, ConfigError> {
        let groups = self.groups();
        let group = groups.iter().find(|group| group.name == name);
        let group = group.ok_or_else(|| ConfigError::NoSuchGroup(name.to_owned()))?;
        let mut settings = group.settings.clone();
        let mut shared = BrokerChanges::new();
        let mut has_shared = false;
        for (field, value) in fields {
            if SHARED.contains(&field.as_str()) {
                shared.set(&field, value).map_err(ConfigError::Field)?;
                has_shared = true;
            } else {
                settings.set(&field, value).map_err(ConfigError::Field)?;
            }
        }
        let mut brokers = self.brokers.clone();
        let is_member =
            |broker: &Broker| has_shared && broker.group.as_ref().is_some_and(|group| group.name == name);
        for broker in brokers.iter_mut().filter(|broker| is_member(broker)) {
            let changed = shared.clone().apply(broker).map_err(ConfigError::Field)?;
            if broker.source == BrokerSource::CommandLine && changed != **broker {
                return Err(ConfigError::ReadOnly(broker.name.clone()));
            }
            *broker = changed.into();
        }
        let before = std::mem::take(&mut self.configured);
        self.configured = before.iter().filter(|(other, _)| other != name).cloned().collect();
        self.configured.push((name.to_owned(), settings));
        if let Err(error) = self.replace(brokers) {
            self.configured = before;
            return Err(error);
        }
        info!("group {name:?} changed");
        let groups = self.groups();
        let group = groups.into_iter().find(|group| group.name == name);
        group.ok_or_else(|| ConfigError::NoSuchGroup(name.to_owned()))
    }
}
