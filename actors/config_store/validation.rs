//! A dry run: what adding or changing a broker would come to.

use actix::prelude::*;
use uuid::Uuid;

use super::{ConfigError, ConfigStore, has_name};
use crate::broker::{BrokerId, BrokerSource};
use crate::definition::{BrokerChanges, FieldError, warnings};
use crate::limits;
use crate::messages::{ValidateBroker, Validation};

impl ConfigStore {
    fn validate(&self, id: Option<BrokerId>, changes: BrokerChanges) -> Result<Validation, ConfigError> {
        let before = match id {
            Some(id) => Some(&*self.brokers[self.position_to_change(id)?]),
            None => None,
        };
        let name = changes.get("name").and_then(|name| name.as_str()).map(str::trim).map(str::to_owned);
        let is_taken = name.as_ref().is_some_and(|name| has_name(&self.brokers, name, id));
        let checked = match before {
            Some(before) => changes.check_all(before),
            None => changes.check_all_new(BrokerId(Uuid::new_v4()), BrokerSource::Stored),
        };
        let (broker, mut errors) = match checked {
            Ok(broker) => (Some(broker), Vec::new()),
            Err(errors) => (None, errors),
        };
        if let Some(name) = name.filter(|_| is_taken) {
            errors.push(FieldError::new("name", format!("{name:?} is in use by another broker")));
        }
        if before.is_none() && self.brokers.len() >= limits::BROKERS_MAX {
            errors.push(FieldError::new("", ConfigError::TooMany(limits::BROKERS_MAX).to_string()));
        }
        Ok(match broker {
            Some(broker) if errors.is_empty() => {
                let warnings = warnings::of(&broker, before, &self.brokers, self.packet_bytes_max);
                Validation::Valid { broker: broker.into(), warnings }
            }
            _ => Validation::Invalid(errors),
        })
    }
}

impl Handler<ValidateBroker> for ConfigStore {
    type Result = Result<Validation, ConfigError>;

    fn handle(&mut self, ValidateBroker(id, changes): ValidateBroker, _: &mut Context<Self>) -> Self::Result {
        self.validate(id, changes)
    }
}
