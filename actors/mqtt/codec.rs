//! Bytes to Control Packets and back.

use bytes::{Bytes, BytesMut};

use crate::fixed_header::{FixedHeader, PacketType};
use crate::packet::acknowledgement::AcknowledgementKind;
use crate::packet::publish::PublishLayout;
use crate::packet::{
    Acknowledgement, Auth, ConnAck, Connect, Disconnect, Packet, Publish, SubAck, Subscribe, UnsubAck,
    Unsubscribe, ping,
};
use crate::wire::{Reader, variable_byte_integer_len};
use crate::{DecodeError, EncodeError, ProtocolVersion};

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The most bytes of a whole packet, fixed header included: the Maximum Packet Size that was announced.
    pub packet_bytes_max: usize,
    /// The same for every packet but PUBLISH, where that is less.
    pub control_bytes_max: usize,
}

impl Default for DecodeLimits {
    /// Everything that the wire format can say.
    fn default() -> DecodeLimits {
        DecodeLimits { packet_bytes_max: usize::MAX, control_bytes_max: usize::MAX }
    }
}

/// Takes one packet from the front of the buffer; `Ok(None)` when more bytes are needed.
///
/// CONNECT brings its own version; `version` is for all other packets. The fixed header alone decides about
/// the limit and the packet type, before any byte of the body is waited for. After an error the connection is
/// lost, and what the buffer then holds has no meaning; nothing behind the packet was looked at.
pub fn decode(
    buffer: &mut BytesMut,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Option<Packet>, DecodeError> {
    let Some((header, header_len)) = parse_header(buffer, version, limits)? else {
        return Ok(None);
    };
    let packet_len = header_len + header.remaining_length;
    if buffer.len() < packet_len {
        return Ok(None);
    }
    let bytes = buffer.split_to(packet_len).freeze();
    let mut reader = Reader::of_range(&bytes, header_len..packet_len);
    decode_body(header, &mut reader, version).map(Some)
}

/// Takes all complete packets from the front of the buffer and appends them to `packets`; an incomplete one
/// stays in the buffer. The bytes are shared by all packets, none is copied.
///
/// On an error the packets before the bad one are still appended; those behind it are lost with the connection.
pub fn decode_all(
    buffer: &mut BytesMut,
    version: ProtocolVersion,
    limits: &DecodeLimits,
    packets: &mut Vec<Packet>,
) -> Result<(), DecodeError> {
    decode_some(buffer, version, limits, packets, usize::MAX).map(|_| ())
}

/// As [`decode_all`], but takes `count_max` packets at most. Answers whether there may be more complete ones.
///
/// # Errors
/// As [`decode_all`].
pub fn decode_some(
    buffer: &mut BytesMut,
    version: ProtocolVersion,
    limits: &DecodeLimits,
    packets: &mut Vec<Packet>,
    count_max: usize,
) -> Result<bool, DecodeError> {
    let Complete { bytes: complete, is_cut, header_error } = complete(buffer, version, limits, count_max);
    if complete > 0 {
        let bytes = buffer.split_to(complete).freeze();
        decode_complete(&bytes, version, packets)?;
    }
    header_error.map_or(Ok(is_cut), Err)
}

/// What stands at the front of a buffer.
struct Complete {
    /// How many bytes are complete packets.
    bytes: usize,
    /// Whether others stand behind them that were not looked at.
    is_cut: bool,
    /// What is wrong with the header of the packet behind them.
    header_error: Option<DecodeError>,
}

fn complete(buffer: &[u8], version: ProtocolVersion, limits: &DecodeLimits, count_max: usize) -> Complete {
    let mut bytes = 0;
    for _ in 0..count_max {
        match parse_header(&buffer[bytes..], version, limits) {
            Ok(Some((header, header_len))) => {
                let end = bytes + header_len + header.remaining_length;
                if end > buffer.len() {
                    return Complete { bytes, is_cut: false, header_error: None };
                }
                bytes = end;
            }
            Ok(None) => return Complete { bytes, is_cut: false, header_error: None },
            Err(error) => return Complete { bytes, is_cut: false, header_error: Some(error) },
        }
    }
    Complete { bytes, is_cut: bytes < buffer.len(), header_error: None }
}

fn decode_complete(
    bytes: &Bytes,
    version: ProtocolVersion,
    packets: &mut Vec<Packet>,
) -> Result<(), DecodeError> {
    let mut position = 0;
    while let Some((header, header_len)) = FixedHeader::parse(&bytes[position..])? {
        let body = position + header_len;
        position = body + header.remaining_length;
        let mut reader = Reader::of_range(bytes, body..position);
        // These two are nearly all of the traffic.
        match header.packet_type {
            PacketType::Publish => {
                let layout = PublishLayout::read(header.flags, &mut reader, version)?;
                // Unlike `push`, this makes room before it asks for the packet, which is so built in its place.
                packets.extend(std::iter::once_with(|| Packet::Publish(layout.build(bytes))));
            }
            PacketType::PubAck if header.remaining_length == 2 => {
                let packet_id = reader.packet_id()?;
                packets.extend(std::iter::once_with(|| Packet::PubAck(Acknowledgement::success(packet_id))));
            }
            _ => packets.push(decode_body(header, &mut reader, version)?),
        }
    }
    Ok(())
}

#[inline]
fn parse_header(
    bytes: &[u8],
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Option<(FixedHeader, usize)>, DecodeError> {
    let Some((header, header_len)) = FixedHeader::parse(bytes)? else {
        return Ok(None);
    };
    let packet_bytes = header_len + header.remaining_length;
    let packet_bytes_max = match header.packet_type {
        PacketType::Publish => limits.packet_bytes_max,
        _ => limits.packet_bytes_max.min(limits.control_bytes_max),
    };
    if packet_bytes > packet_bytes_max {
        return Err(DecodeError::PacketTooLarge { packet_bytes, packet_bytes_max });
    }
    if version.is_v5() {
        // `[MQTT-1.5.5-1]`; 3.1.1 does not say that the shortest form is the only one.
        if header_len > 2 && bytes[header_len - 1] == 0 {
            return Err(DecodeError::Malformed("the remaining length is longer than it needs to be"));
        }
    } else if header.packet_type == PacketType::Auth {
        return Err(DecodeError::Malformed("packet type 15 is reserved in 3.1.1"));
    }
    Ok(Some((header, header_len)))
}

#[inline]
fn decode_body(
    header: FixedHeader,
    reader: &mut Reader<'_>,
    version: ProtocolVersion,
) -> Result<Packet, DecodeError> {
    let acknowledgement = |kind, reader: &mut Reader<'_>| Acknowledgement::decode(kind, reader, version);
    Ok(match header.packet_type {
        PacketType::Publish => Packet::Publish(Publish::decode(header.flags, reader, version)?),
        PacketType::PubAck => Packet::PubAck(acknowledgement(AcknowledgementKind::PubAck, reader)?),
        PacketType::PubRec => Packet::PubRec(acknowledgement(AcknowledgementKind::PubRec, reader)?),
        PacketType::PubRel => Packet::PubRel(acknowledgement(AcknowledgementKind::PubRel, reader)?),
        PacketType::PubComp => Packet::PubComp(acknowledgement(AcknowledgementKind::PubComp, reader)?),
        PacketType::Connect => Packet::Connect(Box::new(Connect::decode(reader)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck::decode(reader, version)?)),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(reader, version)?),
        PacketType::SubAck => Packet::SubAck(SubAck::decode(reader, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(reader, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(reader, version)?),
        PacketType::PingReq => {
            reader.finish()?;
            Packet::PingReq
        }
        PacketType::PingResp => {
            reader.finish()?;
            Packet::PingResp
        }
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(reader, version)?),
        PacketType::Auth => Packet::Auth(Auth::decode(reader)?),
    })
}

/// Appends a packet to the buffer, which is left as it was on an error. CONNECT is written in its own
/// `protocol_version`.
pub fn encode(packet: &Packet, version: ProtocolVersion, buffer: &mut BytesMut) -> Result<(), EncodeError> {
    match packet {
        Packet::Publish(publish) => publish.encode(version, buffer),
        Packet::PubAck(packet) => packet.encode(AcknowledgementKind::PubAck, version, buffer),
        Packet::PubRec(packet) => packet.encode(AcknowledgementKind::PubRec, version, buffer),
        Packet::PubRel(packet) => packet.encode(AcknowledgementKind::PubRel, version, buffer),
        Packet::PubComp(packet) => packet.encode(AcknowledgementKind::PubComp, version, buffer),
        Packet::PingReq => {
            ping::encode_request(buffer);
            Ok(())
        }
        Packet::PingResp => {
            ping::encode_response(buffer);
            Ok(())
        }
        _ => {
            let start = buffer.len();
            let body_len = body_len(packet, version);
            let written =
                FixedHeader::write(buffer, packet.packet_type().first_byte(), body_len).and_then(|()| {
                    buffer.reserve(body_len);
                    write_body(packet, version, buffer)
                });
            if written.is_err() {
                buffer.truncate(start);
            }
            written
        }
    }
}

/// The length of the whole packet that [`encode`] writes.
pub fn encoded_len(packet: &Packet, version: ProtocolVersion) -> usize {
    match packet {
        Packet::Publish(publish) => publish.encoded_len(version),
        Packet::PubAck(acknowledgement)
        | Packet::PubRec(acknowledgement)
        | Packet::PubRel(acknowledgement)
        | Packet::PubComp(acknowledgement) => acknowledgement.encoded_len(version),
        _ => {
            let body_len = body_len(packet, version);
            1 + variable_byte_integer_len(body_len) + body_len
        }
    }
}

/// The Remaining Length of a packet that is built by [`write_body`].
fn body_len(packet: &Packet, version: ProtocolVersion) -> usize {
    match packet {
        Packet::Connect(connect) => connect.body_len(),
        Packet::ConnAck(connack) => connack.body_len(version),
        Packet::Subscribe(subscribe) => subscribe.body_len(version),
        Packet::SubAck(suback) => suback.body_len(version),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.body_len(version),
        Packet::UnsubAck(unsuback) => unsuback.body_len(version),
        Packet::Disconnect(disconnect) => disconnect.body_len(version),
        Packet::Auth(auth) => auth.body_len(),
        // These have encoders of their own, without a body to measure first.
        Packet::PingReq
        | Packet::PingResp
        | Packet::Publish(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_) => 0,
    }
}

fn write_body(packet: &Packet, version: ProtocolVersion, buffer: &mut BytesMut) -> Result<(), EncodeError> {
    match packet {
        Packet::Connect(connect) => connect.write_body(buffer),
        Packet::ConnAck(connack) => connack.write_body(version, buffer),
        Packet::Subscribe(subscribe) => subscribe.write_body(version, buffer),
        Packet::SubAck(suback) => suback.write_body(version, buffer),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write_body(version, buffer),
        Packet::UnsubAck(unsuback) => unsuback.write_body(version, buffer),
        Packet::Disconnect(disconnect) => disconnect.write_body(version, buffer),
        Packet::Auth(auth) if version.is_v5() => auth.write_body(buffer),
        Packet::Auth(_) => Err(EncodeError::NotInThisVersion("AUTH")),
        Packet::PingReq
        | Packet::PingResp
        | Packet::Publish(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::table::{V5, V311, bytes, malformed};

    fn limits(packet_bytes_max: usize) -> DecodeLimits {
        DecodeLimits { packet_bytes_max, ..DecodeLimits::default() }
    }

    #[test]
    fn the_limit_counts_the_whole_packet_and_does_not_wait_for_it() {
        let publish = bytes("30: <a> 'hello'");
        let mut buffer = BytesMut::from(&publish[..]);
        assert!(matches!(decode(&mut buffer, V311, &limits(10)), Ok(Some(_))));
        let too_large = DecodeError::PacketTooLarge { packet_bytes: 10, packet_bytes_max: 9 };
        let mut buffer = BytesMut::from(&publish[..2]);
        assert_eq!(decode(&mut buffer, V311, &limits(9)), Err(too_large));
        assert_eq!(decode_all(&mut buffer, V311, &limits(9), &mut Vec::new()), Err(too_large));
        let mut greatest = BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F][..]);
        let error = DecodeError::PacketTooLarge { packet_bytes: 268_435_460, packet_bytes_max: 1024 };
        assert_eq!(decode(&mut greatest, V5, &limits(1024)), Err(error));
    }

    #[test]
    fn all_complete_packets_are_taken_and_the_tail_stays() {
        let mut buffer = BytesMut::new();
        for notation in ["30: <a> 'x'", "C0:", "40: 0001"] {
            buffer.extend_from_slice(&bytes(notation));
        }
        buffer.extend_from_slice(&[0x30, 0x05, 0x00]);
        let mut packets = Vec::new();
        assert_eq!(decode_all(&mut buffer, V311, &DecodeLimits::default(), &mut packets), Ok(()));
        let types: Vec<PacketType> = packets.iter().map(Packet::packet_type).collect();
        assert_eq!(types, [PacketType::Publish, PacketType::PingReq, PacketType::PubAck]);
        assert_eq!(&buffer[..], [0x30, 0x05, 0x00]);
        buffer.extend_from_slice(&[0x01, b'a', b'y', b'z']);
        assert_eq!(decode_all(&mut buffer, V311, &DecodeLimits::default(), &mut packets), Ok(()));
        assert_eq!((packets.len(), buffer.len()), (4, 0));
    }

    #[test]
    fn packets_before_a_bad_header_are_read() {
        let mut buffer = BytesMut::from(&[0xC0, 0x00, 0x00][..]);
        let mut packets = Vec::new();
        let decoded = decode_all(&mut buffer, V5, &DecodeLimits::default(), &mut packets);
        assert_eq!((decoded, packets.len()), (Err(malformed("the packet type is 0")), 1));
    }

    #[test]
    fn only_5_0_insists_on_the_shortest_remaining_length() {
        let overlong = malformed("the remaining length is longer than it needs to be");
        let mut buffer = BytesMut::from(&[0xC0, 0x80, 0x00][..]);
        assert_eq!(decode(&mut buffer, V5, &DecodeLimits::default()), Err(overlong));
        assert_eq!(decode(&mut buffer, V311, &DecodeLimits::default()), Ok(Some(Packet::PingReq)));
    }

    #[test]
    fn some_packets_are_taken_and_the_others_stay_bytes() {
        let mut buffer = BytesMut::from(&[0xC0, 0].repeat(5)[..]);
        buffer.extend_from_slice(&[0xC0]);
        let (version, limits) = (ProtocolVersion::V5, DecodeLimits::default());
        let mut packets = Vec::new();
        assert_eq!(decode_some(&mut buffer, version, &limits, &mut packets, 3), Ok(true));
        assert_eq!((packets.len(), buffer.len()), (3, 5));
        assert_eq!(decode_some(&mut buffer, version, &limits, &mut packets, 3), Ok(false));
        assert_eq!((packets.len(), buffer.len()), (5, 1));
        buffer.extend_from_slice(&[0]);
        assert_eq!(decode_some(&mut buffer, version, &limits, &mut packets, 1), Ok(false), "nothing is left");
    }

    #[test]
    fn packets_other_than_publish_may_have_a_limit_of_their_own() {
        let limits = DecodeLimits { packet_bytes_max: 1_000, control_bytes_max: 100 };
        let decoded = |first: u8| {
            let mut buffer = BytesMut::from(&[first, 0xF4, 0x03][..]);
            decode(&mut buffer, ProtocolVersion::V5, &limits)
        };
        assert_eq!(decoded(0x30), Ok(None));
        let too_large = DecodeError::PacketTooLarge { packet_bytes: 503, packet_bytes_max: 100 };
        for first in [0x10, 0x82, 0xA2, 0xE0] {
            assert_eq!(decoded(first), Err(too_large));
        }
    }
}
