//! What `data/brokers.json` says: its JSON, and the way from there to a checked broker and back.

use openssl::base64;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::secret::{KeyDerivation, ROUNDS_ALLOWED, Vault};
use crate::BrokerChanges;
use crate::broker::{Broker, BrokerId, BrokerSource, Secret};

/// The only version of the file that is written, and that is read.
pub const VERSION: u32 = 1;

/// The file as JSON. What it may hold besides is refused with its name, so that a typing mistake shows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub version: u32,
    pub instance_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    pub brokers: Vec<Entry>,
}

/// Only the version, which decides how to read the rest.
#[derive(Deserialize)]
pub struct VersionOnly {
    pub version: Option<Value>,
}

/// How the key of the encrypted passwords is derived.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    cipher: String,
    key_derivation: String,
    rounds: u32,
    salt: String,
}

const CIPHER: &str = "aes-256-gcm";
const KEY_DERIVATION: &str = "pbkdf2-hmac-sha256";

/// One broker as JSON: the field names that users of the API know.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entry {
    id: Option<Uuid>,
    pub name: Option<String>,
    address: Option<String>,
    port: Option<u32>,
    client_id_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "password")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_encrypted: Option<String>,
    enabled: Option<bool>,
    use_tls: Option<bool>,
    insecure_skip_verify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_cert_path: Option<String>,
    version: Option<String>,
    keep_alive_secs: Option<u32>,
    clean_session: Option<bool>,
    topics: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_qos: Option<u32>,
    #[serde(deserialize_with = "text_or_number")]
    start_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_bytes_max: Option<u64>,
    on_full: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rate_messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rate_bytes: Option<u64>,
    live_first: Option<bool>,
    bidirectional: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_topics: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_qos: Option<u32>,
}

/// A password, or an error that does not show it, as serde's own would.
fn password<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::String(password)) => Ok(Some(password)),
        Some(_) => Err(serde::de::Error::custom("password must be a text in quotation marks")),
    }
}

/// A text, or a number as the text that it is written as.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(serde::de::Error::custom("start_at must be a text or a number")),
    }
}

impl Document {
    /// What a missing file means.
    pub fn empty() -> Document {
        Document { version: VERSION, instance_id: None, encryption: None, brokers: Vec::new() }
    }

    /// Whether nothing was left to be made up, as in a file that was written by hand.
    pub fn is_complete(&self) -> bool {
        self.instance_id.is_some() && self.brokers.iter().all(|entry| entry.id.is_some())
    }
}

impl Encryption {
    /// As the file shows it.
    pub fn of(derivation: &KeyDerivation) -> Encryption {
        Encryption {
            cipher: CIPHER.to_owned(),
            key_derivation: KEY_DERIVATION.to_owned(),
            rounds: derivation.rounds,
            salt: base64::encode_block(&derivation.salt),
        }
    }

    /// How to derive the key, or what is wrong here.
    pub fn derivation(&self) -> Result<KeyDerivation, String> {
        if self.cipher != CIPHER {
            return Err(format!("cipher {:?} is not known, only {CIPHER:?}", self.cipher));
        }
        if self.key_derivation != KEY_DERIVATION {
            return Err(format!(
                "key_derivation {:?} is not known, only {KEY_DERIVATION:?}",
                self.key_derivation
            ));
        }
        if !ROUNDS_ALLOWED.contains(&self.rounds) {
            let (least, most) = (ROUNDS_ALLOWED.start(), ROUNDS_ALLOWED.end());
            return Err(format!("rounds {} is not within {least} to {most}", self.rounds));
        }
        let salt = base64::decode_block(&self.salt).map_err(|_| "salt is not Base64".to_owned())?;
        Ok(KeyDerivation { salt, rounds: self.rounds })
    }
}

