//! What the first bytes of a connection are, before anything is decoded: which MQTT, or what came to the wrong port.
//! Only names are given here; packets are made in `actors/connection.rs`.

use mqtt::ProtocolVersion;
use mqtt::wire::parse_variable_byte_integer;

/// What somebody who connected begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A CONNECT of a version that is spoken here, right or wrong in the rest.
    Connect(ProtocolVersion),
    /// A CONNECT that does not come to its Protocol Version, or is too long to wait for it.
    Illegible,
    /// A CONNECT of MQTT 3.1, whose protocol name is `MQIsdp`.
    Mqtt31,
    /// A CONNECT of a version after 5.0.
    Newer(u8),
    /// A CONNECT of another version before 5.0.
    Unsupported,
    /// A CONNECT of another protocol.
    Foreign,
    /// A record of TLS, as ClientHello comes in.
    Tls,
    /// An HTTP request.
    Http,
    /// Anything else.
    Other,
}

/// Packet type CONNECT, whatever its flags.
const CONNECT: u8 = 1;
/// A TLS record of the type handshake, and the major version that all of TLS has.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];
/// How HTTP requests begin; the last one opens HTTP/2.
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI * HTTP/2",
];

/// Names what the bytes are the beginning of; `None` while more bytes could still decide. `packet_bytes_max` is the
/// longest packet that will be accepted.
pub fn opening(bytes: &[u8], packet_bytes_max: usize) -> Option<Opening> {
    let first = *bytes.first()?;
    if first == TLS_HANDSHAKE[0] && bytes.len() < TLS_HANDSHAKE.len() {
        return None;
    }
    if bytes.starts_with(&TLS_HANDSHAKE) {
        return Some(Opening::Tls);
    }
    if first >> 4 == CONNECT {
        return opening_of_connect(bytes, packet_bytes_max);
    }
    if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some(Opening::Http);
    }
    let may_become_http = HTTP_METHODS.iter().any(|method| method.starts_with(bytes));
    (!may_become_http).then_some(Opening::Other)
}

fn opening_of_connect(bytes: &[u8], packet_bytes_max: usize) -> Option<Opening> {
    let (remaining_length, length_len) = match parse_variable_byte_integer(&bytes[1..]) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return None,
        Err(_) => return Some(Opening::Illegible),
    };
    let body = &bytes[1 + length_len..];
    let version = protocol_version(&body[..body.len().min(remaining_length)]);
    let is_hopeless = body.len() >= remaining_length || 1 + length_len + remaining_length > packet_bytes_max;
    version.or(is_hopeless.then_some(Opening::Illegible))
}

