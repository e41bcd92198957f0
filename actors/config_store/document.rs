//! What `data/brokers.json` says: its JSON, and the way from there to a checked broker and back.

use openssl::base64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::secret::{KeyDerivation, ROUNDS_ALLOWED, Vault};
use crate::BrokerChanges;
use crate::broker::{AfterDrain, Broker, BrokerId, BrokerSource, Draining, Secret, is_reference};
use crate::definition::{self, Field, Pairs};

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
    /// What groups are told; a file of before there were groups has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Value>,
}

/// What a new file begins with: definitions as the API takes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
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

/// One broker as JSON: the field names that users of the API know. A secret that is encrypted stands under its name with
/// `_encrypted` behind it.
#[derive(Default)]
pub struct Entry {
    fields: Vec<(String, Value)>,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        Pairs::deserialize(deserializer).map(|Pairs(fields)| Entry { fields })
    }
}

/// What stands behind the name of a secret that is encrypted.
const ENCRYPTED: &str = "_encrypted";

impl Document {
    /// What a missing file means.
    pub fn empty() -> Document {
        Document {
            version: VERSION,
            instance_id: None,
            encryption: None,
            brokers: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Whether nothing was left to be made up, as in a file that was written by hand.
    pub fn is_complete(&self) -> bool {
        self.instance_id.is_some() && self.brokers.iter().all(Entry::has_id)
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
    /// The broker as the file shows it, with its secrets encrypted where there is a vault.
    pub fn of(broker: &Broker, vault: Option<&Vault>) -> Result<Entry, String> {
        let mut entry = Entry { fields: vec![("id".to_owned(), broker.id.0.to_string().into())] };
        if broker.revision > 1 {
            entry.fields.push((REVISION.to_owned(), broker.revision.into()));
        }
        if let Some(draining) = &broker.draining {
            entry.fields.push((DRAINING.to_owned(), draining_shown(draining)));
        }
        for field in definition::fields() {
            match ((field.get)(broker), vault) {
                (Value::Null, _) => {}
                (Value::String(secret), Some(vault)) if field.is_secret() && !is_reference(&secret) => {
                    let sealed = vault.seal(&Secret::new(secret), &context(broker.id, field.name));
                    let sealed = sealed.map_err(|error| format!("cannot encrypt a secret: {error}"))?;
                    entry.fields.push((format!("{}{ENCRYPTED}", field.name), sealed.into()));
                }
                (value, _) => entry.fields.push((field.name.to_owned(), value)),
            }
        }
        Ok(entry)
    }

    /// Whether the identity is given.
    fn has_id(&self) -> bool {
        self.fields.iter().any(|(name, _)| name == "id")
    }

    /// The name, for messages about the entry.
    pub fn name(&self) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == "name").and_then(|(_, value)| value.as_str())
    }

    /// The broker, or what is wrong with it.
    pub fn check(self, vault: Option<&Vault>) -> Result<Broker, String> {
        let id = self.fields.iter().find(|(name, _)| name == "id");
        let id = BrokerId(match id {
            None => Uuid::new_v4(),
            Some((_, Value::String(text))) => text.parse().map_err(|error| format!("id: {error}"))?,
            Some(_) => return Err("id: must be a text".to_owned()),
        });
        let mut changes = BrokerChanges::new();
        let (mut draining, mut revision) = (None, 1);
        for (name, value) in self.fields.into_iter().filter(|(name, _)| name != "id") {
            if name == REVISION {
                let problem = || format!("{REVISION}: must be a whole number of 1 or more");
                revision = value.as_u64().filter(|revision| *revision > 0).ok_or_else(problem)?;
                continue;
            }
            if name == DRAINING {
                draining = Some(read_draining(&value)?);
                continue;
            }
            let (name, value) = match sealed_field(&name) {
                None => (name, value),
                Some(secret) if changes.get(secret).is_some() => {
                    return Err(format!("{secret}: there is a {name} too; remove one"));
                }
                Some(secret) => (secret.to_owned(), opened(secret, &name, &value, id, vault)?),
            };
            if changes.get(&name).is_some() && definition::field(&name).is_some_and(Field::is_secret) {
                return Err(format!("{name}: there is a {name}{ENCRYPTED} too; remove one"));
            }
            changes.set(&name, value).map_err(|error| error.to_string())?;
        }
        let broker = changes.create(id, BrokerSource::Stored).map_err(|error| error.to_string())?;
        Ok(Broker { draining, revision, ..broker })
    }
}

/// How often the broker was changed: no field of a definition either.
const REVISION: &str = "revision";

/// A drain that is under way: no field of a definition, since it is ordered and not defined.
const DRAINING: &str = "draining";

fn draining_shown(draining: &Draining) -> Value {
    json!({
        "to_offset": draining.to_offset,
        "deadline_micros": draining.deadline_micros,
        "then": draining.then.as_str(),
    })
}

fn read_draining(value: &Value) -> Result<Draining, String> {
    let offset = value["to_offset"].as_u64();
    let then = value["then"].as_str().and_then(AfterDrain::parse);
    match (offset, then) {
        (Some(to_offset), Some(then)) => {
            Ok(Draining { to_offset, then, deadline_micros: value["deadline_micros"].as_u64() })
        }
        _ => Err(format!("{DRAINING}: must have to_offset, deadline_micros and then")),
    }
}

/// The secret whose encrypted form has this name.
fn sealed_field(name: &str) -> Option<&str> {
    let secret = name.strip_suffix(ENCRYPTED)?;
    definition::field(secret).is_some_and(Field::is_secret).then_some(secret)
}

fn opened(
    secret: &str,
    name: &str,
    sealed: &Value,
    broker: BrokerId,
    vault: Option<&Vault>,
) -> Result<Value, String> {
    let hint = "set MQTT_PROXY_SECRET to the secret that it was stored with";
    let Some(vault) = vault else { return Err(format!("{name}: {hint}")) };
    let text = sealed.as_str().ok_or_else(|| format!("{name}: must be a text"))?;
    let opened = vault.open(text, &context(broker, secret));
    opened.map(|secret| secret.reveal().into()).map_err(|_| format!("{name}: does not decrypt; {hint}"))
}

/// What an encrypted secret belongs to, so that it opens in its own place only.
fn context(broker: BrokerId, field: &str) -> Vec<u8> {
    let mut context = broker.0.as_bytes().to_vec();
    // The first secret that there was is bound to its broker alone.
    if field != "password" {
        context.extend_from_slice(field.as_bytes());
    }
    context
}
