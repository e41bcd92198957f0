//! Fields: TLS towards the broker.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::connection::shown;
use super::field::{Field, Kind, put};
use super::{FieldError, given};
use crate::broker::{Broker, KeySource, PemSource, Psk, Secret, TlsOptions, TlsVersion, is_reference};

/// The table.
pub const FIELDS: &[Field] = &[
    Field {
        name: "use_tls",
        kind: Kind::Boolean,
        set: |broker, value| {
            broker.tls = given::boolean(value)?.then(|| broker.tls.clone().unwrap_or_default());
            Ok(())
        },
        get: |broker| broker.tls.is_some().into(),
    },
    Field {
        name: "insecure_skip_verify",
        kind: Kind::Boolean,
        set: |broker, value| put(&mut tls(broker)?.insecure_skip_verify, given::boolean(value)?),
        get: |broker| broker.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify).into(),
    },
    Field {
        name: "ca_cert_path",
        kind: Kind::Text,
        set: |broker, value| set_path(&mut tls(broker)?.ca_cert, value),
        get: |broker| pem_path(broker, |tls| tls.ca_cert.as_ref()),
    },
    Field {
        name: "ca_cert_pem",
        kind: Kind::Text,
        set: |broker, value| set_inline(&mut tls(broker)?.ca_cert, value),
        get: |broker| pem_inline(broker, |tls| tls.ca_cert.as_ref()),
    },
    Field {
        name: "client_cert_path",
        kind: Kind::Text,
        set: |broker, value| set_path(&mut tls(broker)?.client_cert, value),
        get: |broker| pem_path(broker, |tls| tls.client_cert.as_ref()),
    },
    Field {
        name: "client_cert_pem",
        kind: Kind::Text,
        set: |broker, value| set_inline(&mut tls(broker)?.client_cert, value),
        get: |broker| pem_inline(broker, |tls| tls.client_cert.as_ref()),
    },
    Field { name: "client_key_path", kind: Kind::Text, set: set_key_path, get: key_path },
    Field {
        name: "client_key_pem",
        kind: Kind::Secret { has: "has_client_key" },
        set: set_key_inline,
        get: |broker| match broker.tls.as_ref().and_then(|tls| tls.client_key.as_ref()) {
            Some(KeySource::Inline(key)) => shown(Some(key)),
            _ => Value::Null,
        },
    },
    Field {
        name: "client_key_password",
        kind: Kind::Secret { has: "has_client_key_password" },
        set: |broker, value| {
            tls(broker)?.client_key_password = given::optional_text(value)?.map(Secret::new);
            Ok(())
        },
        get: |broker| shown(broker.tls.as_ref().and_then(|tls| tls.client_key_password.as_ref())),
    },
    Field {
        name: "tls_server_name",
        kind: Kind::Text,
        set: set_server_name,
        get: |broker| broker.tls.as_ref().and_then(|tls| tls.server_name.clone()).into(),
    },
    Field {
        name: "tls_alpn",
        kind: Kind::Texts,
        set: set_alpn,
        get: |broker| broker.tls.as_ref().map(|tls| tls.alpn.clone()).unwrap_or_default().into(),
    },
    Field {
        name: "tls_min_version",
        kind: Kind::TextOrNumber,
        set: |broker, value| {
            let text = given::text_or_number(value)?;
            let version = given::choice(text.into(), TlsVersion::parse, "\"1.2\" or \"1.3\"")?;
            tls(broker)?.min_version = version;
            Ok(())
        },
        get: |broker| broker.tls.as_ref().map_or(TlsVersion::V1_2, |tls| tls.min_version).as_str().into(),
    },
    Field {
        name: "tls_psk_identity",
        kind: Kind::Text,
        set: |broker, value| {
            let identity = given::optional_text(value)?;
            let psk = &mut tls(broker)?.psk;
            *psk = identity.map(|identity| match psk.take() {
                Some(psk) => Psk { identity, ..psk },
                None => Psk { identity, key: Secret::new("") },
            });
            Ok(())
        },
        get: |broker| psk(broker).map(|psk| psk.identity.clone()).into(),
    },
    Field {
        name: "tls_psk",
        kind: Kind::Secret { has: "has_tls_psk" },
        set: set_psk,
        get: |broker| shown(psk(broker).map(|psk| &psk.key).filter(|key| !key.reveal().is_empty())),
    },
];

/// What the fields do not show one by one.
pub fn check(tls: &TlsOptions) -> Result<(), FieldError> {
    if tls.client_cert.is_some() && tls.client_key.is_none() {
        return Err(FieldError::new(
            "client_key_path",
            "must be given with a client certificate (or client_key_pem)",
        ));
    }
    if tls.client_key.is_some() && tls.client_cert.is_none() {
        return Err(FieldError::new("client_cert_path", "must be given with a key (or client_cert_pem)"));
    }
    if tls.client_key_password.is_some() && tls.client_key.is_none() {
        return Err(FieldError::new("client_key_password", "has a meaning with a key only"));
    }
    match &tls.psk {
        Some(psk) if psk.key.reveal().is_empty() => {
            Err(FieldError::new("tls_psk", "must be given with tls_psk_identity"))
        }
        _ => Ok(()),
    }
}

