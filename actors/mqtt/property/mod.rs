//! Properties of MQTT 5.0 (section 2.2.2), kept as the checked bytes of the wire.

mod block;
mod builder;
mod check;
pub mod id;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use bytestring::ByteString;

use crate::wire::Reader;
use crate::{DecodeError, QoS};

pub use block::Properties;
pub use builder::PropertiesBuilder;
pub use id::{PropertyId, PropertyOwner};

/// One property with its value (MQTT 5.0 table 2-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// Whether the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// The lifetime of the message in seconds.
    MessageExpiryInterval(u32),
    /// What the payload is, in words of the application such as a MIME type.
    ContentType(ByteString),
    /// The Topic Name for the response.
    ResponseTopic(ByteString),
    /// What tells the requester which request is answered.
    CorrelationData(Bytes),
    /// The number that the client gave to a subscription, 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// How many seconds the Session outlives the Network Connection; 0xFFFFFFFF is for ever.
    SessionExpiryInterval(u32),
    /// The Client Identifier that the server chose.
    AssignedClientIdentifier(ByteString),
    /// The Keep Alive in seconds that the client must use instead of its own.
    ServerKeepAlive(u16),
    /// The name of the method of extended authentication.
    AuthenticationMethod(ByteString),
    /// The data of the method of extended authentication.
    AuthenticationData(Bytes),
    /// Whether the client wants Reason Strings and User Properties in failures.
    RequestProblemInformation(bool),
    /// How many seconds the Will waits.
    WillDelayInterval(u32),
    /// Whether the client wants Response Information in CONNACK.
    RequestResponseInformation(bool),
    /// The basis for Response Topics.
    ResponseInformation(ByteString),
    /// Another server to use.
    ServerReference(ByteString),
    /// The reason in words, for diagnosis.
    ReasonString(ByteString),
    /// How many QoS 1 and 2 PUBLISH may be in flight, 1 or more.
    ReceiveMaximum(u16),
    /// The highest Topic Alias that is accepted.
    TopicAliasMaximum(u16),
    /// The number that stands for the Topic Name on this Network Connection, 1 or more.
    TopicAlias(u16),
    /// The highest QoS that the server accepts, 0 or 1; no property says 2.
    MaximumQoS(QoS),
    /// Whether the server keeps retained messages.
    RetainAvailable(bool),
    /// A name and a value of the application.
    UserProperty(ByteString, ByteString),
    /// The longest packet that is accepted, in bytes, 1 or more.
    MaximumPacketSize(u32),
    /// Whether the server accepts wildcards in Topic Filters.
    WildcardSubscriptionAvailable(bool),
    /// Whether the server accepts Subscription Identifiers.
    SubscriptionIdentifiersAvailable(bool),
    /// Whether the server accepts Shared Subscriptions.
    SharedSubscriptionAvailable(bool),
}

impl Property {
    /// The identifier of the property.
    pub const fn id(&self) -> PropertyId {
        match self {
            Property::PayloadFormatIndicator(_) => PropertyId::PayloadFormatIndicator,
            Property::MessageExpiryInterval(_) => PropertyId::MessageExpiryInterval,
            Property::ContentType(_) => PropertyId::ContentType,
            Property::ResponseTopic(_) => PropertyId::ResponseTopic,
            Property::CorrelationData(_) => PropertyId::CorrelationData,
            Property::SubscriptionIdentifier(_) => PropertyId::SubscriptionIdentifier,
            Property::SessionExpiryInterval(_) => PropertyId::SessionExpiryInterval,
            Property::AssignedClientIdentifier(_) => PropertyId::AssignedClientIdentifier,
            Property::ServerKeepAlive(_) => PropertyId::ServerKeepAlive,
            Property::AuthenticationMethod(_) => PropertyId::AuthenticationMethod,
            Property::AuthenticationData(_) => PropertyId::AuthenticationData,
            Property::RequestProblemInformation(_) => PropertyId::RequestProblemInformation,
            Property::WillDelayInterval(_) => PropertyId::WillDelayInterval,
            Property::RequestResponseInformation(_) => PropertyId::RequestResponseInformation,
            Property::ResponseInformation(_) => PropertyId::ResponseInformation,
            Property::ServerReference(_) => PropertyId::ServerReference,
            Property::ReasonString(_) => PropertyId::ReasonString,
            Property::ReceiveMaximum(_) => PropertyId::ReceiveMaximum,
            Property::TopicAliasMaximum(_) => PropertyId::TopicAliasMaximum,
            Property::TopicAlias(_) => PropertyId::TopicAlias,
            Property::MaximumQoS(_) => PropertyId::MaximumQoS,
            Property::RetainAvailable(_) => PropertyId::RetainAvailable,
            Property::UserProperty(..) => PropertyId::UserProperty,
            Property::MaximumPacketSize(_) => PropertyId::MaximumPacketSize,
            Property::WildcardSubscriptionAvailable(_) => PropertyId::WildcardSubscriptionAvailable,
            Property::SubscriptionIdentifiersAvailable(_) => PropertyId::SubscriptionIdentifiersAvailable,
            Property::SharedSubscriptionAvailable(_) => PropertyId::SharedSubscriptionAvailable,
        }
    }

