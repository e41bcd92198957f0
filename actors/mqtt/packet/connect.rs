//! CONNECT: the client asks for a Session (MQTT 5.0 section 3.1).

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::property::PropertyOwner;
use crate::wire::{Reader, write_binary, write_utf8_string};
use crate::{DecodeError, EncodeError, Properties, ProtocolVersion, QoS, TopicName};

const PROTOCOL_NAME: &str = "MQTT";

const USER_NAME_FLAG: u8 = 0b1000_0000;
const PASSWORD_FLAG: u8 = 0b0100_0000;
const WILL_RETAIN: u8 = 0b0010_0000;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_FLAG: u8 = 0b0000_0100;
const CLEAN_START: u8 = 0b0000_0010;
const RESERVED: u8 = 0b0000_0001;

/// The CONNECT packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the client speaks from here on.
    pub protocol_version: ProtocolVersion,
    /// Whether an old Session is discarded; Clean Session in 3.1.1.
    pub clean_start: bool,
    /// The longest silence of the client in seconds; 0 turns the check off.
    pub keep_alive_secs: u16,
    /// The Client Identifier; empty asks the server to assign one.
    pub client_id: ByteString,
    /// The message to publish when the connection dies.
    pub will: Option<Will>,
    /// User Name.
    pub user_name: Option<ByteString>,
    /// Password: any bytes. Never shown by `Debug`.
    pub password: Option<Bytes>,
    /// The properties of CONNECT; those of the Will are its own.
    pub properties: Properties,
    /// Whether the Protocol Level is marked as that of a bridge, which does not want its own messages back. Only in 3.1.1:
    /// 5.0 has No Local for that, and with the mark it is an unsupported version.
    pub bridge: bool,
}

/// The Will Message with the properties that it is published with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Will Topic.
    pub topic_name: TopicName,
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties; empty in 3.1.1.
    pub properties: Properties,
    /// Will Payload.
    pub payload: Bytes,
}

impl Connect {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Connect, DecodeError> {
        // `[MQTT-3.1.2-1]`: another name is another protocol; "MQIsdp" is MQTT 3.1.
        if reader.utf8_borrowed()? != PROTOCOL_NAME {
            return Err(DecodeError::UnsupportedProtocolVersion);
        }
        let (protocol_version, bridge) =
            ProtocolVersion::from_connect(reader.u8()?).ok_or(DecodeError::UnsupportedProtocolVersion)?;
        let flags = reader.u8()?;
        let will_qos = check_flags(flags, protocol_version)?;
        let keep_alive_secs = reader.u16()?;
        let properties = match protocol_version {
            ProtocolVersion::V5 => Properties::read(reader, PropertyOwner::Connect)?,
            ProtocolVersion::V311 => Properties::default(),
        };
        let clean_start = flags & CLEAN_START != 0;
        let client_id = reader.utf8_string()?;
        // 3.1.1 `[MQTT-3.1.3-8]`; in 5.0 the server may assign an identifier to a Session that is kept.
        if client_id.is_empty() && !clean_start && !protocol_version.is_v5() {
            return Err(DecodeError::ClientIdentifierNotValid("empty without clean session"));
        }
        let will = match flags & WILL_FLAG != 0 {
            true => Some(Will::decode(reader, protocol_version, will_qos, flags & WILL_RETAIN != 0)?),
            false => None,
        };
        let user_name = if flags & USER_NAME_FLAG != 0 { Some(reader.utf8_string()?) } else { None };
        let password = if flags & PASSWORD_FLAG != 0 { Some(reader.binary()?) } else { None };
        reader.finish()?;
        Ok(Connect {
            protocol_version,
            clean_start,
            keep_alive_secs,
            client_id,
            will,
            user_name,
            password,
            properties,
            bridge,
        })
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= WILL_FLAG | will.qos.as_u8() << WILL_QOS_SHIFT;
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.user_name.is_some() {
            flags |= USER_NAME_FLAG;
        }
        if self.password.is_some() {
            flags |= PASSWORD_FLAG;
        }
        flags
    }

