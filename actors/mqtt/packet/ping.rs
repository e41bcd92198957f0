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
