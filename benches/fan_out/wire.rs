//! As much of MQTT 3.1.1 and 5.0 as a publisher and a null upstream need, written apart from crate `mqtt` on purpose:
//! a fault of the codec must not measure itself as correct.

pub const CONNECT: u8 = 0x10;
pub const CONNACK: u8 = 0x20;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const SUBSCRIBE: u8 = 0x82;
pub const SUBACK: u8 = 0x90;
pub const UNSUBSCRIBE: u8 = 0xA2;
pub const UNSUBACK: u8 = 0xB0;
pub const PINGREQ: u8 = 0xC0;
pub const PINGRESP: u8 = 0xD0;
pub const DISCONNECT: u8 = 0xE0;

/// One packet as it lies in a read buffer.
pub struct Frame<'a> {
    pub first: u8,
    pub body: &'a [u8],
    /// Fixed header and body together.
    pub bytes: usize,
}

/// The packet at the start of `buffer`; `None` as long as it is not complete.
pub fn next_frame(buffer: &[u8]) -> Result<Option<Frame<'_>>, String> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    let Some((length, width)) = variable_byte_integer(rest)? else { return Ok(None) };
    let Some(body) = rest.get(width..width + length) else { return Ok(None) };
    Ok(Some(Frame { first, body, bytes: 1 + width + length }))
}

fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err("a length of more than four bytes".to_owned()) } else { Ok(None) }
}

fn put_variable_byte_integer(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A CONNECT packet with a clean session and no credentials.
pub fn connect(client_id: &str, version: u8, keep_alive_secs: u16) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, "MQTT");
    body.extend_from_slice(&[version, 0x02]);
    body.extend_from_slice(&keep_alive_secs.to_be_bytes());
    if version == 5 {
        body.push(0);
    }
    put_string(&mut body, client_id);
    let mut packet = vec![CONNECT];
    put_variable_byte_integer(&mut packet, body.len());
    packet.extend_from_slice(&body);
    packet
}

/// A PUBLISH packet whose Packet Identifier and payload are filled in later.
pub struct Template {
    pub bytes: Vec<u8>,
    pub packet_id_at: Option<usize>,
    pub payload_at: usize,
}

pub fn publish(topic: &str, qos: u8, version: u8, payload_bytes: usize) -> Template {
    let properties = usize::from(version == 5);
    let packet_id = if qos > 0 { 2 } else { 0 };
    let mut bytes = vec![PUBLISH | qos << 1];
    put_variable_byte_integer(&mut bytes, 2 + topic.len() + packet_id + properties + payload_bytes);
    put_string(&mut bytes, topic);
    let packet_id_at = (qos > 0).then_some(bytes.len());
    let payload_at = bytes.len() + packet_id + properties;
    bytes.resize(payload_at, 0);
    bytes.resize(payload_at + payload_bytes, b'x');
    Template { bytes, packet_id_at, payload_at }
}

/// The Packet Identifier (0 at QoS 0) and the payload of a PUBLISH packet.
pub fn read_publish<'a>(frame: &Frame<'a>, version: u8) -> Option<(u16, &'a [u8])> {
    let (length, rest) = frame.body.split_first_chunk::<2>()?;
    let mut rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    let mut packet_id = 0;
    if frame.first & 0x06 != 0 {
        let (id, after) = rest.split_first_chunk::<2>()?;
        packet_id = u16::from_be_bytes(*id);
        rest = after;
    }
    if version == 5 {
        let (length, width) = variable_byte_integer(rest).ok()??;
        rest = rest.get(width + length..)?;
    }
    Some((packet_id, rest))
}

/// The Packet Identifier at the start of an acknowledgement, a SUBSCRIBE or an UNSUBSCRIBE.
pub fn read_packet_id(frame: &Frame<'_>) -> Option<u16> {
    frame.body.first_chunk::<2>().map(|id| u16::from_be_bytes(*id))
}

/// Whether an acknowledgement carries a Reason Code that refuses the message (5.0 only).
pub fn refuses(frame: &Frame<'_>) -> bool {
    frame.body.get(2).is_some_and(|reason| *reason >= 0x80)
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP that says success; both versions write it in the same four bytes.
pub fn put_acknowledgement(out: &mut Vec<u8>, first: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// The Receive Maximum of a CONNACK that accepts; an error with the Reason Code of one that does not.
pub fn read_connack(frame: &Frame<'_>, version: u8) -> Result<u16, String> {
    if frame.first != CONNACK {
        return Err(format!("a packet of type {:#04x} instead of CONNACK", frame.first));
    }
    match frame.body {
        [_, 0, properties @ ..] if version == 5 => Ok(receive_maximum(properties).unwrap_or(u16::MAX)),
        [_, 0, ..] => Ok(u16::MAX),
        [_, reason, ..] => Err(format!("the connection was refused with Reason Code {reason}")),
        _ => Err("a CONNACK of fewer than two bytes".to_owned()),
    }
}

fn receive_maximum(bytes: &[u8]) -> Option<u16> {
    let (length, width) = variable_byte_integer(bytes).ok()??;
    let mut rest = bytes.get(width..width + length)?;
    while let Some((&identifier, value)) = rest.split_first() {
        let string = || value.first_chunk::<2>().map(|length| 2 + usize::from(u16::from_be_bytes(*length)));
        let skipped = match identifier {
            0x21 => return value.first_chunk::<2>().map(|maximum| u16::from_be_bytes(*maximum)),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => string()?,
            0x26 => {
                let name = string()?;
                let length = value.get(name..)?.first_chunk::<2>()?;
                name + 2 + usize::from(u16::from_be_bytes(*length))
            }
            _ => return None,
        };
        rest = value.get(skipped..)?;
    }
    None
}

/// How many Topic Filters a SUBSCRIBE or UNSUBSCRIBE packet lists.
pub fn count_filters(frame: &Frame<'_>, version: u8) -> Option<usize> {
    let mut rest = frame.body.get(2..)?;
    if version == 5 {
        let (length, width) = variable_byte_integer(rest).ok()??;
        rest = rest.get(width + length..)?;
    }
    let options = usize::from(frame.first == SUBSCRIBE);
    let mut filters = 0;
    while let Some(length) = rest.first_chunk::<2>() {
        rest = rest.get(2 + usize::from(u16::from_be_bytes(*length)) + options..)?;
        filters += 1;
    }
    Some(filters)
}
