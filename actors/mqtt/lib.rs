//! The words of MQTT 3.1.1 and 5.0: Control Packets and their wire format, Topic Names and Filters,
//! Reason Codes, and the Session as a pure machine. Nothing here opens, spawns, logs or asks the time:
//! bytes, events and `now` come in, packets and actions go out.
//!
//! So it serves anything that speaks MQTT, without the broker that it was made for, with any runtime or none.
//!
//! # Packets
//!
//! [`codec::decode`] takes whole packets off the front of a buffer and waits where one is cut off; [`codec::encode`]
//! appends them. Both versions have the same types: in 3.1.1 the [`Properties`] are empty. Strings, properties and
//! payloads are slices of what was read.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use mqtt::codec::{DecodeLimits, decode, encode};
//! use mqtt::packet::Publish;
//! use mqtt::{Packet, PacketId, Properties, Property, ProtocolVersion, QoS, TopicName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let packet = Packet::Publish(Publish {
//!     dup: false,
//!     qos: QoS::AtLeastOnce,
//!     retain: false,
//!     topic_name: Some(TopicName::new("plant/1/temperature")?),
//!     packet_id: PacketId::new(7),
//!     properties: Properties::default().with(Property::MessageExpiryInterval(60)),
//!     payload: Bytes::from_static(b"21.5"),
//! });
//! let mut buffer = BytesMut::new();
//! encode(&packet, ProtocolVersion::V5, &mut buffer)?;
//!
//! // Bytes come as they like: half of a packet is not one.
//! let rest = buffer.split_off(10);
//! let limits = DecodeLimits { packet_bytes_max: 1024, ..DecodeLimits::default() };
//! assert_eq!(decode(&mut buffer, ProtocolVersion::V5, &limits)?, None);
//! buffer.extend_from_slice(&rest);
//! assert_eq!(decode(&mut buffer, ProtocolVersion::V5, &limits)?, Some(packet));
//! # Ok(())
//! # }
//! ```
//!
//! What no peer may send is a [`DecodeError`], which knows its Reason Code:
//!
//! ```
//! use bytes::BytesMut;
//! use mqtt::codec::{DecodeLimits, decode};
//! use mqtt::{ProtocolVersion, ReasonCode};
//!
//! // A PUBLISH at QoS 3.
//! let mut buffer = BytesMut::from(&[0x36, 5, 0, 1, b't', 0, 1][..]);
//! let error = decode(&mut buffer, ProtocolVersion::V5, &DecodeLimits::default()).unwrap_err();
//! assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
//! assert_eq!(error.to_string(), "malformed packet: the QoS is 3");
//! ```
//!
//! # Topics
//!
//! A [`TopicName`] and a [`TopicFilter`] are checked when they are made, and not again. [`topic::FilterTrie`] finds
//! all filters for a name at once.
//!
//! ```
//! use mqtt::{TopicFilter, TopicName};
//!
//! # fn main() -> Result<(), mqtt::topic::TopicError> {
//! let filter = TopicFilter::new("plant/+/temperature")?;
//! assert!(filter.matches(&TopicName::new("plant/1/temperature")?));
//! assert!(!filter.matches(&TopicName::new("plant/1/pressure")?));
//! assert!(TopicName::new("plant/#").is_err(), "nobody publishes to a wildcard");
//! # Ok(())
//! # }
//! ```
//!
//! # Sessions
//!
//! [`session`] has the halves of a Session for both sides: [`session::Outflow`] hands out Packet Identifiers and knows
//! what to send again, [`session::Inflow`] knows what came before. [`session::client`] is a whole client made of them:
//! give it the bytes of a server, and it answers with events and with bytes to write. `examples/client.rs` runs it
//! over a TCP stream.
//!
//! ```
//! use mqtt::QoS;
//! use mqtt::session::{Outflow, Resend};
//!
//! // At most two messages under way; the items are the caller's.
//! let mut outflow = Outflow::new(2);
//! let first = outflow.send(QoS::AtLeastOnce, "first").expect("there is room");
//! let second = outflow.send(QoS::ExactlyOnce, "second").expect("there is room");
//! assert_eq!(outflow.send(QoS::AtLeastOnce, "third"), None, "the window is full");
//! assert_eq!(outflow.puback(first), Ok("first"));
//!
//! // The connection breaks, the Session goes on: what is not acknowledged goes out again.
//! outflow.resume(2);
//! assert_eq!(outflow.next_resend(), Some(Resend::Publish(second, &"second")));
//! assert_eq!(outflow.next_resend(), None);
//! ```

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
