//! Why the ConfigStore did not do what it was asked.

use crate::BrokerId;
use crate::definition::FieldError;

/// Why the ConfigStore did not do what it was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A field of the definition is wrong.
    Field(FieldError),
    /// No broker has this identity.
    NotFound(BrokerId),
    /// No broker names this group.
    NoSuchGroup(String),
    /// Another broker has this name.
    NameInUse(String),
    /// The broker was given on the command line and cannot be changed here.
    ReadOnly(String),
    /// The broker is disabled, so nothing waits for it.
    Disabled(String),
    /// The broker is in a group, and what waits is the group's.
    InGroup(String),
    /// The broker is not what it was seen as; this is its revision.
    Changed(u64),
    /// There are as many brokers as there may be.
    TooMany(usize),
    /// The file could not be written; the text says why.
    Storage(String),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigError::Field(error) => error.fmt(formatter),
            ConfigError::NotFound(id) => write!(formatter, "no broker has the id {id}"),
            ConfigError::NoSuchGroup(name) => write!(formatter, "no broker is in a group {name:?}"),
            ConfigError::NameInUse(name) => write!(formatter, "name: {name:?} is in use by another broker"),
            ConfigError::ReadOnly(name) => {
                write!(formatter, "broker {name:?} was given by --upstream and cannot be changed here")
            }
            ConfigError::Disabled(name) => {
                write!(formatter, "broker {name:?} is disabled: nothing waits for it that could be drained")
            }
            ConfigError::InGroup(name) => write!(
                formatter,
                "broker {name:?} is in a group, which owns what waits: pause or remove it, and another member goes on"
            ),
            ConfigError::Changed(revision) => {
                write!(
                    formatter,
                    "the broker was changed meanwhile and has revision {revision}; read it again"
                )
            }
            ConfigError::TooMany(max) => {
                write!(formatter, "there are {max} brokers already, the most there may be")
            }
            ConfigError::Storage(problem) => write!(formatter, "the brokers could not be stored: {problem}"),
        }
    }
}

impl std::error::Error for ConfigError {}
