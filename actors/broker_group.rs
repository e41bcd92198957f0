//! A group of upstream brokers that receives each message once: which kind it is, and how it changes over.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::broker::BrokerId;
use crate::definition::{FieldError, given};

/// How the members share what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupMode {
    /// One member gets everything; the others stand in for it, in the order of their priorities.
    #[default]
    Failover,
    /// Topics are spread over the members; each member stands in for the others.
    Balance,
}

impl GroupMode {
    /// The mode as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            GroupMode::Failover => "failover",
            GroupMode::Balance => "balance",
        }
    }

    /// The mode that users write like this.
    pub fn parse(text: &str) -> Option<GroupMode> {
        match text {
            "failover" => Some(GroupMode::Failover),
            "balance" => Some(GroupMode::Balance),
            _ => None,
        }
    }
}

/// What a group is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// How the members share what comes.
    pub mode: GroupMode,
    /// How long a better member must have been up before it takes over again.
    pub fail_back: Duration,
    /// How long a member may be away before another one takes over; zero is at the first failure.
    pub fail_over_after: Duration,
    /// Into how many parts a balancing group cuts the topics. Each has a place of its own in the log.
    pub partitions: u16,
}

impl Default for GroupSettings {
    /// A group that nobody configured.
    fn default() -> GroupSettings {
        GroupSettings {
            mode: GroupMode::Failover,
            fail_back: Duration::from_secs(30),
            fail_over_after: Duration::ZERO,
            partitions: 8,
        }
    }
}

/// The most parts that topics are cut into.
const PARTITIONS_MAX: u64 = 64;

/// Nobody waits longer on purpose.
const DAY_SECS: u64 = 24 * 3_600;

/// Every field of the settings, in the order in which they are shown.
const FIELDS: [&str; 5] = ["mode", "fail_back_secs", "fail_over_after_secs", "balance_by", "partitions"];

impl GroupSettings {
    /// Gives a field a value; `null` is the field's default.
    ///
    /// # Errors
    /// Where there is no such field, or the value is not allowed there.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), FieldError> {
        let default = GroupSettings::default();
        let value = match value {
            Value::Null => default.get(name).unwrap_or_default(),
            value => value,
        };
        self.put(name, value).map_err(|problem| FieldError::new(name, problem))
    }

    fn put(&mut self, name: &str, value: Value) -> Result<(), String> {
        match name {
            "mode" => self.mode = given::choice(value, GroupMode::parse, "\"failover\" or \"balance\"")?,
            "fail_back_secs" => self.fail_back = Duration::from_secs(given::number(value, 0..=DAY_SECS)?),
            "fail_over_after_secs" => {
                self.fail_over_after = Duration::from_secs(given::number(value, 0..=DAY_SECS)?);
            }
            "partitions" => self.partitions = given::number(value, 1..=PARTITIONS_MAX)? as u16,
            // The log does not say which client published a message.
            "balance_by" => given::choice(value, |text| (text == "topic").then_some(()), "\"topic\"")?,
            _ => return Err("is not a field of a group".to_owned()),
        }
        Ok(())
    }

    /// The value of a field; `None` where there is no such field.
    pub fn get(&self, name: &str) -> Option<Value> {
        Some(match name {
            "mode" => self.mode.as_str().into(),
            "fail_back_secs" => self.fail_back.as_secs().into(),
            "fail_over_after_secs" => self.fail_over_after.as_secs().into(),
            "balance_by" => "topic".into(),
            "partitions" => self.partitions.into(),
            _ => return None,
        })
    }

    /// Every field with its value.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Value)> {
        FIELDS.into_iter().filter_map(|name| self.get(name).map(|value| (name, value)))
    }
}

/// A group that has members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerGroup {
    /// Its lasting identity: the same name is the same group at every start of this installation.
    pub id: BrokerId,
    /// What its members call it.
    pub name: String,
    /// What it is told.
    pub settings: GroupSettings,
}

/// A group as actors hand it around.
pub type SharedGroup = Arc<BrokerGroup>;

impl BrokerGroup {
    /// The identity of the group of this name.
    pub fn id_of(instance_id: &Uuid, name: &str) -> BrokerId {
        BrokerId(Uuid::new_v5(instance_id, format!("group/{name}").as_bytes()))
    }

    /// The identity of the place that one part of the topics has in the log.
    pub fn partition_id(&self, partition: u16) -> BrokerId {
        BrokerId(Uuid::new_v5(
            &self.id.0,
            format!("partition/{partition}/{}", self.settings.partitions).as_bytes(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_read_as_it_is_shown() {
        let mut settings = GroupSettings::default();
        for (name, value) in [
            ("mode", json!("balance")),
            ("fail_back_secs", json!(5)),
            ("fail_over_after_secs", json!(2)),
            ("partitions", json!(3)),
        ] {
            settings.set(name, value).unwrap();
        }
        let mut again = GroupSettings::default();
        for (name, value) in settings.fields() {
            again.set(name, value).unwrap();
        }
        assert_eq!(again, settings);
        for (name, _) in settings.clone().fields() {
            settings.set(name, Value::Null).unwrap();
        }
        assert_eq!(settings, GroupSettings::default());
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (name, value, expected) in [
            ("mode", json!("x"), "mode: \"x\" is not \"failover\" or \"balance\""),
            ("fail_back_secs", json!(-1), "fail_back_secs: -1 is not within 0 to 86400"),
            ("partitions", json!(65), "partitions: 65 is not within 1 to 64"),
            ("balance_by", json!("client"), "balance_by: \"client\" is not \"topic\""),
            ("colour", json!(1), "colour: is not a field of a group"),
        ] {
            assert_eq!(GroupSettings::default().set(name, value).unwrap_err().to_string(), expected);
        }
    }
}