    /// Reads the value of a property from bytes that were checked before.
    fn read_value(id: PropertyId, reader: &mut Reader<'_>) -> Result<Property, DecodeError> {
        let flag = |reader: &mut Reader<'_>| reader.u8().map(|byte| byte != 0);
        Ok(match id {
            PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(flag(reader)?),
            PropertyId::MessageExpiryInterval => Property::MessageExpiryInterval(reader.u32()?),
            PropertyId::ContentType => Property::ContentType(reader.utf8_string()?),
            PropertyId::ResponseTopic => Property::ResponseTopic(reader.utf8_string()?),
            PropertyId::CorrelationData => Property::CorrelationData(reader.binary()?),
            PropertyId::SubscriptionIdentifier => {
                // A Variable Byte Integer has 28 bits.
                Property::SubscriptionIdentifier(reader.variable_byte_integer()? as u32)
            }
            PropertyId::SessionExpiryInterval => Property::SessionExpiryInterval(reader.u32()?),
            PropertyId::AssignedClientIdentifier => Property::AssignedClientIdentifier(reader.utf8_string()?),
            PropertyId::ServerKeepAlive => Property::ServerKeepAlive(reader.u16()?),
            PropertyId::AuthenticationMethod => Property::AuthenticationMethod(reader.utf8_string()?),
            PropertyId::AuthenticationData => Property::AuthenticationData(reader.binary()?),
            PropertyId::RequestProblemInformation => Property::RequestProblemInformation(flag(reader)?),
            PropertyId::WillDelayInterval => Property::WillDelayInterval(reader.u32()?),
            PropertyId::RequestResponseInformation => Property::RequestResponseInformation(flag(reader)?),
            PropertyId::ResponseInformation => Property::ResponseInformation(reader.utf8_string()?),
            PropertyId::ServerReference => Property::ServerReference(reader.utf8_string()?),
            PropertyId::ReasonString => Property::ReasonString(reader.utf8_string()?),
            PropertyId::ReceiveMaximum => Property::ReceiveMaximum(reader.u16()?),
            PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(reader.u16()?),
            PropertyId::TopicAlias => Property::TopicAlias(reader.u16()?),
            PropertyId::MaximumQoS => {
                let level = QoS::from_u8(reader.u8()?);
                Property::MaximumQoS(level.ok_or(DecodeError::Protocol("Maximum QoS is not 0 or 1"))?)
            }
            PropertyId::RetainAvailable => Property::RetainAvailable(flag(reader)?),
            PropertyId::UserProperty => Property::UserProperty(reader.utf8_string()?, reader.utf8_string()?),
            PropertyId::MaximumPacketSize => Property::MaximumPacketSize(reader.u32()?),
            PropertyId::WildcardSubscriptionAvailable => {
                Property::WildcardSubscriptionAvailable(flag(reader)?)
            }
            PropertyId::SubscriptionIdentifiersAvailable => {
                Property::SubscriptionIdentifiersAvailable(flag(reader)?)
            }
            PropertyId::SharedSubscriptionAvailable => Property::SharedSubscriptionAvailable(flag(reader)?),
        })
    }
}
