//! A block of properties: what stands in a packet, checked once and handed on as it came.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::check::{check_block, inconsistent, read_id, skip_value};
use super::{PropertiesBuilder, Property, PropertyId, PropertyOwner};
use crate::wire::{
    Reader, VARIABLE_BYTE_INTEGER_MAX, variable_byte_integer_len, write_variable_byte_integer,
};
use crate::{DecodeError, EncodeError, QoS};

/// A checked block of properties in wire order, without its length prefix; empty for 3.1.1. Cloning shares
/// the bytes. User Properties keep their order `[MQTT-3.3.2-18]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    raw: Bytes,
}

impl Properties {
    /// Checks the bytes of a block, without its length prefix, and makes them properties of `owner`.
    pub fn parse(raw: Bytes, owner: PropertyOwner) -> Result<Properties, DecodeError> {
        check_block(&mut Reader::new(&raw), owner)?;
        Ok(Properties { raw })
    }

    /// The block of these properties, in this order. Which packet may have them is not checked here.
    pub fn from_properties(
        properties: impl IntoIterator<Item = Property>,
    ) -> Result<Properties, EncodeError> {
        let mut builder = PropertiesBuilder::new();
        for property in properties {
            builder.push(&property)?;
        }
        Ok(builder.build())
    }

    /// A builder without properties.
    pub fn builder() -> PropertiesBuilder {
        PropertiesBuilder::new()
    }

    pub(crate) fn from_checked(raw: Bytes) -> Properties {
        Properties { raw }
    }

    /// Reads the length prefix and the block of `owner`.
    pub(crate) fn read(reader: &mut Reader<'_>, owner: PropertyOwner) -> Result<Properties, DecodeError> {
        let range = Properties::read_range(reader, owner)?;
        Ok(Properties { raw: reader.bytes().slice(range) })
    }

    /// Reads the length prefix, checks the block of `owner` and says where it lies.
    #[inline]
    pub(crate) fn read_range(
        reader: &mut Reader<'_>,
        owner: PropertyOwner,
    ) -> Result<Range<usize>, DecodeError> {
        let len = reader.variable_byte_integer()?;
        let range = reader.take_range(len)?;
        if !range.is_empty() {
            check_block(&mut Reader::of_range(reader.bytes(), range.clone()), owner)?;
        }
        Ok(range)
    }

    /// The length of the block with its prefix.
    pub(crate) fn prefixed_len(&self) -> usize {
        variable_byte_integer_len(self.raw.len()) + self.raw.len()
    }

    /// Appends the length prefix and the block, after the same check as for what is received: these may be
    /// the properties of another kind of packet.
    pub(crate) fn write(&self, buffer: &mut BytesMut, owner: PropertyOwner) -> Result<(), EncodeError> {
        if self.raw.len() > VARIABLE_BYTE_INTEGER_MAX {
            return Err(EncodeError::PacketTooLong);
        }
        check_block(&mut Reader::new(&self.raw), owner).map_err(|error| inconsistent(&error))?;
        write_variable_byte_integer(buffer, self.raw.len());
        buffer.extend_from_slice(&self.raw);
        Ok(())
    }

    /// The same properties with memory of their own.
    pub fn detached(&self) -> Properties {
        Properties { raw: Bytes::copy_from_slice(&self.raw) }
    }

