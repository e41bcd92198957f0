//! Blocks of properties from single ones.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::check::{check_value, inconsistent, read_id};
use super::{Properties, Property};
use crate::EncodeError;
use crate::wire::{
    Reader, VARIABLE_BYTE_INTEGER_MAX, write_binary, write_utf8_string, write_variable_byte_integer,
};

/// Collects properties in the order in which they shall stand on the wire.
#[derive(Clone, Debug, Default)]
pub struct PropertiesBuilder {
    raw: BytesMut,
}

impl PropertiesBuilder {
    /// A builder without properties.
    pub fn new() -> PropertiesBuilder {
        PropertiesBuilder::default()
    }

    /// A builder that starts with a copy of these properties.
    pub fn from_block(properties: &Properties) -> PropertiesBuilder {
        PropertiesBuilder { raw: BytesMut::from(&properties.as_bytes()[..]) }
    }

    /// Appends a property; one with a value that the wire cannot carry, or that no peer may accept (such as
    /// Receive Maximum 0), is refused and leaves the builder as it was.
    pub fn push(&mut self, property: &Property) -> Result<&mut PropertiesBuilder, EncodeError> {
        let start = self.raw.len();
        let written = write_property(&mut self.raw, property).and_then(|()| self.check_from(start));
        if let Err(error) = written {
            self.raw.truncate(start);
            return Err(error);
        }
        Ok(self)
    }

    /// Appends properties that were checked before.
    pub fn append(&mut self, properties: &Properties) -> &mut PropertiesBuilder {
        self.raw.extend_from_slice(properties.as_bytes());
        self
    }

    /// The same rules as for what is received, before it is sent.
    fn check_from(&self, start: usize) -> Result<(), EncodeError> {
        let written = Bytes::copy_from_slice(&self.raw[start..]);
        let mut reader = Reader::new(&written);
        read_id(&mut reader).and_then(|id| check_value(id, &mut reader)).map_err(|error| inconsistent(&error))
    }

    /// The block of all properties that were pushed.
    pub fn build(self) -> Properties {
        Properties::from_checked(self.raw.freeze())
    }
}

fn write_property(raw: &mut BytesMut, property: &Property) -> Result<(), EncodeError> {
    let id = property.id();
    raw.put_u8(id.as_u8());
    match property {
        Property::PayloadFormatIndicator(flag)
        | Property::RequestProblemInformation(flag)
        | Property::RequestResponseInformation(flag)
        | Property::RetainAvailable(flag)
        | Property::WildcardSubscriptionAvailable(flag)
        | Property::SubscriptionIdentifiersAvailable(flag)
        | Property::SharedSubscriptionAvailable(flag) => raw.put_u8(u8::from(*flag)),
        Property::MaximumQoS(qos) => raw.put_u8(qos.as_u8()),
        Property::ServerKeepAlive(number)
        | Property::ReceiveMaximum(number)
        | Property::TopicAliasMaximum(number)
        | Property::TopicAlias(number) => raw.put_u16(*number),
        Property::MessageExpiryInterval(number)
        | Property::SessionExpiryInterval(number)
        | Property::WillDelayInterval(number)
        | Property::MaximumPacketSize(number) => raw.put_u32(*number),
        Property::SubscriptionIdentifier(number) => {
            let number = *number as usize;
            if number > VARIABLE_BYTE_INTEGER_MAX {
                return Err(EncodeError::FieldTooLong(id.text()));
            }
            write_variable_byte_integer(raw, number);
        }
        Property::ContentType(text)
        | Property::ResponseTopic(text)
        | Property::AssignedClientIdentifier(text)
        | Property::AuthenticationMethod(text)
        | Property::ResponseInformation(text)
        | Property::ServerReference(text)
        | Property::ReasonString(text) => write_text(raw, text, id.text())?,
        Property::CorrelationData(bytes) | Property::AuthenticationData(bytes) => {
            write_binary(raw, bytes, id.text())?;
        }
        Property::UserProperty(name, value) => {
            write_text(raw, name, id.text())?;
            write_text(raw, value, id.text())?;
        }
    }
    Ok(())
}

fn write_text(raw: &mut BytesMut, text: &ByteString, field: &'static str) -> Result<(), EncodeError> {
    write_utf8_string(raw, text, field)
}
