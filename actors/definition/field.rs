//! One field of a definition: its name, how it is read from JSON into a broker, and how it is written.

use serde_json::Value;

use crate::broker::Broker;

/// One field of a definition.
pub struct Field {
    /// The name that users know.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Puts a value into a broker; the error says what is wrong and what is allowed, without the name.
    pub set: fn(&mut Broker, Value) -> Result<(), String>,
    /// The value that a broker has; `null` where it has none.
    pub get: fn(&Broker) -> Value,
}

/// What a field holds, for who reads it from a plain text and for who must not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A text, or a number as the text that it is written as.
    TextOrNumber,
    /// A whole number.
    Number,
    /// True or false.
    Boolean,
    /// A list of texts.
    Texts,
    /// A list or an object of JSON.
    Structure,
    /// A text that is never shown; `has` is the field that says whether there is one.
    Secret {
        /// The name of that field.
        has: &'static str,
    },
}

/// Puts a checked value in its place, as the last thing that a `set` does.
pub fn put<T>(place: &mut T, value: T) -> Result<(), String> {
    *place = value;
    Ok(())
}

impl Field {
    /// Whether the field is a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret { .. })
    }
}

impl PartialEq for Field {
    /// A table has each name once.
    fn eq(&self, other: &Field) -> bool {
        self.name == other.name
    }
}
