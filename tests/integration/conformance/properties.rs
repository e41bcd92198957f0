//! Chapter 2.2.2: which properties MQTT 5.0 packets may have, once or more often, and with which values.

use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Publish, frame, kind, property};
use crate::support::refusals::{
    connect_bytes, expect_end_of, field, property_block, reason, refused_connect,
};
use crate::support::shared;
use crate::support::wire::Wire;

const V5: Version = Version::V5;

/// Every property of MQTT 5.0 with a good value.
const ALL: &[&[u8]] = &[
    &[property::PAYLOAD_FORMAT, 1],
    &[property::MESSAGE_EXPIRY, 0, 0, 0, 9],
    &[property::CONTENT_TYPE, 0, 1, b'a'],
    &[property::RESPONSE_TOPIC, 0, 1, b'a'],
    &[property::CORRELATION_DATA, 0, 1, 0],
    &[property::SUBSCRIPTION_ID, 1],
    &[property::SESSION_EXPIRY, 0, 0, 0, 9],
    &[property::ASSIGNED_CLIENT_ID, 0, 1, b'a'],
    &[property::SERVER_KEEP_ALIVE, 0, 9],
    &[property::AUTHENTICATION_METHOD, 0, 1, b'a'],
    &[property::AUTHENTICATION_DATA, 0, 1, 0],
    &[property::REQUEST_PROBLEM_INFORMATION, 1],
    &[property::WILL_DELAY, 0, 0, 0, 9],
    &[property::REQUEST_RESPONSE_INFORMATION, 1],
    &[property::RESPONSE_INFORMATION, 0, 1, b'a'],
    &[property::SERVER_REFERENCE, 0, 1, b'a'],
    &[property::REASON_STRING, 0, 1, b'a'],
    &[property::RECEIVE_MAXIMUM, 0, 9],
    &[property::TOPIC_ALIAS_MAXIMUM, 0, 9],
    &[property::TOPIC_ALIAS, 0, 1],
    &[property::MAXIMUM_QOS, 1],
    &[property::RETAIN_AVAILABLE, 1],
    &[property::USER, 0, 1, b'a', 0, 1, b'b'],
    &[property::MAXIMUM_PACKET_SIZE, 0, 1, 0, 0],
    &[property::WILDCARD_AVAILABLE, 1],
    &[property::SUBSCRIPTION_ID_AVAILABLE, 1],
    &[property::SHARED_AVAILABLE, 1],
];

/// A packet that a client may send and the properties that it may have.
struct Holder {
    name: &'static str,
    allowed: &'static [u8],
    with: fn(&[u8]) -> Vec<u8>,
    is_connect: bool,
}

const fn holder(name: &'static str, allowed: &'static [u8], with: fn(&[u8]) -> Vec<u8>) -> Holder {
    Holder { name, allowed, with, is_connect: false }
}

/// An acknowledgement with a Reason Code of 0 and these properties.
fn ack(first: u8, properties: &[u8]) -> Vec<u8> {
    frame(first, &[&[0, 9, 0], &property_block(V5, properties)[..]].concat())
}

const ACK: &[u8] = &[property::REASON_STRING, property::USER];

