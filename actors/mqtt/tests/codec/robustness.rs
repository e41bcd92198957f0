//! Whatever bytes come, nothing panics, nothing is read beyond the packet, and what is accepted can be sent.

use bytes::BytesMut;
use mqtt::codec::{DecodeLimits, decode, decode_all, encode};
use mqtt::fixed_header::FixedHeader;
use mqtt::{DecodeError, Packet, ProtocolVersion};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::packets::packet;

const LIMITS: DecodeLimits = DecodeLimits { packet_bytes_max: 1 << 20, control_bytes_max: 1 << 20 };

/// One change to the bytes of a valid packet.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Truncate),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match mutation {
            Mutation::Set(at, byte) => bytes[at.index(len)] = *byte,
            Mutation::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Mutation::Remove(at) => drop(bytes.remove(at.index(len))),
            Mutation::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Mutation::Truncate(at) => bytes.truncate(at.index(len)),
        }
    }
    bytes
}

fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop_oneof![Just(ProtocolVersion::V311), Just(ProtocolVersion::V5)]
}

/// Bytes of valid packets with a few changes, as often as not with the Remaining Length set right again.
fn nearly_valid() -> impl Strategy<Value = (ProtocolVersion, Vec<u8>)> {
    let changed = |version| (Just(version), vec(packet(version), 1..4), vec(mutation(), 0..4), any::<bool>());
    version().prop_flat_map(changed).prop_map(|(version, packets, mutations, repair)| {
        let mut bytes = Vec::new();
        for packet in &packets {
            let mut encoded = BytesMut::new();
            encode(packet, version, &mut encoded).expect("a valid packet");
            let header_len = FixedHeader::parse(&encoded).ok().flatten().map_or(0, |(_, len)| len);
            if repair && encoded.len() < 100 {
                let body = mutate(encoded[header_len..].to_vec(), &mutations);
                bytes.extend([encoded[0], body.len() as u8]);
                bytes.extend(body);
            } else {
                bytes.extend(mutate(encoded.to_vec(), &mutations));
            }
        }
        (version, bytes)
    })
}

/// Decodes one by one and checks each step.
fn decode_each(version: ProtocolVersion, bytes: &[u8]) -> (Vec<Packet>, Result<(), DecodeError>) {
    let mut buffer = BytesMut::from(bytes);
    let mut packets = Vec::new();
    loop {
        let before = buffer.clone();
        let decoded = decode(&mut buffer, version, &LIMITS);
        let consumed = before.len() - buffer.len();
        match decoded {
            Ok(None) => {
                assert_eq!(consumed, 0, "an incomplete packet stays");
                return (packets, Ok(()));
            }
            Ok(Some(packet)) => {
                assert_eq!(Some(consumed), packet_len(&before), "one packet is consumed");
                encode_again(version, &packet);
                packets.push(packet);
            }
            Err(error) => {
                assert!(consumed <= packet_len(&before).unwrap_or(0), "nothing behind the packet");
                return (packets, Err(error));
            }
        }
    }
}

fn packet_len(bytes: &[u8]) -> Option<usize> {
    let (header, header_len) = FixedHeader::parse(bytes).ok()??;
    Some(header_len + header.remaining_length)
}

/// What was accepted can be sent, and is then the same packet.
fn encode_again(version: ProtocolVersion, packet: &Packet) {
    let mut buffer = BytesMut::new();
    assert_eq!(encode(packet, version, &mut buffer), Ok(()), "{packet:?}");
    assert_eq!(decode(&mut buffer, version, &DecodeLimits::default()).as_ref(), Ok(&Some(packet.clone())));
}

fn check(version: ProtocolVersion, bytes: &[u8]) {
    let (packets, result) = decode_each(version, bytes);
    let (mut buffer, mut all) = (BytesMut::from(bytes), Vec::new());
    assert_eq!(decode_all(&mut buffer, version, &LIMITS, &mut all), result);
    assert_eq!(all, packets, "one by one and all at once are the same");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_bytes_do_no_harm(version in version(), bytes in vec(any::<u8>(), 0..80)) {
        check(version, &bytes);
    }

    #[test]
    fn arbitrary_bodies_do_no_harm(
        version in version(),
        packet_type in 1..16_u8,
        body in vec(prop_oneof![any::<u8>(), 0..4_u8], 0..60),
    ) {
        let flags = if matches!(packet_type, 6 | 8 | 10) { 2 } else { 0 };
        let mut bytes = vec![packet_type << 4 | flags, body.len() as u8];
        bytes.extend(&body);
        check(version, &bytes);
    }

    #[test]
    fn nearly_valid_packets_do_no_harm((version, bytes) in nearly_valid()) {
        check(version, &bytes);
        let other = if version.is_v5() { ProtocolVersion::V311 } else { ProtocolVersion::V5 };
        check(other, &bytes);
    }
}
