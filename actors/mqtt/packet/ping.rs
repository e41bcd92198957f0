//! PINGREQ and PINGRESP: two packets without a body (MQTT 5.0 sections 3.12 and 3.13).

use bytes::BytesMut;

use crate::fixed_header::PacketType;

/// Appends PINGREQ.
pub fn encode_request(buffer: &mut BytesMut) {
    buffer.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
}

/// Appends PINGRESP.
pub fn encode_response(buffer: &mut BytesMut) {
    buffer.extend_from_slice(&[PacketType::PingResp.first_byte(), 0]);
}

#[cfg(test)]
mod tests {
    use crate::Packet;
    use crate::packet::table::{V5, V311, bad, good, malformed};

    #[test]
    fn pings_are_two_bytes_in_both_versions() {
        for version in [V311, V5] {
            good(version, "PINGREQ", "C0:", &Packet::PingReq);
            good(version, "PINGRESP", "D0:", &Packet::PingResp);
            bad(version, "PINGREQ with a body", "C0: 00", malformed("bytes behind the last field"));
            bad(version, "PINGRESP with a body", "D0: 00", malformed("bytes behind the last field"));
            let flags = malformed("the flags of the fixed header are reserved");
            bad(version, "PINGREQ with a flag", "C1:", flags);
            bad(version, "PINGRESP with a flag", "D8:", flags);
            bad(version, "packet type 0", "00:", malformed("the packet type is 0"));
        }
    }
}