const HOLDERS: &[Holder] = &[
    Holder {
        name: "CONNECT",
        allowed: &[
            property::SESSION_EXPIRY,
            property::AUTHENTICATION_METHOD,
            property::REQUEST_PROBLEM_INFORMATION,
            property::REQUEST_RESPONSE_INFORMATION,
            property::RECEIVE_MAXIMUM,
            property::TOPIC_ALIAS_MAXIMUM,
            property::USER,
            property::MAXIMUM_PACKET_SIZE,
        ],
        with: |properties| connect_bytes(V5, 2, properties, &[&field(b"properties-c")]),
        is_connect: true,
    },
    Holder {
        name: "a Will",
        allowed: &[
            property::PAYLOAD_FORMAT,
            property::MESSAGE_EXPIRY,
            property::CONTENT_TYPE,
            property::RESPONSE_TOPIC,
            property::CORRELATION_DATA,
            property::WILL_DELAY,
            property::USER,
        ],
        with: |properties| {
            let will = property_block(V5, properties);
            connect_bytes(V5, 6, &[], &[&field(b"properties-w"), &will, &field(b"properties/w"), &field(b"")])
        },
        is_connect: true,
    },
    holder(
        "PUBLISH",
        &[
            property::PAYLOAD_FORMAT,
            property::MESSAGE_EXPIRY,
            property::CONTENT_TYPE,
            property::RESPONSE_TOPIC,
            property::CORRELATION_DATA,
            property::TOPIC_ALIAS,
            property::USER,
        ],
        |properties| frame(0x30, &[field(b"properties/p"), property_block(V5, properties)].concat()),
    ),
    holder("PUBACK", ACK, |properties| ack(0x40, properties)),
    holder("PUBREC", ACK, |properties| ack(0x50, properties)),
    holder("PUBREL", ACK, |properties| ack(0x62, properties)),
    holder("PUBCOMP", ACK, |properties| ack(0x70, properties)),
    holder("SUBSCRIBE", &[property::SUBSCRIPTION_ID, property::USER], |properties| {
        let block = property_block(V5, properties);
        frame(0x82, &[&[0, 9], &block[..], &field(b"properties/s"), &[0]].concat())
    }),
    holder("UNSUBSCRIBE", &[property::USER], |properties| {
        frame(0xA2, &[&[0, 9], &property_block(V5, properties)[..], &field(b"properties/s")].concat())
    }),
    holder("DISCONNECT", ACK, |properties| {
        frame(0xE0, &[&[0], &property_block(V5, properties)[..]].concat())
    }),
];

fn refuse(address: std::net::SocketAddr, holder: &Holder, what: &str, properties: &[u8]) {
    let what = format!("{what} {:#04x} in {}", properties[0], holder.name);
    let bytes = (holder.with)(properties);
    if holder.is_connect {
        refused_connect(address, V5, &what, &bytes);
    } else {
        expect_end_of(address, V5, "", &what, &bytes, reason::BROKEN);
    }
}

#[test]
fn a_property_that_belongs_elsewhere_ends_the_connection() {
    let proxy = shared::proxy();
    for holder in HOLDERS {
        // What only a server may put there, or only some may, is another test's business.
        let elsewhere = ALL.iter().filter(|property| {
            let ends = holder.name == "DISCONNECT"
                && [property::SESSION_EXPIRY, property::SERVER_REFERENCE].contains(&property[0]);
            !holder.allowed.contains(&property[0]) && !ends
        });
        for property in elsewhere {
            refuse(proxy.mqtt(), holder, "property", property);
        }
    }
}

#[test]
fn an_unknown_property_ends_the_connection() {
    let proxy = shared::proxy();
    for holder in HOLDERS {
        for id in [0x00, 0x04, 0x2B, 0x7F] {
            refuse(proxy.mqtt(), holder, "unknown property", &[id, 0, 0]);
        }
    }
}

#[test]
fn a_property_twice_ends_the_connection() {
    let proxy = shared::proxy();
    for holder in HOLDERS {
        for property in ALL {
            if holder.allowed.contains(&property[0]) && property[0] != property::USER {
                refuse(proxy.mqtt(), holder, "twice", &[*property, *property].concat());
            }
        }
    }
}

#[test]
fn a_property_that_is_cut_off_ends_the_connection() {
    let proxy = shared::proxy();
    for holder in HOLDERS {
        for property in ALL.iter().filter(|property| holder.allowed.contains(&property[0])) {
            refuse(proxy.mqtt(), holder, "cut off", &property[..property.len() - 1]);
        }
    }
}

