//! The rules for a block of properties: which, how often and with what values.

use super::id::{PropertyId, PropertyOwner, WireType};
use crate::wire::Reader;
use crate::{DecodeError, EncodeError};

/// Reads the next Property Identifier. It is a Variable Byte Integer by the letter, but all that exist have
/// one byte, so a byte from 0x80 on is unknown either way.
pub(super) fn read_id(reader: &mut Reader<'_>) -> Result<PropertyId, DecodeError> {
    PropertyId::from_u8(reader.u8()?).ok_or(DecodeError::Malformed("a property identifier is unknown"))
}

/// Moves the reader behind the value of a property without a look at it.
pub(super) fn skip_value(id: PropertyId, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match id.wire_type() {
        WireType::Byte => reader.u8().map(drop),
        WireType::TwoByteInteger => reader.u16().map(drop),
        WireType::FourByteInteger => reader.u32().map(drop),
        WireType::VariableByteInteger => reader.variable_byte_integer().map(drop),
        WireType::Utf8String | WireType::BinaryData => reader.binary_borrowed().map(drop),
        WireType::Utf8StringPair => {
            reader.binary_borrowed()?;
            reader.binary_borrowed().map(drop)
        }
    }
}

/// Checks a whole block of properties of `owner`.
///
/// An identifier that is unknown or that the packet cannot have is malformed (section 2.2.2.2); a property
/// that stands twice and a value out of its range are Protocol Errors (the sections on each property).
pub(super) fn check_block(reader: &mut Reader<'_>, owner: PropertyOwner) -> Result<(), DecodeError> {
    let mut seen = 0_u64;
    while !reader.is_empty() {
        let id = read_id(reader)?;
        if !id.is_allowed_in(owner) {
            return Err(DecodeError::Malformed("a property is not allowed in this packet"));
        }
        let bit = 1_u64 << id.as_u8();
        if seen & bit != 0 && !id.may_repeat_in(owner) {
            return Err(DecodeError::Protocol("a property stands twice"));
        }
        seen |= bit;
        check_value(id, reader)?;
    }
    let has = |id: PropertyId| seen & (1_u64 << id.as_u8()) != 0;
    if has(PropertyId::AuthenticationData) && !has(PropertyId::AuthenticationMethod) {
        return Err(DecodeError::Protocol("Authentication Data without Authentication Method"));
    }
    Ok(())
}

/// Reads the value of a property and checks its form and range.
pub(super) fn check_value(id: PropertyId, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match id.wire_type() {
        WireType::Byte => {
            // All single bytes are 0 or 1, Maximum QoS too.
            if reader.u8()? > 1 {
                return Err(DecodeError::Protocol("a property is not 0 or 1"));
            }
        }
        WireType::TwoByteInteger => {
            let is_zero = reader.u16()? == 0;
            match id {
                // Section 3.1.2.11.3.
                PropertyId::ReceiveMaximum if is_zero => {
                    return Err(DecodeError::Protocol("Receive Maximum is 0"));
                }
                // `[MQTT-3.3.2-8]`.
                PropertyId::TopicAlias if is_zero => {
                    return Err(DecodeError::TopicAliasInvalid("must not be 0"));
                }
                _ => {}
            }
        }
        WireType::FourByteInteger => {
            if reader.u32()? == 0 && id == PropertyId::MaximumPacketSize {
                return Err(DecodeError::Protocol("Maximum Packet Size is 0"));
            }
        }
        WireType::VariableByteInteger => {
            if reader.variable_byte_integer()? == 0 {
                return Err(DecodeError::Protocol("Subscription Identifier is 0"));
            }
        }
        WireType::BinaryData => drop(reader.binary_borrowed()?),
        WireType::Utf8String => {
            let text = reader.utf8_borrowed()?;
            // `[MQTT-3.3.2-14]`: the Response Topic is a Topic Name.
            if id == PropertyId::ResponseTopic && (text.is_empty() || text.contains(['+', '#'])) {
                return Err(DecodeError::Protocol("Response Topic is empty or has wildcards"));
            }
        }
        WireType::Utf8StringPair => {
            reader.utf8_borrowed()?;
            reader.utf8_borrowed()?;
        }
    }
    Ok(())
}

/// What is an error of the peer when it is received is an error of ours before it is sent.
pub(super) fn inconsistent(error: &DecodeError) -> EncodeError {
    match error {
        DecodeError::Malformed(what) | DecodeError::Protocol(what) => EncodeError::Inconsistent(what),
        DecodeError::TopicAliasInvalid(_) => EncodeError::Inconsistent("Topic Alias is 0"),
        _ => EncodeError::Inconsistent("a property breaks its rules"),
    }
}