fn tls(broker: &mut Broker) -> Result<&mut TlsOptions, String> {
    broker.tls.as_mut().ok_or_else(|| "has a meaning with use_tls only".to_owned())
}

fn psk(broker: &Broker) -> Option<&Psk> {
    broker.tls.as_ref().and_then(|tls| tls.psk.as_ref())
}

fn pem_path(broker: &Broker, of: fn(&TlsOptions) -> Option<&PemSource>) -> Value {
    match broker.tls.as_ref().and_then(of) {
        Some(PemSource::Path(path)) => path_text(path),
        _ => Value::Null,
    }
}

fn pem_inline(broker: &Broker, of: fn(&TlsOptions) -> Option<&PemSource>) -> Value {
    match broker.tls.as_ref().and_then(of) {
        Some(PemSource::Inline(pem)) => pem.clone().into(),
        _ => Value::Null,
    }
}

fn path_text(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

/// A path takes the place of PEM text; none at all leaves that alone.
fn set_path(source: &mut Option<PemSource>, value: Value) -> Result<(), String> {
    match given::optional_text(value)? {
        Some(path) => *source = Some(PemSource::Path(PathBuf::from(path))),
        None if matches!(source, Some(PemSource::Path(_))) => *source = None,
        None => {}
    }
    Ok(())
}

/// PEM text takes the place of a path; none at all leaves that alone.
fn set_inline(source: &mut Option<PemSource>, value: Value) -> Result<(), String> {
    match given::optional_text(value)? {
        Some(pem) => *source = Some(PemSource::Inline(checked_pem(pem)?)),
        None if matches!(source, Some(PemSource::Inline(_))) => *source = None,
        None => {}
    }
    Ok(())
}

fn checked_pem(pem: String) -> Result<String, String> {
    match pem.contains("-----BEGIN ") || is_reference(&pem) {
        true => Ok(pem),
        false => Err("must be PEM (with a line -----BEGIN ...-----), env:NAME or file:/path".to_owned()),
    }
}

fn key_path(broker: &Broker) -> Value {
    match broker.tls.as_ref().and_then(|tls| tls.client_key.as_ref()) {
        Some(KeySource::Path(path)) => path_text(path),
        _ => Value::Null,
    }
}

fn set_key_path(broker: &mut Broker, value: Value) -> Result<(), String> {
    let path = given::optional_text(value)?;
    let key = &mut tls(broker)?.client_key;
    match path {
        Some(path) => *key = Some(KeySource::Path(PathBuf::from(path))),
        None if matches!(key, Some(KeySource::Path(_))) => *key = None,
        None => {}
    }
    Ok(())
}

fn set_key_inline(broker: &mut Broker, value: Value) -> Result<(), String> {
    let pem = given::optional_text(value)?.map(checked_pem).transpose()?;
    let key = &mut tls(broker)?.client_key;
    match pem {
        Some(pem) => *key = Some(KeySource::Inline(Secret::new(pem))),
        None if matches!(key, Some(KeySource::Inline(_))) => *key = None,
        None => {}
    }
    Ok(())
}

fn set_server_name(broker: &mut Broker, value: Value) -> Result<(), String> {
    let name = given::optional_text(value)?;
    let is_odd = |name: &String| {
        name.len() > 253 || name.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c))
    };
    if name.as_ref().is_some_and(is_odd) {
        return Err("must be a host name".to_owned());
    }
    tls(broker)?.server_name = name;
    Ok(())
}

fn set_alpn(broker: &mut Broker, value: Value) -> Result<(), String> {
    let protocols = given::texts(value)?;
    // RFC 7301, section 3.1: each name has 1 to 255 bytes.
    if protocols.len() > 16 || protocols.iter().any(|name| name.is_empty() || name.len() > 255) {
        return Err("must be at most 16 names of 1 to 255 bytes".to_owned());
    }
    tls(broker)?.alpn = protocols;
    Ok(())
}

fn set_psk(broker: &mut Broker, value: Value) -> Result<(), String> {
    let Some(key) = given::optional_text(value)? else {
        // It goes with its identity.
        return Ok(());
    };
    let is_hex = key.len() % 2 == 0 && key.len() <= 1_024 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex && !is_reference(&key) {
        return Err("must be hexadecimal digits in pairs, env:NAME or file:/path".to_owned());
    }
    match &mut tls(broker)?.psk {
        Some(psk) => psk.key = Secret::new(key),
        None => return Err("has a meaning with tls_psk_identity only".to_owned()),
    }
    Ok(())
}
