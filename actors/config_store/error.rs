//! Why the ConfigStore did not do what it was asked.

use crate::BrokerId;
use crate::broker_changes::FieldError;

/// Why the ConfigStore did not do what it was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A field of the definition is wrong.
    Field(FieldError),
    /// No broker has this identity.
    NotFound(BrokerId),
    /// Another broker has this name.
    NameInUse(String),
    /// The broker was given on the command line and cannot be changed here.
    ReadOnly(String),
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
            ConfigError::NameInUse(name) => write!(formatter, "name: {name:?} is in use by another broker"),
            ConfigError::ReadOnly(name) => {
                write!(formatter, "broker {name:?} was given by --upstream and cannot be changed here")
            }
            ConfigError::TooMany(max) => {
                write!(formatter, "there are {max} brokers already, the most there may be")
            }
            ConfigError::Storage(problem) => write!(formatter, "the brokers could not be stored: {problem}"),
        }
    }
}

impl std::error::Error for ConfigError {}
