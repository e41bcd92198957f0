//! Byte tables of all properties, and what blocks of them do.

use std::collections::HashSet;

use bytes::Bytes;

use super::id::WireType;
use super::{Properties, PropertiesBuilder, Property, PropertyId, PropertyOwner};
use crate::packet::table::{cut, fields, malformed, properties, protocol};
use crate::{DecodeError, EncodeError, QoS};

const OWNERS: [PropertyOwner; 14] = [
    PropertyOwner::Connect,
    PropertyOwner::ConnAck,
    PropertyOwner::Publish,
    PropertyOwner::Will,
    PropertyOwner::PubAck,
    PropertyOwner::PubRec,
    PropertyOwner::PubRel,
    PropertyOwner::PubComp,
    PropertyOwner::Subscribe,
    PropertyOwner::SubAck,
    PropertyOwner::Unsubscribe,
    PropertyOwner::UnsubAck,
    PropertyOwner::Disconnect,
    PropertyOwner::Auth,
];

/// Each property as it stands on the wire, with the initials of its owners as table 2-4 lists them.
fn rows() -> Vec<(&'static str, Property, Vec<PropertyOwner>)> {
    use Property as P;
    use PropertyOwner as O;
    let message = || vec![O::Publish, O::Will];
    let capability = || vec![O::Connect, O::ConnAck];
    let server = || vec![O::ConnAck];
    let authentication = || vec![O::Connect, O::ConnAck, O::Auth];
    let answers = vec![
        O::ConnAck,
        O::PubAck,
        O::PubRec,
        O::PubRel,
        O::PubComp,
        O::SubAck,
        O::UnsubAck,
        O::Disconnect,
        O::Auth,
    ];
    vec![
        ("01 01", P::PayloadFormatIndicator(true), message()),
        ("02 00000102", P::MessageExpiryInterval(258), message()),
        ("03 <text/plain>", P::ContentType("text/plain".into()), message()),
        ("08 <a/b>", P::ResponseTopic("a/b".into()), message()),
        ("09 0002 00FF", P::CorrelationData(Bytes::from_static(&[0, 0xFF])), message()),
        ("0B 8001", P::SubscriptionIdentifier(128), vec![O::Publish, O::Subscribe]),
        ("11 FFFFFFFF", P::SessionExpiryInterval(u32::MAX), vec![O::Connect, O::ConnAck, O::Disconnect]),
        ("12 <id>", P::AssignedClientIdentifier("id".into()), server()),
        ("13 001E", P::ServerKeepAlive(30), server()),
        ("15 <m>", P::AuthenticationMethod("m".into()), authentication()),
        ("16 0001 07", P::AuthenticationData(Bytes::from_static(&[7])), authentication()),
        ("17 00", P::RequestProblemInformation(false), vec![O::Connect]),
        ("18 00000000", P::WillDelayInterval(0), vec![O::Will]),
        ("19 01", P::RequestResponseInformation(true), vec![O::Connect]),
        ("1A <r>", P::ResponseInformation("r".into()), server()),
        ("1C <other>", P::ServerReference("other".into()), vec![O::ConnAck, O::Disconnect]),
        ("1F <ä>", P::ReasonString("ä".into()), answers),
        ("21 0001", P::ReceiveMaximum(1), capability()),
        ("22 0000", P::TopicAliasMaximum(0), capability()),
        ("23 FFFF", P::TopicAlias(u16::MAX), vec![O::Publish]),
        ("24 00", P::MaximumQoS(QoS::AtMostOnce), server()),
        ("25 00", P::RetainAvailable(false), server()),
        ("26 <k> <>", P::UserProperty("k".into(), "".into()), OWNERS.to_vec()),
        ("27 00000001", P::MaximumPacketSize(1), capability()),
        ("28 00", P::WildcardSubscriptionAvailable(false), server()),
        ("29 00", P::SubscriptionIdentifiersAvailable(false), server()),
        ("2A 01", P::SharedSubscriptionAvailable(true), server()),
    ]
}

fn block(notation: &str) -> Bytes {
    Bytes::from(fields(&mut notation.chars(), None))
}

fn parse(notation: &str, owner: PropertyOwner) -> Result<Properties, DecodeError> {
    Properties::parse(block(notation), owner)
}

