//! Fields: who the broker is, where, and as whom we come to it.

use mqtt::ProtocolVersion;
use serde_json::Value;

use super::field::{Field, Kind, put};
use super::{FieldError, given};
use crate::broker::{Broker, Profile, Secret, Transport};
use crate::limits;

/// The path of a WebSocket, where none is given.
const WEB_SOCKET_PATH: &str = "/mqtt";

/// What is wrong with an address that is none.
const NO_ADDRESS: &str = "must be a host name or an IP address";

/// The table.
pub const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Text, set: set_name, get: |broker| broker.name.clone().into() },
    Field {
        name: "address",
        kind: Kind::Text,
        set: set_address,
        get: |broker| broker.address.clone().into(),
    },
    Field {
        name: "port",
        kind: Kind::Number,
        set: |broker, value| put(&mut broker.port, given::number(value, 1..=65_535)? as u16),
        get: |broker| broker.port.into(),
    },
    Field {
        name: "version",
        kind: Kind::TextOrNumber,
        set: |broker, value| put(&mut broker.version, parse_version(&given::text_or_number(value)?)?),
        get: |broker| broker.version_text().into(),
    },
    Field { name: "transport", kind: Kind::Text, set: set_transport, get: |broker| transport(broker).into() },
    Field { name: "ws_path", kind: Kind::Text, set: set_ws_path, get: ws_path },
    Field {
        name: "profile",
        kind: Kind::Text,
        set: |broker, value| {
            broker.profile = match given::optional_text(value)? {
                None => None,
                Some(text) => Some(given::choice(
                    text.into(),
                    Profile::parse,
                    "\"aws_iot\", \"azure_event_grid\" or \"hivemq_cloud\"",
                )?),
            };
            Ok(())
        },
        get: |broker| broker.profile.map(Profile::as_str).into(),
    },
    Field {
        name: "client_id_prefix",
        kind: Kind::Text,
        set: |broker, value| {
            let prefix = given::text(value)?;
            if prefix.is_empty() || prefix.len() > 128 || prefix.chars().any(char::is_control) {
                return Err("must have 1 to 128 bytes without control characters".to_owned());
            }
            broker.client_id_prefix = prefix;
            Ok(())
        },
        get: |broker| broker.client_id_prefix.clone().into(),
    },
    Field {
        name: "fixed_client_id",
        kind: Kind::Text,
        set: |broker, value| {
            let client_id = given::optional_text(value)?;
            if client_id.as_ref().is_some_and(|id| id.len() > 65_535 || id.chars().any(char::is_control)) {
                return Err("must have 1 to 65,535 bytes without control characters".to_owned());
            }
            broker.fixed_client_id = client_id;
            Ok(())
        },
        get: |broker| broker.fixed_client_id.clone().into(),
    },
    Field {
        name: "username",
        kind: Kind::Text,
        set: |broker, value| put(&mut broker.username, credential(value)?),
        get: |broker| broker.username.clone().into(),
    },
    Field {
        name: "password",
        kind: Kind::Secret { has: "has_password" },
        set: |broker, value| put(&mut broker.password, credential(value)?.map(Secret::new)),
        get: |broker| shown(broker.password.as_ref()),
    },
    Field {
        name: "enabled",
        kind: Kind::Boolean,
        set: |broker, value| put(&mut broker.enabled, given::boolean(value)?),
        get: |broker| broker.enabled.into(),
    },
    Field {
        name: "paused",
        kind: Kind::Boolean,
        set: |broker, value| put(&mut broker.paused, given::boolean(value)?),
        get: |broker| broker.paused.into(),
    },
    Field {
        name: "keep_alive_secs",
        kind: Kind::Number,
        set: |broker, value| put(&mut broker.keep_alive_secs, given::number(value, 0..=65_535)? as u16),
        get: |broker| broker.keep_alive_secs.into(),
    },
    Field {
        name: "clean_session",
        kind: Kind::Boolean,
        set: |broker, value| put(&mut broker.clean_session, given::boolean(value)?),
        get: |broker| broker.clean_session.into(),
    },
];

