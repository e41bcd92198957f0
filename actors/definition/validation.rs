//! All that is wrong with a definition at once, for who corrects it.

use serde_json::Value;

use super::{ALTERNATIVES, BrokerChanges, CHECKS, FieldError, blank, fields};
use crate::broker::{Broker, BrokerId, BrokerSource};

impl BrokerChanges {
    /// As [`BrokerChanges::create`], with every field that is wrong.
    ///
    /// # Errors
    /// Each wrong field once.
    pub fn check_all_new(self, id: BrokerId, source: BrokerSource) -> Result<Broker, Vec<FieldError>> {
        let missing = ["name", "address"].into_iter().filter(|name| self.get(name).is_none());
        let mut errors: Vec<_> = missing.map(|name| FieldError::new(name, "must be given")).collect();
        self.collect_errors(&Broker { source, ..blank(id) }, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        self.create(id, source).map_err(|error| vec![error])
    }

    /// As [`BrokerChanges::apply`], with every field that is wrong.
    ///
    /// # Errors
    /// Each wrong field once.
    pub fn check_all(self, base: &Broker) -> Result<Broker, Vec<FieldError>> {
        let mut errors = Vec::new();
        self.collect_errors(base, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        self.apply(base).map_err(|error| vec![error])
    }

    fn collect_errors(&self, base: &Broker, errors: &mut Vec<FieldError>) {
        let mut broker = base.clone();
        let blank = blank(base.id);
        for field in fields() {
            let Some(value) = self.get(field.name) else { continue };
            let value = if value.is_null() { (field.get)(&blank) } else { value.clone() };
            if (field.get)(&broker) != value
                && let Err(problem) = (field.set)(&mut broker, value)
            {
                errors.push(FieldError::new(field.name, problem));
            }
        }
        let is_given = |name| self.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        for (one, other) in ALTERNATIVES.into_iter().filter(|(one, other)| is_given(one) && is_given(other)) {
            errors.push(FieldError::new(other, format!("{one} is given too; give one of them")));
        }
        for error in CHECKS.iter().filter_map(|check| check(&mut broker).err()) {
            if !errors.iter().any(|other| other.field == error.field) {
                errors.push(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn errors(changes: BrokerChanges) -> Vec<String> {
        let checked = changes.check_all_new(BrokerId(Uuid::nil()), BrokerSource::Stored);
        checked.unwrap_err().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn every_wrong_field_is_named_once() {
        let wrong = BrokerChanges::new()
            .with("port", 70_000)
            .with("max_qos", 3)
            .with("topics", vec!["a/#/b"])
            .with("retry_floor_ms", 5_000)
            .with("retry_ceiling_ms", 1_000)
            .with("password", "p");
        let named = errors(wrong);
        for field in ["name", "address", "port", "max_qos", "topics", "retry_ceiling_ms"] {
            assert_eq!(named.iter().filter(|name| *name == field).count(), 1, "{field} in {named:?}");
        }
        assert_eq!(errors(BrokerChanges::new()), ["name", "address"]);
    }

    #[test]
    fn what_is_right_is_what_create_and_apply_make_of_it() {
        let id = BrokerId(Uuid::nil());
        let changes = BrokerChanges::new().with("name", "a").with("address", "h").with("use_tls", true);
        let created = changes.clone().create(id, BrokerSource::Stored).unwrap();
        assert_eq!(changes.check_all_new(id, BrokerSource::Stored).unwrap(), created);
        let changes = BrokerChanges::new().with("port", Value::Null).with("max_qos", 1);
        assert_eq!(changes.clone().check_all(&created).unwrap(), changes.apply(&created).unwrap());
    }
}