/// What Protocol Name and Protocol Version say; `None` where they are not all there.
fn protocol_version(body: &[u8]) -> Option<Opening> {
    let (name_len, rest) = body.split_first_chunk::<2>()?;
    let (name, is_mqtt): (&[u8], bool) = match u16::from_be_bytes(*name_len) {
        4 => (b"MQTT", true),
        6 => (b"MQIsdp", false),
        _ => return Some(Opening::Foreign),
    };
    let compared = name.len().min(rest.len());
    if rest[..compared] != name[..compared] {
        return Some(Opening::Foreign);
    }
    let level = *rest.get(name.len())?;
    let is_marked = level & ProtocolVersion::BRIDGE != 0;
    Some(match ProtocolVersion::from_connect(level) {
        _ if !is_mqtt => Opening::Mqtt31,
        Some((version, _)) => Opening::Connect(version),
        None if level > ProtocolVersion::V5.level() && !is_marked => Opening::Newer(level),
        None => Opening::Unsupported,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000;

    /// Each opening, with bytes that say so and of which no beginning says anything else.
    fn table() -> Vec<(&'static str, Vec<u8>, Opening)> {
        let connect = |name: &[u8], level: u8| {
            let mut bytes = vec![0x10, 20, 0, name.len() as u8];
            bytes.extend_from_slice(name);
            bytes.push(level);
            bytes
        };
        vec![
            ("3.1.1", connect(b"MQTT", 4), Opening::Connect(ProtocolVersion::V311)),
            ("5.0", connect(b"MQTT", 5), Opening::Connect(ProtocolVersion::V5)),
            ("3.1", connect(b"MQIsdp", 3), Opening::Mqtt31),
            ("a bridge of 3.1", connect(b"MQIsdp", 0x83), Opening::Mqtt31),
            ("level 3", connect(b"MQTT", 3), Opening::Unsupported),
            ("level 0", connect(b"MQTT", 0), Opening::Unsupported),
            ("a bridge of 3.1.1", connect(b"MQTT", 0x84), Opening::Connect(ProtocolVersion::V311)),
            ("a bridge of 5.0", connect(b"MQTT", 0x85), Opening::Unsupported),
            ("level 6", connect(b"MQTT", 6), Opening::Newer(6)),
            ("level 127", connect(b"MQTT", 127), Opening::Newer(127)),
            ("another case", vec![0x10, 20, 0, 4, b'm'], Opening::Foreign),
            ("another name", vec![0x10, 20, 0, 4, b'A'], Opening::Foreign),
            ("another name of six", vec![0x10, 20, 0, 6, b'M', b'Q', b'T'], Opening::Foreign),
            ("a longer name", vec![0x10, 20, 0, 5], Opening::Foreign),
            ("a name without bytes", vec![0x10, 20, 0, 0], Opening::Foreign),
            ("no body", vec![0x10, 0], Opening::Illegible),
            ("a body that ends in its name", vec![0x10, 5, 0, 4, b'M', b'Q', b'T'], Opening::Illegible),
            ("a length of five bytes", vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF], Opening::Illegible),
            ("too long", vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F], Opening::Illegible),
            (
                "flags and 5.0",
                [&[0x11], &connect(b"MQTT", 5)[1..]].concat(),
                Opening::Connect(ProtocolVersion::V5),
            ),
            (
                "flags as of a TLS record",
                [&[0x16], &connect(b"MQTT", 5)[1..]].concat(),
                Opening::Connect(ProtocolVersion::V5),
            ),
            ("TLS", vec![0x16, 0x03], Opening::Tls),
            ("PINGREQ", vec![0xC0], Opening::Other),
            ("type 0", vec![0x00], Opening::Other),
            ("PUBACK like GET", vec![b'G', 2], Opening::Other),
            ("PUBREC like PUT", vec![b'P', b'U', 0], Opening::Other),
            ("GETS", b"GETS".to_vec(), Opening::Other),
            ("GET", b"GET ".to_vec(), Opening::Http),
            ("POST", b"POST ".to_vec(), Opening::Http),
            ("HEAD", b"HEAD ".to_vec(), Opening::Http),
            ("OPTIONS", b"OPTIONS ".to_vec(), Opening::Http),
            ("HTTP CONNECT", b"CONNECT ".to_vec(), Opening::Http),
            ("HTTP/2", b"PRI * HTTP/2".to_vec(), Opening::Http),
        ]
    }

    #[test]
    fn first_bytes_have_a_name_as_soon_as_they_can() {
        for (name, bytes, wanted) in table() {
            assert_eq!(opening(&bytes, MAX), Some(wanted), "{name}");
            for end in 0..bytes.len() {
                assert_eq!(opening(&bytes[..end], MAX), None, "{name}, {end} bytes");
            }
            let longer = [&bytes[..], &[0, 4, b'M', b'Q']].concat();
            assert_eq!(opening(&longer, MAX), Some(wanted), "{name}, and more");
        }
    }

    #[test]
    fn a_connect_that_is_too_long_is_told_by_its_version_if_that_is_there() {
        let mut bytes = vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F];
        bytes.extend_from_slice(&[0, 4, b'M', b'Q', b'T', b'T', 5]);
        assert_eq!(opening(&bytes, MAX), Some(Opening::Connect(ProtocolVersion::V5)));
        assert_eq!(opening(&bytes[..9], MAX), Some(Opening::Illegible));
    }

    #[test]
    fn any_bytes_have_a_name_in_the_end() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let bytes = [&[first, second][..], &[0xA5; 300]].concat();
                assert!(opening(&bytes, MAX).is_some(), "{first:#x} {second:#x}");
            }
        }
    }
}
