//! The versions of the protocol that one connection can speak.

/// The Protocol Version of a Network Connection. One vocabulary serves both: 3.1.1 simply has empty
/// properties and the Reason Codes that it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1, Protocol Level 4.
    #[default]
    V311 = 4,
    /// MQTT 5.0, Protocol Version 5.
    V5 = 5,
}

impl ProtocolVersion {
    /// The number that CONNECT carries: 4 or 5.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The version with this Protocol Level, or `None` where it is not one that is spoken here.
    pub const fn from_level(level: u8) -> Option<ProtocolVersion> {
        match level {
            4 => Some(ProtocolVersion::V311),
            5 => Some(ProtocolVersion::V5),
            _ => None,
        }
    }

    /// Set in the Protocol Level by a bridge of 3.1.1, so that the broker spares it its own messages; a convention of
    /// mosquitto, not of the standard.
    pub const BRIDGE: u8 = 0x80;

    /// The version with this Protocol Level and whether it is marked with [`ProtocolVersion::BRIDGE`], or `None` where it
    /// is not one that is spoken here. 5.0 has no such mark.
    pub const fn from_connect(level: u8) -> Option<(ProtocolVersion, bool)> {
        const OF_A_BRIDGE: u8 = ProtocolVersion::V311.level() | ProtocolVersion::BRIDGE;
        match level {
            OF_A_BRIDGE => Some((ProtocolVersion::V311, true)),
            level => match ProtocolVersion::from_level(level) {
                Some(version) => Some((version, false)),
                None => None,
            },
        }
    }

    /// Whether packets of this version carry properties and Reason Codes.
    pub const fn is_v5(self) -> bool {
        matches!(self, ProtocolVersion::V5)
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            ProtocolVersion::V311 => "3.1.1",
            ProtocolVersion::V5 => "5.0",
        })
    }
}