impl Entry {
    /// The broker as the file shows it, with its password encrypted where there is a vault.
    pub fn of(broker: &Broker, vault: Option<&Vault>) -> Result<Entry, String> {
        let tls = broker.tls.as_ref();
        let subscription = broker.subscription.as_ref();
        let backlog = &broker.backlog;
        let strings = |filters: &[mqtt::TopicFilter]| {
            filters.iter().map(|filter| filter.as_str().to_owned()).collect::<Vec<_>>()
        };
        let mut entry = Entry {
            id: Some(broker.id.0),
            name: Some(broker.name.clone()),
            address: Some(broker.address.clone()),
            port: Some(broker.port.into()),
            client_id_prefix: Some(broker.client_id_prefix.clone()),
            username: broker.username.clone(),
            password: None,
            password_encrypted: None,
            enabled: Some(broker.enabled),
            use_tls: Some(tls.is_some()),
            insecure_skip_verify: Some(tls.is_some_and(|tls| tls.insecure_skip_verify)),
            ca_cert_path: tls
                .and_then(|tls| tls.ca_cert_path.as_ref())
                .map(|path| path.to_string_lossy().into_owned()),
            version: Some(broker.version_text().to_owned()),
            keep_alive_secs: Some(broker.keep_alive_secs.into()),
            clean_session: Some(broker.clean_session),
            topics: Some(strings(&broker.rule.topics)),
            max_qos: broker.rule.max_qos.map(|qos| qos.as_u8().into()),
            start_at: Some(backlog.start_at.to_string()),
            queue_bytes_max: backlog.queue_bytes_max,
            on_full: Some(backlog.on_full.as_str().to_owned()),
            max_rate_messages: backlog.max_rate_messages.map(u64::from),
            max_rate_bytes: backlog.max_rate_bytes,
            live_first: Some(backlog.live_first),
            bidirectional: Some(subscription.is_some()),
            subscription_topics: subscription.map(|subscription| strings(&subscription.topics)),
            subscription_qos: subscription.map(|subscription| subscription.qos.as_u8().into()),
        };
        match (&broker.password, vault) {
            (None, _) => {}
            (Some(password), None) => entry.password = Some(password.reveal().to_owned()),
            (Some(password), Some(vault)) => {
                let sealed = vault.seal(password, broker.id);
                entry.password_encrypted =
                    Some(sealed.map_err(|error| format!("cannot encrypt a password: {error}"))?);
            }
        }
        Ok(entry)
    }

    /// The broker, or what is wrong with it.
    pub fn check(self, vault: Option<&Vault>) -> Result<Broker, String> {
        let id = BrokerId(self.id.unwrap_or_else(Uuid::new_v4));
        let password = match (self.password, self.password_encrypted, vault) {
            (Some(_), Some(_), _) => {
                return Err("password: there is a password_encrypted too; remove one".to_owned());
            }
            (Some(plain), None, _) => Some(Secret::new(plain)),
            (None, Some(sealed), Some(vault)) => Some(vault.open(&sealed, id).map_err(|_| {
                "password_encrypted: does not decrypt; set MQTT_PROXY_SECRET to the secret that it was stored with"
                    .to_owned()
            })?),
            (None, Some(_), None) => {
                return Err("password_encrypted: set MQTT_PROXY_SECRET to the secret that it was stored with"
                    .to_owned());
            }
            (None, None, _) => None,
        };
        let changes = BrokerChanges {
            name: self.name,
            address: self.address,
            port: self.port,
            client_id_prefix: self.client_id_prefix,
            username: Some(self.username),
            password: Some(password),
            enabled: self.enabled,
            version: self.version,
            keep_alive_secs: self.keep_alive_secs,
            clean_session: self.clean_session,
            use_tls: self.use_tls,
            insecure_skip_verify: self.insecure_skip_verify,
            ca_cert_path: Some(self.ca_cert_path),
            topics: self.topics,
            max_qos: Some(self.max_qos),
            start_at: Some(self.start_at),
            queue_bytes_max: Some(self.queue_bytes_max),
            on_full: Some(self.on_full),
            max_rate_messages: Some(self.max_rate_messages),
            max_rate_bytes: Some(self.max_rate_bytes),
            live_first: self.live_first,
            bidirectional: self.bidirectional,
            subscription_topics: self.subscription_topics,
            subscription_qos: self.subscription_qos,
        };
        changes.create(id, BrokerSource::Stored).map_err(|error| error.to_string())
    }
}