#[test]
fn a_value_that_a_property_may_not_have_ends_the_connection() {
    let proxy = shared::proxy();
    let [connect, will, publish, ..] = HOLDERS else { panic!("there are ten kinds of packets") };
    let subscribe = HOLDERS.iter().find(|holder| holder.name == "SUBSCRIBE").expect("it is there");
    let table: &[(&Holder, &[u8])] = &[
        (connect, &[property::REQUEST_PROBLEM_INFORMATION, 2]),
        (connect, &[property::REQUEST_RESPONSE_INFORMATION, 2]),
        (connect, &[property::RECEIVE_MAXIMUM, 0, 0]),
        (connect, &[property::MAXIMUM_PACKET_SIZE, 0, 0, 0, 0]),
        // Authentication Data needs a method.
        (connect, &[property::AUTHENTICATION_DATA, 0, 1, 0]),
        (will, &[property::PAYLOAD_FORMAT, 2]),
        (publish, &[property::PAYLOAD_FORMAT, 2]),
        (subscribe, &[property::SUBSCRIPTION_ID, 0]),
    ];
    for (holder, property) in table {
        refuse(proxy.mqtt(), holder, "a value of", property);
    }
}

#[test]
fn every_property_is_taken_where_it_belongs() {
    let proxy = shared::proxy();
    for holder in HOLDERS {
        let may_stand = |property: &&&[u8]| {
            // Nobody has agreed on a method of authentication.
            holder.allowed.contains(&property[0]) && property[0] != property::AUTHENTICATION_METHOD
        };
        let mut properties: Vec<u8> = ALL.iter().filter(may_stand).copied().flatten().copied().collect();
        // User Properties may stand more than once.
        properties.extend_from_slice(&[property::USER, 0, 0, 0, 0]);
        let bytes = (holder.with)(&properties);
        if holder.is_connect {
            let mut wire = Wire::open(proxy.mqtt());
            wire.send(&bytes);
            assert_eq!(wire.packet().body[1], 0, "{} was refused", holder.name);
            continue;
        }
        let mut device = Device::connect(proxy.mqtt(), V5, "properties-good");
        device.wire.send(&bytes);
        if holder.name == "DISCONNECT" {
            device.wire.expect_close();
        } else {
            device.wire.send(&packets::PINGREQ);
            // PUBREL, SUBSCRIBE and UNSUBSCRIBE are answered before.
            let mut answers: Vec<u8> = Vec::new();
            while answers.last() != Some(&(kind::PINGREQ + 1)) {
                answers.push(device.wire.packet().kind());
                assert_ne!(answers.last(), Some(&kind::DISCONNECT), "{} was refused", holder.name);
            }
        }
    }
}

#[test]
fn a_property_length_of_0_says_that_there_are_none() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), V5, "no-properties");
    device.subscribe("no-properties", 1);
    device.wire.send(&Publish::new("no-properties", "m").encode(V5));
    let topic = field(b"no-properties");
    device.wire.expect(&frame(0x30, &[&topic[..], &[0], b"m"].concat()));
    // A client has to write it as well: here the packets end where the length was to be.
    for (what, bytes) in [
        ("PUBLISH", frame(0x30, &topic)),
        ("SUBSCRIBE", frame(0x82, &[0, 1])),
        ("UNSUBSCRIBE", frame(0xA2, &[0, 1])),
    ] {
        let what = format!("{what} without Property Length");
        expect_end_of(proxy.mqtt(), V5, "", &what, &bytes, reason::BROKEN);
    }
}

#[test]
fn acknowledgements_may_leave_out_what_says_nothing() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), V5, "short-acks");
    device.subscribe("short-acks", 1);
    let forms: &[&[u8]] = &[&[], &[0], &[0, 0]];
    for form in forms {
        device.wire.send(&Publish { id: 1, ..Publish::new("short-acks", "m").qos(1) }.encode(V5));
        let packets = [device.wire.packet(), device.wire.packet()];
        let publish =
            packets.iter().find(|packet| packet.kind() == kind::PUBLISH).expect("the message comes");
        let id = Publish::decode(publish, V5).id.to_be_bytes();
        device.wire.send(&frame(0x40, &[&id, *form].concat()));
        device.ping();
    }
    let forms: &[&[u8]] = &[&[0xE0, 0], &[0xE0, 1, 0], &[0xE0, 2, 0, 0]];
    for form in forms {
        let mut device = Device::connect(proxy.mqtt(), V5, "short-goodbye");
        device.wire.send(form);
        device.wire.expect_close();
    }
}
