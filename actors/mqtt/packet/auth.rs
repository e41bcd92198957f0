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
        self.properties.write(buffer, PropertyOwner::Auth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{V5, V311, bad, cut, good, malformed, properties, protocol, unwritable};

    fn row(reason_code: ReasonCode, properties: Properties) -> Packet {
        Packet::Auth(Auth { reason_code, properties })
    }

    #[test]
    fn good_packets_are_read_and_written() {
        good(V5, "empty", "F0:", &row(ReasonCode::Success, Properties::default()));
        let method = || Property::AuthenticationMethod("SCRAM".into());
        let data = Property::AuthenticationData(bytes::Bytes::from_static(&[1, 2]));
        let both = row(ReasonCode::ContinueAuthentication, properties([method(), data]));
        good(V5, "continue", "F0: 18 {15 <SCRAM> 16 0002 0102}", &both);
        let again = row(ReasonCode::ReAuthenticate, properties([method()]));
        good(V5, "again", "F0: 19 {15 <SCRAM>}", &again);
    }

    #[test]
    fn bad_packets_are_refused() {
        bad(V311, "in 3.1.1", "F0:", malformed("packet type 15 is reserved in 3.1.1"));
        bad(V5, "a reason code alone", "F0: 18", cut());
        bad(V5, "no method", "F0: 18 00", protocol("AUTH without an authentication method"));
        let data = protocol("Authentication Data without Authentication Method");
        bad(V5, "data without method", "F0: 18 {16 0001 01}", data);
        let code = protocol("a reason code is not allowed in this packet");
        bad(V5, "reason code", "F0: 80 {15 <m>}", code);
        bad(V5, "too long", "F0: 18 {15 <m>} 00", malformed("bytes behind the last field"));
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let empty = row(ReasonCode::Success, Properties::default());
        unwritable(V311, &empty, EncodeError::NotInThisVersion("AUTH"));
        let bare = row(ReasonCode::ContinueAuthentication, Properties::default());
        unwritable(V5, &bare, EncodeError::Inconsistent("AUTH without an authentication method"));
    }
}
