//! mqttbytes reads what is written here, writes it again, and that is read here as the same packet: for the
//! packets that it handles as the standard says.

use bytes::{Bytes, BytesMut};
use mqtt::codec::{DecodeLimits, decode, encode};
use mqtt::packet::{Acknowledgement, ConnAck, Publish, SubAck};
use mqtt::{Packet, PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicName};
use mqttbytes::{v4, v5};
use proptest::prelude::*;

use crate::packets::packet;

const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;

fn encoded(packet: &Packet, version: ProtocolVersion) -> BytesMut {
    let mut buffer = BytesMut::new();
    encode(packet, version, &mut buffer).expect("a valid packet");
    buffer
}

fn decoded(mut buffer: BytesMut, version: ProtocolVersion) -> Packet {
    let packet = decode(&mut buffer, version, &DecodeLimits::default());
    assert!(buffer.is_empty());
    packet.expect("what mqttbytes wrote is valid").expect("and complete")
}

fn rewritten_v4(mut buffer: BytesMut) -> BytesMut {
    let mut out = BytesMut::new();
    let written = match v4::read(&mut buffer, usize::MAX).expect("mqttbytes reads it") {
        v4::Packet::ConnAck(packet) => packet.write(&mut out),
        v4::Packet::Publish(packet) => packet.write(&mut out),
        v4::Packet::PubAck(packet) => packet.write(&mut out),
        v4::Packet::PubRec(packet) => packet.write(&mut out),
        v4::Packet::PubRel(packet) => packet.write(&mut out),
        v4::Packet::PubComp(packet) => packet.write(&mut out),
        v4::Packet::Subscribe(packet) => packet.write(&mut out),
        v4::Packet::SubAck(packet) => packet.write(&mut out),
        v4::Packet::Unsubscribe(packet) => packet.write(&mut out),
        v4::Packet::UnsubAck(packet) => packet.write(&mut out),
        v4::Packet::PingReq => v4::PingReq.write(&mut out),
        v4::Packet::PingResp => v4::PingResp.write(&mut out),
        v4::Packet::Disconnect => v4::Disconnect.write(&mut out),
        other => panic!("not compared: {other:?}"),
    };
    written.expect("mqttbytes writes it");
    out
}

fn rewritten_v5(mut buffer: BytesMut) -> BytesMut {
    let mut out = BytesMut::new();
    let written = match v5::read(&mut buffer, usize::MAX).expect("mqttbytes reads it") {
        v5::Packet::ConnAck(packet) => packet.write(&mut out),
        v5::Packet::Publish(packet) => packet.write(&mut out),
        v5::Packet::PubAck(packet) => packet.write(&mut out),
        v5::Packet::PubRec(packet) => packet.write(&mut out),
        v5::Packet::PubRel(packet) => packet.write(&mut out),
        v5::Packet::PubComp(packet) => packet.write(&mut out),
        v5::Packet::Subscribe(packet) => packet.write(&mut out),
        v5::Packet::SubAck(packet) => packet.write(&mut out),
        v5::Packet::UnsubAck(packet) => packet.write(&mut out),
        v5::Packet::Disconnect(packet) => packet.write(&mut out),
        v5::Packet::PingReq => v5::PingReq.write(&mut out),
        v5::Packet::PingResp => v5::PingResp.write(&mut out),
        other => panic!("not compared: {other:?}"),
    };
    written.expect("mqttbytes writes it");
    out
}

/// mqttbytes cannot read a binary password and takes an empty user name for none.
fn is_compared_in_v4(packet: &Packet) -> bool {
    !matches!(packet, Packet::Connect(_))
}

/// Besides, its UNSUBSCRIBE writes to standard error, it knows neither AUTH nor an empty DISCONNECT, loses the
/// reason of a DISCONNECT without properties, forgets the Property Length of a CONNACK without properties, and
/// miscounts several Subscription Identifiers.
fn is_compared_in_v5(packet: &Packet) -> bool {
    match packet {
        Packet::Connect(_) | Packet::Unsubscribe(_) | Packet::Auth(_) => false,
        Packet::ConnAck(connack) => !connack.properties.is_empty(),
        Packet::Disconnect(disconnect) => !disconnect.properties.is_empty(),
        Packet::Publish(publish) => publish.properties.subscription_identifiers().next().is_none(),
        _ => true,
    }
}

/// mqttbytes writes properties in an order of its own, which the standard allows.
fn sorted(properties: &Properties) -> Vec<String> {
    let mut list: Vec<String> = properties.iter().map(|property| format!("{property:?}")).collect();
    list.sort();
    list
}

