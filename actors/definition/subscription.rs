//! Fields: what a bidirectional broker is asked for, and what becomes of it here.

use mqtt::QoS;
use serde_json::Value;

use super::field::{Field, Kind, put};
use super::forwarding::{
    filter_texts, filters, payload_bytes, prefix, properties, properties_shown, qos, retain, rules,
    rules_shown,
};
use super::{FieldError, given};
use crate::broker::{Broker, ForwardRule, RetainPolicy, UpstreamSubscription};

/// The table.
pub const FIELDS: &[Field] = &[
    Field {
        name: "bidirectional",
        kind: Kind::Boolean,
        set: |broker, value| {
            let is_wanted = given::boolean(value)?;
            broker.subscription = is_wanted.then(|| broker.subscription.clone().unwrap_or_default());
            Ok(())
        },
        get: |broker| broker.subscription.is_some().into(),
    },
    Field {
        name: "subscription_topics",
        kind: Kind::Texts,
        set: set_topics,
        get: |broker| filter_texts(of(broker, |it| &it.topics[..]).unwrap_or_default()),
    },
    Field {
        name: "subscription_exclude_topics",
        kind: Kind::Texts,
        set: |broker, value| put(&mut wanted(broker)?.exclude, filters(value)?),
        get: |broker| filter_texts(of(broker, |it| &it.exclude[..]).unwrap_or_default()),
    },
    Field {
        name: "subscription_qos",
        kind: Kind::Number,
        set: set_qos,
        get: |broker| broker.subscription.as_ref().map(|it| it.qos.as_u8()).into(),
    },
    Field {
        name: "subscription_prefix_strip",
        kind: Kind::Text,
        set: |broker, value| put(&mut wanted(broker)?.given_mapping.strip, text_or_open(value)?),
        get: |broker| broker.subscription.as_ref().and_then(|it| it.given_mapping.strip.clone()).into(),
    },
    Field {
        name: "subscription_prefix_add",
        kind: Kind::Text,
        set: |broker, value| put(&mut wanted(broker)?.given_mapping.add, text_or_open(value)?),
        get: |broker| broker.subscription.as_ref().and_then(|it| it.given_mapping.add.clone()).into(),
    },
    Field {
        name: "subscription_rewrite",
        kind: Kind::Structure,
        set: |broker, value| {
            let rules = if value.is_null() { None } else { Some(rules(value)?) };
            wanted(broker)?.given_mapping.rewrite = rules;
            Ok(())
        },
        get: |broker| {
            let given = broker.subscription.as_ref().and_then(|it| it.given_mapping.rewrite.as_ref());
            given.map_or(Value::Null, |given| rules_shown(given))
        },
    },
    Field {
        name: "subscription_retain",
        kind: Kind::Text,
        set: |broker, value| put(&mut wanted(broker)?.retain, retain(value)?),
        get: |broker| of(broker, |it| &it.retain).copied().unwrap_or(RetainPolicy::Keep).as_str().into(),
    },
    Field {
        name: "subscription_user_properties",
        kind: Kind::Structure,
        set: |broker, value| put(&mut wanted(broker)?.user_properties, properties(value)?),
        get: |broker| properties_shown(of(broker, |it| &it.user_properties[..]).unwrap_or_default()),
    },
    Field {
        name: "subscription_max_payload_bytes",
        kind: Kind::Number,
        set: |broker, value| put(&mut wanted(broker)?.max_payload_bytes, payload_bytes(value)?),
        get: |broker| broker.subscription.as_ref().and_then(|it| it.max_payload_bytes).into(),
    },
];

/// Fills in what the definition leaves open, and checks what comes out.
pub fn complete(subscription: &mut UpstreamSubscription, rule: &ForwardRule) -> Result<(), FieldError> {
    let wrong = |problem| FieldError::new("subscription_rewrite", problem);
    subscription.mapping = subscription.given_mapping.complete(&rule.mapping).map_err(|problem| {
        wrong(format!(
            "must be given, because rewrite has no inverse ({problem}); [] leaves topics as they are"
        ))
    })?;
    subscription.mapping.check().map_err(wrong)
}

fn wanted(broker: &mut Broker) -> Result<&mut UpstreamSubscription, String> {
    broker.subscription.as_mut().ok_or_else(|| "has a meaning with bidirectional only".to_owned())
}

fn of<T: ?Sized>(broker: &Broker, part: fn(&UpstreamSubscription) -> &T) -> Option<&T> {
    broker.subscription.as_ref().map(part)
}

/// No filter at all means everything.
fn set_topics(broker: &mut Broker, value: Value) -> Result<(), String> {
    let topics = filters(value)?;
    let subscription = wanted(broker)?;
    subscription.topics = if topics.is_empty() { UpstreamSubscription::default().topics } else { topics };
    Ok(())
}

/// Without a subscription a QoS changes nothing, as users of other proxies send it.
fn set_qos(broker: &mut Broker, value: Value) -> Result<(), String> {
    let qos = if value.is_null() { QoS::AtLeastOnce } else { qos(value)? };
    if let Some(subscription) = &mut broker.subscription {
        subscription.qos = qos;
    }
    Ok(())
}

/// `null` leaves it open; the empty text is nothing.
fn text_or_open(value: Value) -> Result<Option<String>, String> {
    if value.is_null() { Ok(None) } else { prefix(Some(given::text(value)?)) }
}
