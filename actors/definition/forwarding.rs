//! Fields: what goes to the broker, and how it looks there.

use mqtt::{QoS, TopicFilter};
use serde_json::{Map, Value, json};

use super::field::{Field, Kind, put};
use super::{FieldError, given};
use crate::broker::{ForwardRule, RetainPolicy};
use crate::limits;
use crate::topic_mapping::{RewriteRule, check_prefix};

/// The table.
pub const FIELDS: &[Field] = &[
    Field {
        name: "topics",
        kind: Kind::Texts,
        set: |broker, value| put(&mut broker.rule.topics, filters(value)?),
        get: |broker| filter_texts(&broker.rule.topics),
    },
    Field {
        name: "exclude_topics",
        kind: Kind::Texts,
        set: |broker, value| put(&mut broker.rule.exclude, filters(value)?),
        get: |broker| filter_texts(&broker.rule.exclude),
    },
    Field {
        name: "topic_prefix_strip",
        kind: Kind::Text,
        set: |broker, value| put(&mut broker.rule.mapping.strip, prefix(given::optional_text(value)?)?),
        get: |broker| broker.rule.mapping.strip.clone().into(),
    },
    Field {
        name: "topic_prefix_add",
        kind: Kind::Text,
        set: |broker, value| put(&mut broker.rule.mapping.add, prefix(given::optional_text(value)?)?),
        get: |broker| broker.rule.mapping.add.clone().into(),
    },
    Field {
        name: "rewrite",
        kind: Kind::Structure,
        set: |broker, value| put(&mut broker.rule.mapping.rewrite, rules(value)?),
        get: |broker| rules_shown(&broker.rule.mapping.rewrite),
    },
    Field {
        name: "max_qos",
        kind: Kind::Number,
        set: |broker, value| {
            broker.rule.max_qos = if value.is_null() { None } else { Some(qos(value)?) };
            Ok(())
        },
        get: |broker| broker.rule.max_qos.map(QoS::as_u8).into(),
    },
    Field {
        name: "retain",
        kind: Kind::Text,
        set: |broker, value| put(&mut broker.rule.retain, retain(value)?),
        get: |broker| broker.rule.retain.as_str().into(),
    },
    Field {
        name: "user_properties",
        kind: Kind::Structure,
        set: |broker, value| put(&mut broker.rule.user_properties, properties(value)?),
        get: |broker| properties_shown(&broker.rule.user_properties),
    },
    Field {
        name: "max_payload_bytes",
        kind: Kind::Number,
        set: |broker, value| put(&mut broker.rule.max_payload_bytes, payload_bytes(value)?),
        get: |broker| broker.rule.max_payload_bytes.into(),
    },
];

/// What the fields do not show one by one.
pub fn check(rule: &ForwardRule) -> Result<(), FieldError> {
    rule.mapping.check().map_err(|problem| FieldError::new("rewrite", problem))
}

/// A prefix of topics.
pub fn prefix(text: Option<String>) -> Result<Option<String>, String> {
    text.as_deref().map_or(Ok(()), check_prefix)?;
    Ok(text)
}

/// Checks the Topic Filters of a field, which are not those of a shared subscription.
///
/// # Errors
/// Names the field and the filter.
pub fn parse_filters(field: &'static str, topics: &[String]) -> Result<Vec<TopicFilter>, FieldError> {
    checked_filters(topics).map_err(|problem| FieldError::new(field, problem))
}

fn checked_filters(topics: &[String]) -> Result<Vec<TopicFilter>, String> {
    if topics.len() > limits::BROKER_TOPICS_MAX {
        return Err(format!("{} filters, at most {}", topics.len(), limits::BROKER_TOPICS_MAX));
    }
    let parse = |topic: &String| match TopicFilter::new(topic.as_str()) {
        Ok(filter) if filter.shared().is_some() => {
            Err(format!("{topic:?}: a shared subscription has no meaning here"))
        }
        Ok(filter) => Ok(filter),
        Err(error) => Err(format!("{topic:?}: {error}")),
    };
    topics.iter().map(parse).collect()
}

/// A list of Topic Filters.
pub fn filters(value: Value) -> Result<Vec<TopicFilter>, String> {
    checked_filters(&given::texts(value)?)
}

/// Filters as they are shown.
pub fn filter_texts(filters: &[TopicFilter]) -> Value {
    filters.iter().map(|filter| Value::from(filter.as_str())).collect()
}

/// 0, 1 or 2.
pub fn qos(value: Value) -> Result<QoS, String> {
    let level = given::number(value, 0..=u64::MAX)?;
    let qos = u8::try_from(level).ok().and_then(QoS::from_u8);
    qos.ok_or_else(|| format!("{level} is not 0, 1 or 2"))
}

/// What becomes of RETAIN.
pub fn retain(value: Value) -> Result<RetainPolicy, String> {
    given::choice(value, RetainPolicy::parse, "\"keep\", \"clear\" or \"set\"")
}

/// The longest payload.
pub fn payload_bytes(value: Value) -> Result<Option<u32>, String> {
    Ok(given::optional_number(value, 1..=u32::MAX.into())?.map(|bytes| bytes as u32))
}

/// A list of `{"from": filter, "to": topic}`.
pub fn rules(value: Value) -> Result<Vec<RewriteRule>, String> {
    let items = given::list(value)?;
    if items.len() > limits::BROKER_REWRITE_RULES_MAX {
        return Err(format!("{} rules, at most {}", items.len(), limits::BROKER_REWRITE_RULES_MAX));
    }
    let numbered = items.into_iter().enumerate();
    numbered
        .map(|(index, item)| rule(item).map_err(|problem| format!("rule {}: {problem}", index + 1)))
        .collect()
}

fn rule(item: Value) -> Result<RewriteRule, String> {
    let mut object = given::object(item)?;
    let mut part = |name: &str| match object.remove(name) {
        Some(value) => given::text(value).map_err(|problem| format!("{name}: {problem}")),
        None => Err(format!("{name}: must be given")),
    };
    let (from, to) = (part("from")?, part("to")?);
    match object.keys().next() {
        Some(unknown) => Err(format!("{unknown}: is not a field of a rule, which knows from and to")),
        None => RewriteRule::parse(&from, &to),
    }
}

/// Rules as they are shown.
pub fn rules_shown(rules: &[RewriteRule]) -> Value {
    rules.iter().map(|rule| json!({"from": rule.from().as_str(), "to": rule.to()})).collect()
}

/// An object of texts.
pub fn properties(value: Value) -> Result<Vec<(String, String)>, String> {
    let object = given::object(value)?;
    if object.len() > limits::BROKER_USER_PROPERTIES_MAX {
        return Err(format!("{} properties, at most {}", object.len(), limits::BROKER_USER_PROPERTIES_MAX));
    }
    let fits = |text: &str| text.len() <= usize::from(u16::MAX) && !text.contains('\0');
    let pair = |(name, value): (String, Value)| {
        let text = given::text(value).map_err(|problem| format!("{name:?}: {problem}"))?;
        match fits(&name) && fits(&text) {
            true => Ok((name, text)),
            false => Err(format!("{name:?}: must have at most 65,535 bytes without U+0000")),
        }
    };
    object.into_iter().map(pair).collect()
}

/// Properties as they are shown.
pub fn properties_shown(properties: &[(String, String)]) -> Value {
    let object: Map<_, _> =
        properties.iter().map(|(name, text)| (name.clone(), text.clone().into())).collect();
    object.into()
}