#[test]
fn every_property_is_read_and_written_and_has_its_owners() {
    let rows = rows();
    let ids: HashSet<PropertyId> = rows.iter().map(|(_, property, _)| property.id()).collect();
    assert_eq!(ids, PropertyId::ALL.into_iter().collect(), "a row each");
    for (notation, property, owners) in rows {
        let written = properties([property.clone()]);
        assert_eq!(written.as_bytes(), &block(notation), "{property:?}");
        assert!(written.iter().eq([property.clone()]));
        for owner in OWNERS {
            let expected = match (owners.contains(&owner), property.id()) {
                (false, _) => Err(malformed("a property is not allowed in this packet")),
                (true, PropertyId::AuthenticationData) => {
                    Err(protocol("Authentication Data without Authentication Method"))
                }
                (true, _) => Ok(written.clone()),
            };
            assert_eq!(parse(notation, owner), expected, "{property:?} in {owner:?}");
        }
    }
}

#[test]
fn only_two_properties_may_stand_twice() {
    for (notation, property, owners) in rows() {
        for owner in owners {
            let twice = match property.id() {
                PropertyId::AuthenticationData => format!("15 <m> {notation} {notation}"),
                _ => format!("{notation} {notation}"),
            };
            let repeats = matches!(
                (property.id(), owner),
                (PropertyId::UserProperty, _) | (PropertyId::SubscriptionIdentifier, PropertyOwner::Publish)
            );
            let parsed = parse(&twice, owner);
            match repeats {
                true => assert_eq!(parsed.map(|block| block.iter().count()), Ok(2), "{property:?}"),
                false => assert_eq!(parsed, Err(protocol("a property stands twice")), "{property:?}"),
            }
        }
    }
}

#[test]
fn every_cut_of_a_property_is_malformed() {
    for (notation, property, owners) in rows() {
        let whole = block(notation);
        for end in 1..whole.len() {
            let parsed = Properties::parse(whole.slice(..end), owners[0]);
            assert_eq!(parsed, Err(cut()), "{property:?} cut at {end}");
        }
    }
}

