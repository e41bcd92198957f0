//! What is written is read again, in one piece or in many.

use bytes::BytesMut;
use mqtt::codec::{DecodeLimits, decode, decode_all, encode, encoded_len};
use mqtt::{Packet, ProtocolVersion};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::packets::packet;

fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop_oneof![Just(ProtocolVersion::V311), Just(ProtocolVersion::V5)]
}

fn one() -> impl Strategy<Value = (ProtocolVersion, Packet)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

fn many() -> impl Strategy<Value = (ProtocolVersion, Vec<Packet>)> {
    version().prop_flat_map(|version| (Just(version), vec(packet(version), 0..8)))
}

proptest! {
    #[test]
    fn a_packet_is_read_as_it_was_written((version, packet) in one()) {
        let mut buffer = BytesMut::new();
        prop_assert_eq!(encode(&packet, version, &mut buffer), Ok(()));
        prop_assert_eq!(buffer.len(), encoded_len(&packet, version));
        // The limit is met exactly, and missed by one.
        let limits = DecodeLimits { packet_bytes_max: buffer.len() - 1, ..DecodeLimits::default() };
        prop_assert!(decode(&mut buffer.clone(), version, &limits).is_err());
        let limits = DecodeLimits { packet_bytes_max: buffer.len(), ..DecodeLimits::default() };
        prop_assert_eq!(decode(&mut buffer, version, &limits), Ok(Some(packet)));
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn a_packet_that_comes_byte_by_byte_is_read_with_its_last_byte((version, packet) in one()) {
        let mut encoded = BytesMut::new();
        prop_assert_eq!(encode(&packet, version, &mut encoded), Ok(()));
        let (last, first) = encoded.split_last().expect("no packet is empty");
        let mut buffer = BytesMut::new();
        for byte in first {
            buffer.extend_from_slice(&[*byte]);
            prop_assert_eq!(decode(&mut buffer, version, &DecodeLimits::default()), Ok(None));
        }
        buffer.extend_from_slice(&[*last]);
        prop_assert_eq!(decode(&mut buffer, version, &DecodeLimits::default()), Ok(Some(packet)));
    }

    #[test]
    fn a_stream_is_read_alike_however_it_is_cut(
        (version, packets) in many(),
        cuts in vec(1..200_usize, 1..20),
    ) {
        let mut encoded = BytesMut::new();
        for packet in &packets {
            prop_assert_eq!(encode(packet, version, &mut encoded), Ok(()));
        }
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            if encoded.is_empty() {
                break;
            }
            buffer.extend_from_slice(&encoded.split_to((*cut).min(encoded.len())));
            let decoded = decode_all(&mut buffer, version, &DecodeLimits::default(), &mut read);
            prop_assert_eq!(decoded, Ok(()));
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(read, packets);
    }
}