/// The packet without its properties, and these in a fixed order.
fn parts(mut packet: Packet) -> (Packet, Vec<String>) {
    let properties = match &mut packet {
        Packet::ConnAck(packet) => std::mem::take(&mut packet.properties),
        Packet::Publish(packet) => std::mem::take(&mut packet.properties),
        Packet::PubAck(packet)
        | Packet::PubRec(packet)
        | Packet::PubRel(packet)
        | Packet::PubComp(packet) => std::mem::take(&mut packet.properties),
        Packet::Subscribe(packet) => std::mem::take(&mut packet.properties),
        Packet::SubAck(packet) => std::mem::take(&mut packet.properties),
        Packet::UnsubAck(packet) => std::mem::take(&mut packet.properties),
        Packet::Disconnect(packet) => std::mem::take(&mut packet.properties),
        _ => Properties::default(),
    };
    let properties = sorted(&properties);
    (packet, properties)
}

proptest! {
    #[test]
    fn mqttbytes_agrees_on_3_1_1(packet in packet(V311).prop_filter("compared", is_compared_in_v4)) {
        let ours = encoded(&packet, V311);
        let theirs = rewritten_v4(ours.clone());
        prop_assert_eq!(&theirs, &ours);
        prop_assert_eq!(decoded(theirs, V311), packet);
    }

    #[test]
    fn mqttbytes_agrees_on_5_0(packet in packet(V5).prop_filter("compared", is_compared_in_v5)) {
        let theirs = rewritten_v5(encoded(&packet, V5));
        prop_assert_eq!(parts(decoded(theirs, V5)), parts(packet));
    }
}

fn publish() -> Publish {
    Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic_name: Some(TopicName::new("a/b").expect("a topic name")),
        packet_id: PacketId::new(0x1234),
        properties: Properties::default(),
        payload: Bytes::from_static(b"payload"),
    }
}

#[test]
fn mqttbytes_sees_the_fields_of_3_1_1_where_they_were_put() {
    let read = |packet: &Packet| v4::read(&mut encoded(packet, V311), usize::MAX).unwrap();
    match read(&Packet::Publish(publish())) {
        v4::Packet::Publish(read) => {
            assert_eq!((read.dup, read.retain, read.pkid), (true, true, 0x1234));
            assert_eq!((read.qos, read.topic.as_str()), (mqttbytes::QoS::AtLeastOnce, "a/b"));
            assert_eq!(&read.payload[..], b"payload");
        }
        other => panic!("{other:?}"),
    }
    let packet_id = PacketId::new(9).unwrap();
    let properties = Properties::default();
    let reason_codes = vec![ReasonCode::GrantedQoS2, ReasonCode::UnspecifiedError];
    let expected =
        vec![v4::SubscribeReasonCode::Success(mqttbytes::QoS::ExactlyOnce), v4::SubscribeReasonCode::Failure];
    match read(&Packet::SubAck(SubAck { packet_id, properties, reason_codes })) {
        v4::Packet::SubAck(read) => assert_eq!((read.pkid, read.return_codes), (9, expected)),
        other => panic!("{other:?}"),
    }
    match read(&Packet::PubAck(Acknowledgement::success(packet_id))) {
        v4::Packet::PubAck(read) => assert_eq!(read.pkid, 9),
        other => panic!("{other:?}"),
    }
}

#[test]
fn mqttbytes_sees_the_fields_of_5_0_where_they_were_put() {
    let read = |packet: &Packet| v5::read(&mut encoded(packet, V5), usize::MAX).unwrap();
    let of_publish = [Property::TopicAlias(3), Property::MessageExpiryInterval(77)];
    let with_properties =
        Publish { properties: Properties::from_properties(of_publish).unwrap(), ..publish() };
    match read(&Packet::Publish(with_properties)) {
        v5::Packet::Publish(read) => {
            assert_eq!((read.dup, read.retain, read.pkid), (true, true, 0x1234));
            assert_eq!((read.qos, read.topic.as_str()), (mqttbytes::QoS::AtLeastOnce, "a/b"));
            let properties = read.properties.unwrap();
            assert_eq!((properties.topic_alias, properties.message_expiry_interval), (Some(3), Some(77)));
            assert_eq!(&read.payload[..], b"payload");
        }
        other => panic!("{other:?}"),
    }
    let of_connack = [Property::ReceiveMaximum(5), Property::AssignedClientIdentifier("id".into())];
    let connack = ConnAck {
        session_present: true,
        reason_code: ReasonCode::Success,
        properties: Properties::from_properties(of_connack).unwrap(),
    };
    match read(&Packet::ConnAck(Box::new(connack))) {
        v5::Packet::ConnAck(read) => {
            let properties = read.properties.unwrap();
            assert!(read.session_present && read.code == v5::ConnectReturnCode::Success);
            assert_eq!(properties.receive_max, Some(5));
            assert_eq!(properties.assigned_client_identifier.as_deref(), Some("id"));
        }
        other => panic!("{other:?}"),
    }
}
