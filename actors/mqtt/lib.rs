//! The words of MQTT 3.1.1 and 5.0: Control Packets and their wire format, Topic Names and Filters,
//! Reason Codes, and the Session as a pure machine. Nothing here opens, spawns, logs or asks the time:
//! bytes, events and `now` come in, packets and actions go out.

pub mod client_id;
pub mod codec;
pub mod error;
pub mod fixed_header;
pub mod message;
pub mod packet;
pub mod packet_id;
pub mod property;
pub mod qos;
pub mod reason_code;
pub mod retained;
pub mod session;
pub mod topic;
pub mod version;
pub mod wire;

pub use client_id::ClientId;
pub use error::{DecodeError, EncodeError};
pub use message::Message;
pub use packet::Packet;
pub use packet_id::PacketId;
pub use property::{Properties, Property};
pub use qos::QoS;
pub use reason_code::ReasonCode;
pub use topic::{TopicFilter, TopicName};
pub use version::ProtocolVersion;
