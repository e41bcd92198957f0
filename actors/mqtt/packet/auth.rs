//! AUTH: a step of extended authentication (MQTT 5.0 section 3.15).

use bytes::{BufMut, BytesMut};

use super::{check_reason_code, read_reason_code};
use crate::property::PropertyOwner;
use crate::wire::Reader;
use crate::{DecodeError, EncodeError, Properties, ReasonCode};

/// The AUTH packet; 3.1.1 has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate `[MQTT-3.15.2-1]`.
    pub reason_code: ReasonCode,
    /// The properties, with an Authentication Method unless the packet is empty.
    pub properties: Properties,
}

impl Auth {
    /// Whether AUTH may have this Reason Code (MQTT 5.0 table 3-11).
    pub const fn allows(reason_code: ReasonCode) -> bool {
        matches!(
            reason_code,
            ReasonCode::Success | ReasonCode::ContinueAuthentication | ReasonCode::ReAuthenticate
        )
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Auth, DecodeError> {
        // Section 3.15.2.1: success without properties has a Remaining Length of 0.
        if reader.is_empty() {
            return Ok(Auth { reason_code: ReasonCode::Success, properties: Properties::default() });
        }
        let reason_code = read_reason_code(reader, Auth::allows)?;
        let properties = Properties::read(reader, PropertyOwner::Auth)?;
        reader.finish()?;
        // Section 3.15.2.2.2.
        if properties.authentication_method().is_none() {
            return Err(DecodeError::Protocol("AUTH without an authentication method"));
        }
        Ok(Auth { reason_code, properties })
    }

    fn is_short(&self) -> bool {
        self.reason_code == ReasonCode::Success && self.properties.is_empty()
    }

    pub(crate) fn body_len(&self) -> usize {
        if self.is_short() { 0 } else { 1 + self.properties.prefixed_len() }
    }

    pub(crate) fn write_body(&self, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        if self.is_short() {
            return Ok(());
        }
        check_reason_code(Auth::allows(self.reason_code))?;
        if self.properties.authentication_method().is_none() {
            return Err(EncodeError::Inconsistent("AUTH without an authentication method"));
        }
        buffer.put_u8(self.reason_code.as_u8());
        self.properties.write(buffer)
    }
}
