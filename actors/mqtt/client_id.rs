//! Client Identifiers.

use bytestring::ByteString;

/// A Client Identifier: UTF-8 without U+0000, 1 to 65,535 bytes `[MQTT-3.1.3-5]`. An empty identifier in
/// CONNECT is a request for an assigned one and never becomes a `ClientId`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(ByteString);

impl ClientId {
    /// The identifier, or `None` where it is empty, too long or has a NUL character.
    pub fn new(identifier: impl Into<ByteString>) -> Option<ClientId> {
        let identifier = identifier.into();
        let fits = !identifier.is_empty() && identifier.len() <= usize::from(u16::MAX);
        (fits && !identifier.as_bytes().contains(&0)).then_some(ClientId(identifier))
    }

    /// The text of the identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier as it goes into CONNECT or the Assigned Client Identifier property.
    pub fn as_byte_string(&self) -> &ByteString {
        &self.0
    }
}

impl std::fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::fmt::Debug for ClientId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ClientId({:?})", &*self.0)
    }
}
