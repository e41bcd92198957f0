//! The environment variables that the proxy knows: the only place where the process environment is read.

use std::collections::BTreeMap;

use actors::broker::Secret;

use super::SettingsError;

/// `MQTT_PROXY__SECTION__KEY` sets a key of a section.
pub(super) const PREFIX: &str = "MQTT_PROXY__";
pub(super) const SECRET: &str = "MQTT_PROXY_SECRET";
pub(super) const RUST_LOG: &str = "RUST_LOG";
pub(super) const LOG_LEVEL: &str = "LOG_LEVEL";

/// A copy of the variables that concern the proxy.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Result<Environment, SettingsError> {
        let mut variables = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            if !name.starts_with(PREFIX) && ![SECRET, RUST_LOG, LOG_LEVEL].contains(&name.as_str()) {
                continue;
            }
            match value.into_string() {
                Ok(value) => drop(variables.insert(name, value)),
                Err(_) => problems.push(format!("environment variable {name}: must be UTF-8")),
            }
        }
        SettingsError::none_of(problems).map(|()| Environment { variables })
    }

    /// The value of `MQTT_PROXY_SECRET`; an empty one is none.
    pub(super) fn secret(&self) -> Option<&str> {
        self.filled(SECRET)
    }

    /// What secrets of brokers are encrypted with.
    pub fn broker_secret(&self) -> Option<Secret> {
        self.secret().map(Secret::new)
    }

    /// The value of `RUST_LOG`; an empty one is none.
    pub fn rust_log(&self) -> Option<&str> {
        self.filled(RUST_LOG)
    }

    /// The value of `LOG_LEVEL`; an empty one is none.
    pub fn log_level(&self) -> Option<&str> {
        self.filled(LOG_LEVEL)
    }

    /// The variables that set keys, by name.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.variables.iter().filter(|(name, _)| name.starts_with(PREFIX));
        variables.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn filled(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Environment {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Environment { variables: variables.into_iter().map(owned).collect() }
    }
}