#[test]
fn unknown_identifiers_are_malformed() {
    for number in 0..=u8::MAX {
        let notation = format!("{number:02X} 00000000");
        if PropertyId::from_u8(number).is_none() {
            let unknown = malformed("a property identifier is unknown");
            assert_eq!(parse(&notation, PropertyOwner::ConnAck), Err(unknown), "{number:#04x}");
        }
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let connect = PropertyOwner::Connect;
    let publish = PropertyOwner::Publish;
    for (notation, property, owners) in rows() {
        if property.id().wire_type() == WireType::Byte {
            let two = format!("{} 02", &notation[..2]);
            assert_eq!(parse(&two, owners[0]), Err(protocol("a property is not 0 or 1")), "{property:?}");
        }
    }
    let wildcard = protocol("Response Topic is empty or has wildcards");
    let rows = [
        ("receive maximum 0", "21 0000", connect, protocol("Receive Maximum is 0")),
        ("topic alias 0", "23 0000", publish, DecodeError::TopicAliasInvalid("must not be 0")),
        ("maximum packet size 0", "27 00000000", connect, protocol("Maximum Packet Size is 0")),
        ("subscription identifier 0", "0B 00", publish, protocol("Subscription Identifier is 0")),
        (
            "overlong subscription identifier",
            "0B 8000",
            publish,
            malformed("a variable byte integer is longer than it needs to be"),
        ),
        (
            "subscription identifier of five bytes",
            "0B 8080808001",
            publish,
            malformed("a variable byte integer is longer than 4 bytes"),
        ),
        ("response topic with #", "08 <a/#>", publish, wildcard),
        ("response topic with +", "08 <+>", publish, wildcard),
        ("empty response topic", "08 <>", publish, wildcard),
        ("content type with U+0000", "03 0001 00", publish, malformed("a string has U+0000")),
        ("content type that is not UTF-8", "03 0001 FF", publish, malformed("a string is not UTF-8")),
        ("name that is not UTF-8", "26 0001 FF <v>", publish, malformed("a string is not UTF-8")),
        ("value with a surrogate", "26 <k> 0003 EDA080", publish, malformed("a string is not UTF-8")),
    ];
    for (name, notation, owner, error) in rows {
        assert_eq!(parse(notation, owner), Err(error), "{name}");
    }
}

#[test]
fn the_builder_refuses_what_a_peer_would_refuse() {
    let mut builder = PropertiesBuilder::new();
    builder.push(&Property::TopicAlias(1)).unwrap();
    let rows = [
        (Property::ReceiveMaximum(0), EncodeError::Inconsistent("Receive Maximum is 0")),
        (Property::MaximumPacketSize(0), EncodeError::Inconsistent("Maximum Packet Size is 0")),
        (Property::MaximumQoS(QoS::ExactlyOnce), EncodeError::Inconsistent("a property is not 0 or 1")),
        (Property::SubscriptionIdentifier(0), EncodeError::Inconsistent("Subscription Identifier is 0")),
        (Property::SubscriptionIdentifier(268_435_456), EncodeError::FieldTooLong("Subscription Identifier")),
        (Property::ReasonString("r".repeat(65_536).into()), EncodeError::FieldTooLong("Reason String")),
        (
            Property::UserProperty("k".into(), "v".repeat(65_536).into()),
            EncodeError::FieldTooLong("User Property"),
        ),
        (Property::ReasonString("\0".into()), EncodeError::Inconsistent("a string has U+0000")),
    ];
    for (property, error) in rows {
        assert_eq!(builder.push(&property).map(drop), Err(error), "{:?}", property.id());
        assert_eq!(
            properties([Property::TopicAlias(1)]).with(property),
            properties([Property::TopicAlias(1)])
        );
    }
    assert_eq!(builder.build(), properties([Property::TopicAlias(1)]));
}

#[test]
fn getters_find_their_property_among_others() {
    let all: Vec<Property> = rows().into_iter().map(|(_, property, _)| property).collect();
    let all = properties(all.iter().cloned().chain(all.iter().rev().cloned()));
    assert_eq!(all.payload_format_indicator(), Some(true));
    assert_eq!(all.message_expiry_interval(), Some(258));
    assert_eq!(all.content_type().as_deref(), Some("text/plain"));
    assert_eq!(all.response_topic().as_deref(), Some("a/b"));
    assert_eq!(all.correlation_data().as_deref(), Some(&[0, 0xFF][..]));
    assert_eq!(all.subscription_identifiers().collect::<Vec<_>>(), [128, 128]);
    assert_eq!(all.session_expiry_interval(), Some(u32::MAX));
    assert_eq!(all.assigned_client_identifier().as_deref(), Some("id"));
    assert_eq!(all.server_keep_alive(), Some(30));
    assert_eq!(all.authentication_method().as_deref(), Some("m"));
    assert_eq!(all.authentication_data().as_deref(), Some(&[7][..]));
    assert_eq!(all.request_problem_information(), Some(false));
    assert_eq!(all.will_delay_interval(), Some(0));
    assert_eq!(all.request_response_information(), Some(true));
    assert_eq!(all.response_information().as_deref(), Some("r"));
    assert_eq!(all.server_reference().as_deref(), Some("other"));
    assert_eq!(all.reason_string().as_deref(), Some("ä"));
    assert_eq!(all.receive_maximum(), Some(1));
    assert_eq!(all.topic_alias_maximum(), Some(0));
    assert_eq!(all.topic_alias(), Some(u16::MAX));
    assert_eq!(all.maximum_qos(), Some(QoS::AtMostOnce));
    assert_eq!(all.retain_available(), Some(false));
    assert_eq!(all.maximum_packet_size(), Some(1));
    assert_eq!(all.wildcard_subscription_available(), Some(false));
    assert_eq!(all.subscription_identifiers_available(), Some(false));
    assert_eq!(all.shared_subscription_available(), Some(true));
    assert_eq!(all.user_properties().count(), 2);
    let none = Properties::default();
    assert_eq!((none.topic_alias(), none.reason_string(), none.is_empty()), (None, None, true));
}

#[test]
fn user_properties_keep_their_order() {
    let pairs = [("b", "1"), ("a", "2"), ("b", "3")];
    let block = properties(pairs.map(|(name, value)| Property::UserProperty(name.into(), value.into())));
    let read: Vec<_> = block.user_properties().collect();
    let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(read, pairs);
}

#[test]
fn properties_are_removed_added_and_replaced() {
    let alias = Property::TopicAlias(1);
    let text = Property::ContentType("t".into());
    let both = properties([alias.clone(), text.clone()]);
    assert_eq!(both.without(|id| id == PropertyId::TopicAlias), properties([text.clone()]));
    assert!(both.without(|_| true).is_empty());
    let same = both.without(|id| id == PropertyId::ReasonString);
    assert_eq!(same.as_bytes().as_ptr(), both.as_bytes().as_ptr(), "shared when nothing is removed");
    assert_eq!(properties([alias.clone()]).with(text.clone()), both);
    let expiring = both.set_message_expiry_interval(10);
    assert_eq!(expiring, both.with(Property::MessageExpiryInterval(10)));
    let later = expiring.with(Property::PayloadFormatIndicator(true)).set_message_expiry_interval(9);
    let expected = [alias, text, Property::MessageExpiryInterval(9), Property::PayloadFormatIndicator(true)];
    assert_eq!(later, properties(expected));
}

#[test]
fn debug_lists_the_properties_without_authentication_data() {
    let data = Property::AuthenticationData(Bytes::from_static(b"hunter2"));
    let block = properties([Property::AuthenticationMethod("m".into()), data]);
    assert_eq!(format!("{block:?}"), "[AuthenticationMethod(\"m\"), AuthenticationData(..)]");
}