    /// The encoded properties without their length prefix.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// Whether there is no property.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// All properties in wire order; strings and data are slices of the block.
    pub fn iter(&self) -> impl Iterator<Item = Property> + '_ {
        let mut reader = Reader::new(&self.raw);
        std::iter::from_fn(move || {
            let id = read_id(&mut reader).ok()?;
            // The block was checked when it was made, so no value fails.
            Property::read_value(id, &mut reader).ok()
        })
    }

    /// Each property's identifier, the range of the whole property and the range of its value.
    fn spans(&self) -> impl Iterator<Item = (PropertyId, Range<usize>, Range<usize>)> + '_ {
        let mut reader = Reader::new(&self.raw);
        std::iter::from_fn(move || {
            let start = reader.position();
            let id = read_id(&mut reader).ok()?;
            let value_start = reader.position();
            skip_value(id, &mut reader).ok()?;
            Some((id, start..reader.position(), value_start..reader.position()))
        })
    }

    /// The properties without those whose identifier is to be removed. Shares the bytes when none is.
    pub fn without(&self, remove: impl Fn(PropertyId) -> bool) -> Properties {
        if !self.spans().any(|(id, ..)| remove(id)) {
            return self.clone();
        }
        let mut raw = BytesMut::with_capacity(self.raw.len());
        for (_, whole, _) in self.spans().filter(|(id, ..)| !remove(*id)) {
            raw.extend_from_slice(&self.raw[whole]);
        }
        Properties { raw: raw.freeze() }
    }

    /// The properties without the User Properties whose name is to be removed.
    pub fn without_user_properties(&self, remove: impl Fn(&str) -> bool) -> Properties {
        let is_removed = |id: PropertyId, value: Range<usize>| {
            let name = || Reader::of_range(&self.raw, value).utf8_string();
            id == PropertyId::UserProperty && name().is_ok_and(|name| remove(&name))
        };
        let mut raw = BytesMut::with_capacity(self.raw.len());
        for (_, whole, _) in self.spans().filter(|(id, _, value)| !is_removed(*id, value.clone())) {
            raw.extend_from_slice(&self.raw[whole]);
        }
        Properties { raw: raw.freeze() }
    }

    /// The properties with one more at the end. One that cannot be encoded (see [`PropertiesBuilder::push`])
    /// is left out: use the builder where that has to be known.
    pub fn with(&self, property: Property) -> Properties {
        let mut builder = PropertiesBuilder::from_block(self);
        match builder.push(&property) {
            Ok(_) => builder.build(),
            Err(_) => self.clone(),
        }
    }

    /// The properties with this Message Expiry Interval, in the place of the old one or at the end.
    pub fn set_message_expiry_interval(&self, secs: u32) -> Properties {
        let Some(value) = self.find(PropertyId::MessageExpiryInterval) else {
            return self.with(Property::MessageExpiryInterval(secs));
        };
        let mut raw = BytesMut::from(&self.raw[..]);
        raw[value].copy_from_slice(&secs.to_be_bytes());
        Properties { raw: raw.freeze() }
    }

    fn find(&self, wanted: PropertyId) -> Option<Range<usize>> {
        self.spans().find(|(id, ..)| *id == wanted).map(|(_, _, value)| value)
    }

    fn reader_of(&self, id: PropertyId) -> Option<Reader<'_>> {
        if self.raw.is_empty() {
            return None;
        }
        self.find(id).map(|value| Reader::of_range(&self.raw, value))
    }

    fn flag(&self, id: PropertyId) -> Option<bool> {
        self.reader_of(id)?.u8().ok().map(|byte| byte != 0)
    }

    fn two_bytes(&self, id: PropertyId) -> Option<u16> {
        self.reader_of(id)?.u16().ok()
    }

    fn four_bytes(&self, id: PropertyId) -> Option<u32> {
        self.reader_of(id)?.u32().ok()
    }

    fn string(&self, id: PropertyId) -> Option<ByteString> {
        self.reader_of(id)?.utf8_string().ok()
    }

    fn binary(&self, id: PropertyId) -> Option<Bytes> {
        self.reader_of(id)?.binary().ok()
    }
}

/// One getter a property; `None` where the property is absent, which has a meaning of its own in the standard.
impl Properties {
    /// Payload Format Indicator: whether the payload is UTF-8 text.
    pub fn payload_format_indicator(&self) -> Option<bool> {
        self.flag(PropertyId::PayloadFormatIndicator)
    }

