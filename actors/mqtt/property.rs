//! Properties of MQTT 5.0 (section 2.2.2), kept as the checked bytes of the wire.

use bytes::Bytes;

/// A checked block of properties in wire order, without its length prefix; empty for 3.1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    raw: Bytes,
}

impl Properties {
    /// The encoded properties without their length prefix.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }
}

/// One property with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {}
