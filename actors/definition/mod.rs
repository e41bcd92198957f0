//! The way to an upstream broker's definition: each field is described once, in a table, and whoever reads or writes
//! definitions (the REST API, `brokers.json`, `--upstream` URLs, the import) goes by it.

mod backlog;
mod connection;
mod field;
mod forwarding;
pub mod given;
mod pairs;
mod profile;
mod subscription;
mod supervision;
mod tls;
mod validation;
pub mod warnings;

use mqtt::ProtocolVersion;
use serde_json::Value;

use crate::broker::{
    Backlog, Broker, BrokerId, BrokerSource, ForwardRule, HealthOptions, LoopGuardChoice, Retry, Transport,
};

pub use field::{Field, Kind};
pub use forwarding::parse_filters;
pub use pairs::Pairs;

/// What is wrong with a definition: the field, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as users write it.
    pub field: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl FieldError {
    /// An error of a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> FieldError {
        FieldError { field: field.into(), problem: problem.into() }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for FieldError {}

/// All fields, in the order in which they are applied and shown.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    let tables = [
        connection::FIELDS,
        tls::FIELDS,
        forwarding::FIELDS,
        backlog::FIELDS,
        subscription::FIELDS,
        supervision::FIELDS,
    ];
    tables.into_iter().flatten()
}

/// The field with this name.
pub fn field(name: &str) -> Option<&'static Field> {
    fields().find(|field| field.name == name)
}

/// Unchecked changes to a definition, or a new one: what is not given stays as it is, or has its default.
#[derive(Clone, Default, PartialEq)]
pub struct BrokerChanges {
    given: Vec<(&'static Field, Value)>,
}

impl std::fmt::Debug for BrokerChanges {
    /// Names only: a value may be a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.given.iter().map(|(field, _)| field.name)).finish()
    }
}

impl BrokerChanges {
    /// No change.
    pub fn new() -> BrokerChanges {
        BrokerChanges::default()
    }

    /// Gives a field a value; `null` is the field's default.
    ///
    /// # Errors
    /// Where there is no such field, or it was given before. The value is looked at later.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), FieldError> {
        let field = field(name).ok_or_else(|| FieldError::new(name, "is not a field of a broker"))?;
        if self.get(name).is_some() {
            return Err(FieldError::new(name, "is given twice"));
        }
        self.given.push((field, value.into()));
        Ok(())
    }

    /// The same with a field more, in the place of an earlier value of it. For names that are known to be fields.
    ///
    /// # Panics
    /// Where there is no such field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> BrokerChanges {
        self.given.retain(|(field, _)| field.name != name);
        match self.set(name, value) {
            Ok(()) => self,
            Err(error) => panic!("{error}"),
        }
    }

    /// What a field was given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.given.iter().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    /// Of two ways to say the same, only one is used at a time.
    fn check_alternatives(&self) -> Result<(), FieldError> {
        let is_given = |name| self.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        match ALTERNATIVES.iter().find(|(one, other)| is_given(one) && is_given(other)) {
            Some((one, other)) => {
                Err(FieldError::new(*other, format!("{one} is given too; give one of them")))
            }
            None => Ok(()),
        }
    }

    /// A new broker from these changes and the defaults; `name` and `address` must be given.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn create(mut self, id: BrokerId, source: BrokerSource) -> Result<Broker, FieldError> {
        for name in ["name", "address"] {
            if self.get(name).is_none() {
                return Err(FieldError::new(name, "must be given"));
            }
        }
        let has_port = self.get("port").is_some_and(|port| !port.is_null());
        let mut base = Broker { source, ..blank(id) };
        self.begin_profile(&mut base);
        let mut broker = self.apply(&base)?;
        if !has_port {
            broker.port = broker.default_port();
        }
        profile::complete(&mut broker);
        Ok(broker)
    }

    /// The broker after these changes; `base` stays as it is where anything is wrong.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn apply(self, base: &Broker) -> Result<Broker, FieldError> {
        let mut broker = base.clone();
        let blank = blank(base.id);
        for field in fields() {
            let Some(value) = self.get(field.name) else { continue };
            let value = if value.is_null() { (field.get)(&blank) } else { value.clone() };
            // What is there already need not make sense by itself: what was read can be sent back.
            if (field.get)(&broker) != value {
                (field.set)(&mut broker, value).map_err(|problem| FieldError::new(field.name, problem))?;
            }
        }
        if self.get("port").is_some_and(Value::is_null) {
            broker.port = broker.default_port();
        }
        self.check_alternatives()?;
        check(&mut broker)?;
        Ok(broker)
    }
}

/// Two ways to say the same.
const ALTERNATIVES: [(&str, &str); 3] = [
    ("ca_cert_path", "ca_cert_pem"),
    ("client_cert_path", "client_cert_pem"),
    ("client_key_path", "client_key_pem"),
];

/// What has its defaults everywhere, and no name and address yet.
fn blank(id: BrokerId) -> Broker {
    Broker {
        id,
        name: String::new(),
        address: String::new(),
        port: 1883,
        transport: Transport::Tcp,
        profile: None,
        client_id_prefix: "mqtt-proxy".to_owned(),
        fixed_client_id: None,
        username: None,
        password: None,
        enabled: true,
        paused: false,
        draining: None,
        version: ProtocolVersion::V311,
        keep_alive_secs: 30,
        clean_session: false,
        tls: None,
        rule: ForwardRule::default(),
        backlog: Backlog::default(),
        subscription: None,
        loop_guard: LoopGuardChoice::Auto,
        stamp_origin: None,
        retry: Retry::default(),
        group: None,
        health: HealthOptions::default(),
        source: BrokerSource::Stored,
        revision: 1,
    }
}

/// What no single field shows.
fn check(broker: &mut Broker) -> Result<(), FieldError> {
    CHECKS.iter().try_for_each(|check| check(broker))
}

/// One look at a definition as a whole.
type Check = fn(&mut Broker) -> Result<(), FieldError>;

/// All of them, in their order.
const CHECKS: [Check; 5] = [
    |broker| connection::check(broker),
    |broker| match broker.retry.ceiling < broker.retry.floor {
        true => Err(FieldError::new("retry_ceiling_ms", "must not be less than retry_floor_ms")),
        false => Ok(()),
    },
    |broker| broker.tls.as_ref().map_or(Ok(()), tls::check),
    |broker| forwarding::check(&broker.rule),
    |Broker { subscription, rule, .. }| {
        subscription.as_mut().map_or(Ok(()), |subscription| subscription::complete(subscription, rule))
    },
];

#[cfg(test)]
mod tests;