/// A secret as a table's `get` answers with it.
pub fn shown(secret: Option<&Secret>) -> Value {
    secret.map(Secret::reveal).into()
}

fn set_name(broker: &mut Broker, value: Value) -> Result<(), String> {
    let name = given::text(value)?;
    let name = name.trim();
    if name.is_empty() || name.chars().count() > limits::BROKER_NAME_CHARS_MAX {
        return Err(no_name());
    }
    if name.chars().any(char::is_control) {
        return Err("must not have control characters".to_owned());
    }
    broker.name = name.to_owned();
    Ok(())
}

fn no_name() -> String {
    format!("must have 1 to {} characters", limits::BROKER_NAME_CHARS_MAX)
}

/// What every broker must have.
pub fn check(broker: &Broker) -> Result<(), FieldError> {
    if broker.name.is_empty() {
        return Err(FieldError::new("name", no_name()));
    }
    if broker.address.is_empty() {
        return Err(FieldError::new("address", NO_ADDRESS));
    }
    if broker.password.is_some() && broker.username.is_none() && !broker.version.is_v5() {
        return Err(FieldError::new("username", "must be given with a password in MQTT 3.1.1"));
    }
    Ok(())
}

fn set_address(broker: &mut Broker, value: Value) -> Result<(), String> {
    let address = given::text(value)?;
    let address = address.trim();
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare.is_empty() || bare.len() > 253 {
        return Err(NO_ADDRESS.to_owned());
    }
    if bare.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c)) {
        return Err(format!("{bare:?} is not a host name or an IP address (no scheme, path or user there)"));
    }
    broker.address = bare.to_owned();
    Ok(())
}

fn transport(broker: &Broker) -> &'static str {
    match broker.transport {
        Transport::Tcp => "tcp",
        Transport::WebSocket { .. } => "ws",
    }
}

fn set_transport(broker: &mut Broker, value: Value) -> Result<(), String> {
    broker.transport = match given::text(value)?.as_str() {
        "tcp" => Transport::Tcp,
        "ws" => Transport::WebSocket { path: WEB_SOCKET_PATH.to_owned() },
        other => return Err(format!("{other:?} is not \"tcp\" or \"ws\"")),
    };
    Ok(())
}

fn ws_path(broker: &Broker) -> Value {
    match &broker.transport {
        Transport::Tcp => WEB_SOCKET_PATH.into(),
        Transport::WebSocket { path } => path.clone().into(),
    }
}

fn set_ws_path(broker: &mut Broker, value: Value) -> Result<(), String> {
    let given = given::text(value)?;
    let Transport::WebSocket { path } = &mut broker.transport else {
        return Err("has a meaning with transport \"ws\" only".to_owned());
    };
    let is_path = given.starts_with('/') && given.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path || given.contains('#') || given.len() > 1_024 {
        return Err(format!("{given:?} is not a path such as /mqtt (percent-encoded, at most 1024 bytes)"));
    }
    *path = given;
    Ok(())
}

fn parse_version(version: &str) -> Result<ProtocolVersion, String> {
    match version.trim() {
        "3" | "4" | "311" | "3.1.1" => Ok(ProtocolVersion::V311),
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        other => Err(format!("{other:?} is not \"3.1.1\" or \"5\"")),
    }
}

fn credential(value: Value) -> Result<Option<String>, String> {
    // An empty password is one, in MQTT.
    let given = if value.is_null() { None } else { Some(given::text(value)?) };
    match given {
        Some(text) if text.len() > usize::from(u16::MAX) => {
            Err("must not be longer than 65,535 bytes".to_owned())
        }
        Some(text) if text.contains('\0') => Err("must not have U+0000".to_owned()),
        credential => Ok(credential),
    }
}