    pub(crate) fn body_len(&self) -> usize {
        let is_v5 = self.protocol_version.is_v5();
        let mut len = 2 + PROTOCOL_NAME.len() + 1 + 1 + 2;
        len += if is_v5 { self.properties.prefixed_len() } else { 0 };
        len += 2 + self.client_id.len();
        if let Some(will) = &self.will {
            len += if is_v5 { will.properties.prefixed_len() } else { 0 };
            len += 2 + will.topic_name.as_str().len() + 2 + will.payload.len();
        }
        len += self.user_name.as_ref().map_or(0, |user_name| 2 + user_name.len());
        len + self.password.as_ref().map_or(0, |password| 2 + password.len())
    }

    pub(crate) fn write_body(&self, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        let is_v5 = self.protocol_version.is_v5();
        if !is_v5 && self.password.is_some() && self.user_name.is_none() {
            return Err(EncodeError::Inconsistent("a password without a user name in 3.1.1"));
        }
        if !is_v5 && self.client_id.is_empty() && !self.clean_start {
            return Err(EncodeError::Inconsistent("an empty client identifier without clean session"));
        }
        write_utf8_string(buffer, PROTOCOL_NAME, "protocol name")?;
        let bridge = if self.bridge { ProtocolVersion::BRIDGE } else { 0 };
        buffer.put_u8(self.protocol_version.level() | bridge);
        buffer.put_u8(self.flags());
        buffer.put_u16(self.keep_alive_secs);
        if is_v5 {
            self.properties.write(buffer, PropertyOwner::Connect)?;
        }
        write_utf8_string(buffer, &self.client_id, "client identifier")?;
        if let Some(will) = &self.will {
            if is_v5 {
                will.properties.write(buffer, PropertyOwner::Will)?;
            }
            write_utf8_string(buffer, will.topic_name.as_str(), "will topic")?;
            write_binary(buffer, &will.payload, "will payload")?;
        }
        if let Some(user_name) = &self.user_name {
            write_utf8_string(buffer, user_name, "user name")?;
        }
        if let Some(password) = &self.password {
            write_binary(buffer, password, "password")?;
        }
        Ok(())
    }
}

/// Checks what the Connect Flags say about each other and reads the Will QoS out of them.
fn check_flags(flags: u8, protocol_version: ProtocolVersion) -> Result<QoS, DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::Malformed("the reserved connect flag is set")); // [MQTT-3.1.2-3]
    }
    let will_qos =
        QoS::from_u8((flags >> WILL_QOS_SHIFT) & 0b11).ok_or(DecodeError::Malformed("the will QoS is 3"))?; // [MQTT-3.1.2-12]
    if flags & WILL_FLAG == 0 {
        if will_qos != QoS::AtMostOnce {
            return Err(DecodeError::Malformed("a will QoS without a will")); // [MQTT-3.1.2-11]
        }
        if flags & WILL_RETAIN != 0 {
            return Err(DecodeError::Malformed("will retain without a will")); // [MQTT-3.1.2-13]
        }
    }
    // 3.1.1 `[MQTT-3.1.2-22]`; 5.0 allows it (section 3.1.2.9).
    if flags & PASSWORD_FLAG != 0 && flags & USER_NAME_FLAG == 0 && !protocol_version.is_v5() {
        return Err(DecodeError::Malformed("a password without a user name"));
    }
    Ok(will_qos)
}

impl Will {
    fn decode(
        reader: &mut Reader<'_>,
        protocol_version: ProtocolVersion,
        qos: QoS,
        retain: bool,
    ) -> Result<Will, DecodeError> {
        let properties = match protocol_version {
            ProtocolVersion::V5 => Properties::read(reader, PropertyOwner::Will)?,
            ProtocolVersion::V311 => Properties::default(),
        };
        let topic_name =
            TopicName::new(reader.utf8_string()?).map_err(|error| DecodeError::TopicNameInvalid(error.0))?;
        let payload = reader.binary()?;
        Ok(Will { topic_name, qos, retain, properties, payload })
    }
}

