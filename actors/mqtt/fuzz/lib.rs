//! What must hold for any bytes: decoding does not panic, one by one and all at once are the same, and what
//! decodes can be encoded and decodes to the same packet again. The modules hold what must hold for whole sessions;
//! `tests/session` plays them with scripts that no coverage guides.

pub mod hostile;
pub mod lossy;
pub mod script;

use bytes::BytesMut;
use mqtt::codec::{DecodeLimits, decode, decode_all, encode, encoded_len};
use mqtt::{Packet, ProtocolVersion};

const LIMITS: DecodeLimits = DecodeLimits { packet_bytes_max: 1 << 20, control_bytes_max: 1 << 20 };

/// Decodes arbitrary bytes and checks the above.
pub fn check(version: ProtocolVersion, bytes: &[u8]) {
    let mut packets: Vec<Packet> = Vec::new();
    let mut buffer = BytesMut::from(bytes);
    let result = loop {
        match decode(&mut buffer, version, &LIMITS) {
            Ok(Some(packet)) => {
                encode_again(version, &packet);
                packets.push(packet);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let (mut all, mut buffer_of_all) = (Vec::new(), BytesMut::from(bytes));
    assert_eq!(decode_all(&mut buffer_of_all, version, &LIMITS, &mut all), result);
    assert_eq!(all, packets);
    if result.is_ok() {
        assert_eq!(buffer_of_all, buffer, "the same tail is left");
    }
}

fn encode_again(version: ProtocolVersion, packet: &Packet) {
    let mut buffer = BytesMut::new();
    encode(packet, version, &mut buffer).expect("what was accepted can be sent");
    assert_eq!(buffer.len(), encoded_len(packet, version));
    let again = decode(&mut buffer, version, &DecodeLimits::default());
    assert_eq!(again.as_ref(), Ok(&Some(packet.clone())));
    assert!(buffer.is_empty());
}