    /// Message Expiry Interval in seconds.
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.four_bytes(PropertyId::MessageExpiryInterval)
    }

    /// Content Type.
    pub fn content_type(&self) -> Option<ByteString> {
        self.string(PropertyId::ContentType)
    }

    /// Response Topic, a string without wildcards.
    pub fn response_topic(&self) -> Option<ByteString> {
        self.string(PropertyId::ResponseTopic)
    }

    /// Correlation Data.
    pub fn correlation_data(&self) -> Option<Bytes> {
        self.binary(PropertyId::CorrelationData)
    }

    /// Subscription Identifiers: at most one in SUBSCRIBE, one a matching subscription in PUBLISH.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> + '_ {
        self.spans().filter(|(id, ..)| *id == PropertyId::SubscriptionIdentifier).filter_map(
            |(_, _, value)| {
                let number = Reader::of_range(&self.raw, value).variable_byte_integer().ok()?;
                u32::try_from(number).ok()
            },
        )
    }

    /// Session Expiry Interval in seconds; 0xFFFFFFFF is for ever.
    pub fn session_expiry_interval(&self) -> Option<u32> {
        self.four_bytes(PropertyId::SessionExpiryInterval)
    }

    /// Assigned Client Identifier.
    pub fn assigned_client_identifier(&self) -> Option<ByteString> {
        self.string(PropertyId::AssignedClientIdentifier)
    }

    /// Server Keep Alive in seconds.
    pub fn server_keep_alive(&self) -> Option<u16> {
        self.two_bytes(PropertyId::ServerKeepAlive)
    }

    /// Authentication Method.
    pub fn authentication_method(&self) -> Option<ByteString> {
        self.string(PropertyId::AuthenticationMethod)
    }

    /// Authentication Data.
    pub fn authentication_data(&self) -> Option<Bytes> {
        self.binary(PropertyId::AuthenticationData)
    }

    /// Request Problem Information; absent means true.
    pub fn request_problem_information(&self) -> Option<bool> {
        self.flag(PropertyId::RequestProblemInformation)
    }

    /// Will Delay Interval in seconds.
    pub fn will_delay_interval(&self) -> Option<u32> {
        self.four_bytes(PropertyId::WillDelayInterval)
    }

    /// Request Response Information; absent means false.
    pub fn request_response_information(&self) -> Option<bool> {
        self.flag(PropertyId::RequestResponseInformation)
    }

    /// Response Information.
    pub fn response_information(&self) -> Option<ByteString> {
        self.string(PropertyId::ResponseInformation)
    }

    /// Server Reference.
    pub fn server_reference(&self) -> Option<ByteString> {
        self.string(PropertyId::ServerReference)
    }

    /// Reason String.
    pub fn reason_string(&self) -> Option<ByteString> {
        self.string(PropertyId::ReasonString)
    }

    /// Receive Maximum, never 0; absent means 65,535.
    pub fn receive_maximum(&self) -> Option<u16> {
        self.two_bytes(PropertyId::ReceiveMaximum)
    }

    /// Topic Alias Maximum; absent means 0.
    pub fn topic_alias_maximum(&self) -> Option<u16> {
        self.two_bytes(PropertyId::TopicAliasMaximum)
    }

    /// Topic Alias, never 0.
    pub fn topic_alias(&self) -> Option<u16> {
        self.two_bytes(PropertyId::TopicAlias)
    }

    /// Maximum QoS, 0 or 1; absent means 2.
    pub fn maximum_qos(&self) -> Option<QoS> {
        self.reader_of(PropertyId::MaximumQoS)?.u8().ok().and_then(QoS::from_u8)
    }

    /// Retain Available; absent means true.
    pub fn retain_available(&self) -> Option<bool> {
        self.flag(PropertyId::RetainAvailable)
    }

    /// User Properties in their order; a name may stand more than once.
    pub fn user_properties(&self) -> impl Iterator<Item = (ByteString, ByteString)> + '_ {
        self.spans().filter(|(id, ..)| *id == PropertyId::UserProperty).filter_map(|(_, _, value)| {
            let mut reader = Reader::of_range(&self.raw, value);
            Some((reader.utf8_string().ok()?, reader.utf8_string().ok()?))
        })
    }

    /// Maximum Packet Size in bytes, never 0; absent means no limit.
    pub fn maximum_packet_size(&self) -> Option<u32> {
        self.four_bytes(PropertyId::MaximumPacketSize)
    }

    /// Wildcard Subscription Available; absent means true.
    pub fn wildcard_subscription_available(&self) -> Option<bool> {
        self.flag(PropertyId::WildcardSubscriptionAvailable)
    }

    /// Subscription Identifiers Available; absent means true.
    pub fn subscription_identifiers_available(&self) -> Option<bool> {
        self.flag(PropertyId::SubscriptionIdentifiersAvailable)
    }

    /// Shared Subscription Available; absent means true.
    pub fn shared_subscription_available(&self) -> Option<bool> {
        self.flag(PropertyId::SharedSubscriptionAvailable)
    }
}

impl std::fmt::Debug for Properties {
    /// Lists the properties, but not Authentication Data, which may be a secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = formatter.debug_list();
        for property in self.iter() {
            match property {
                Property::AuthenticationData(_) => list.entry(&format_args!("AuthenticationData(..)")),
                other => list.entry(&other),
            };
        }
        list.finish()
    }
}