impl std::fmt::Debug for Connect {
    /// Shows everything but the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connect")
            .field("protocol_version", &self.protocol_version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| format_args!("..")))
            .field("properties", &self.properties)
            .field("bridge", &self.bridge)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{V5, V311, bad, cut, good, malformed, properties, protocol, unwritable};

    fn connect(version: ProtocolVersion) -> Connect {
        Connect {
            protocol_version: version,
            clean_start: true,
            keep_alive_secs: 60,
            client_id: "a".into(),
            will: None,
            user_name: None,
            password: None,
            properties: Properties::default(),
            bridge: false,
        }
    }

    fn full(version: ProtocolVersion) -> Connect {
        let (of_connect, of_will) = match version {
            ProtocolVersion::V311 => (Properties::default(), Properties::default()),
            ProtocolVersion::V5 => (
                properties([Property::SessionExpiryInterval(10), Property::ReceiveMaximum(20)]),
                properties([Property::WillDelayInterval(5)]),
            ),
        };
        let will = Will {
            topic_name: TopicName::new("w").unwrap(),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: of_will,
            payload: Bytes::from_static(&[0xFF]),
        };
        Connect {
            clean_start: false,
            will: Some(will),
            user_name: Some("".into()),
            password: Some(Bytes::from_static(&[0, 0xFF])),
            properties: of_connect,
            ..connect(version)
        }
    }

    fn row(connect: Connect) -> Packet {
        Packet::Connect(Box::new(connect))
    }

    #[test]
    fn good_packets_are_read_and_written() {
        good(V311, "shortest", "10: <MQTT> 04 02 003C <a>", &row(connect(V311)));
        let unnamed = Connect { client_id: "".into(), ..connect(V311) };
        good(V311, "no client identifier", "10: <MQTT> 04 02 003C <>", &row(unnamed));
        let everything = "10: <MQTT> 04 F4 003C <a> <w> 0001 FF <> 0002 00FF";
        good(V311, "everything, with a binary password", everything, &row(full(V311)));
        good(V5, "shortest", "10: <MQTT> 05 02 003C 00 <a>", &row(connect(V5)));
        let unnamed = Connect { client_id: "".into(), clean_start: false, ..connect(V5) };
        good(V5, "an assigned identifier for a kept session", "10: <MQTT> 05 00 003C 00 <>", &row(unnamed));
        let password = Connect { password: Some(Bytes::from_static(b"p")), ..connect(V5) };
        good(V5, "a password alone", "10: <MQTT> 05 42 003C 00 <a> <p>", &row(password));
        let everything =
            "10: <MQTT> 05 F4 003C {11 0000000A 21 0014} <a> {18 00000005} <w> 0001 FF <> 0002 00FF";
        good(V5, "everything", everything, &row(full(V5)));
        let everything =
            "10: <MQTT> 05 F4 003C {11 0000000A 21 0014} <a> {18 00000005} <w> 0001 FF <> 0002 00FF";
        good(V311, "brings its own version", everything, &row(full(V5)));
    }

    #[test]
    fn bad_packets_of_both_versions_are_refused() {
        let unsupported = DecodeError::UnsupportedProtocolVersion;
        for version in [V311, V5] {
            bad(version, "MQTT 3.1", "10: <MQIsdp> 03 02 003C <a>", unsupported);
            bad(version, "level 3", "10: <MQTT> 03 02 003C <a>", unsupported);
            bad(version, "level 6", "10: <MQTT> 06 02 003C 00 <a>", unsupported);
            bad(version, "a bridge of 3.1", "10: <MQTT> 83 02 003C <a>", unsupported);
            bad(version, "a bridge of 5.0", "10: <MQTT> 85 02 003C 00 <a>", unsupported);
            bad(version, "another case", "10: <mqtt> 04 02 003C <a>", unsupported);
            bad(version, "another protocol", "10: <HTTP> 04 02 003C <a>", unsupported);
            bad(
                version,
                "a name that is not UTF-8",
                "10: 0001 FF 04 02 003C <a>",
                malformed("a string is not UTF-8"),
            );
            bad(version, "empty", "10:", cut());
        }
        for (level, block) in [("04", ""), ("05", "00")] {
            let row = |name: &str, flags: &str, payload: &str, error: DecodeError| {
                bad(V311, name, &format!("10: <MQTT> {level} {flags} 003C {block} {payload}"), error);
            };
            row("reserved flag", "03", "<a>", malformed("the reserved connect flag is set"));
            row("will QoS 3", "1E", &format!("<a> {block} <w> <>"), malformed("the will QoS is 3"));
            row("will QoS without will", "0A", "<a>", malformed("a will QoS without a will"));
            row("will retain without will", "22", "<a>", malformed("will retain without a will"));
            row("no client identifier at all", "02", "", cut());
            row("client identifier cut", "02", "0002 'a'", cut());
            row("client identifier with U+0000", "02", "0002 'a' 00", malformed("a string has U+0000"));
            row(
                "client identifier with a surrogate",
                "02",
                "0003 EDA080",
                malformed("a string is not UTF-8"),
            );
            row("no will topic", "06", &format!("<a> {block}"), cut());
            let wildcard = DecodeError::TopicNameInvalid("must not have wildcards");
            row("will topic with wildcard", "06", &format!("<a> {block} <w/#> <>"), wildcard);
            let empty = DecodeError::TopicNameInvalid("must not be empty");
            row("empty will topic", "06", &format!("<a> {block} <> <>"), empty);
            row("no user name", "82", "<a>", cut());
            row("user name that is not UTF-8", "82", "<a> 0001 80", malformed("a string is not UTF-8"));
            row("no password", "C2", "<a> <u>", cut());
            row("more than it says", "02", "<a> 00", malformed("bytes behind the last field"));
        }
    }

    #[test]
    fn bad_packets_of_one_version_are_refused() {
        let no_id = DecodeError::ClientIdentifierNotValid("empty without clean session");
        bad(V311, "no client identifier for a kept session", "10: <MQTT> 04 00 003C <>", no_id);
        let password = malformed("a password without a user name");
        bad(V311, "a password alone", "10: <MQTT> 04 42 003C <a> <p>", password);
        bad(V5, "no property length", "10: <MQTT> 05 02 003C", cut());
        bad(V5, "property length too long", "10: <MQTT> 05 02 003C 04 <a>", cut());
        bad(V5, "receive maximum 0", "10: <MQTT> 05 02 003C {21 0000} <a>", protocol("Receive Maximum is 0"));
        let not_allowed = malformed("a property is not allowed in this packet");
        bad(V5, "a property of the will", "10: <MQTT> 05 02 003C {18 00000001} <a>", not_allowed);
        bad(
            V5,
            "a property of CONNECT in the will",
            "10: <MQTT> 05 06 003C 00 <a> {21 0001} <w> <>",
            not_allowed,
        );
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let password = Connect { password: Some(Bytes::new()), ..connect(V311) };
        unwritable(
            V311,
            &row(password),
            EncodeError::Inconsistent("a password without a user name in 3.1.1"),
        );
        let unnamed = Connect { client_id: "".into(), clean_start: false, ..connect(V311) };
        let error = EncodeError::Inconsistent("an empty client identifier without clean session");
        unwritable(V311, &row(unnamed), error);
        let long = Connect { user_name: Some("u".repeat(65_536).into()), ..connect(V5) };
        unwritable(V5, &row(long), EncodeError::FieldTooLong("user name"));
        let foreign = Connect { properties: properties([Property::TopicAlias(1)]), ..connect(V5) };
        unwritable(V5, &row(foreign), EncodeError::Inconsistent("a property is not allowed in this packet"));
    }

    #[test]
    fn a_bridge_marks_the_protocol_level() {
        let bridge = row(Connect { bridge: true, ..connect(V311) });
        let mut buffer = BytesMut::new();
        crate::codec::encode(&bridge, V311, &mut buffer).unwrap();
        assert_eq!(buffer[8], 0x84);
        good(V311, "a bridge", "10: <MQTT> 84 02 003C <a>", &bridge);
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let secret = Connect { password: Some(Bytes::from_static(b"hunter2")), ..connect(V5) };
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(format!("{secret:?}").contains("password: Some(..)"));
    }
}
