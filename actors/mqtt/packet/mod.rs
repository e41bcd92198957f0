//! The Control Packets, one a file.

/// A Control Packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {}
