//! Strategies for all valid packets of a version.

use bytes::Bytes;
use bytestring::ByteString;
use mqtt::packet::acknowledgement::AcknowledgementKind;
use mqtt::packet::{
    Acknowledgement, Auth, ConnAck, Connect, Disconnect, Publish, RetainHandling, SubAck, Subscribe,
    SubscriptionOptions, UnsubAck, Unsubscribe, Will,
};
use mqtt::property::{PropertyId, PropertyOwner};
use mqtt::{
    Packet, PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicFilter, TopicName,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Any valid packet of this version.
pub(crate) fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet> {
    let every_version = prop_oneof![
        2 => connect(version),
        1 => connack(version),
        4 => publish(version),
        4 => acknowledgement(version),
        2 => subscribe(version),
        1 => suback(version),
        1 => unsubscribe(version),
        1 => unsuback(version),
        1 => prop_oneof![Just(Packet::PingReq), Just(Packet::PingResp)],
        1 => disconnect(version),
    ];
    match version {
        ProtocolVersion::V311 => every_version.boxed(),
        ProtocolVersion::V5 => prop_oneof![20 => every_version, 1 => auth()].boxed(),
    }
}

fn text() -> impl Strategy<Value = ByteString> {
    prop_oneof!["[^\\x00]{0,8}", "[ -~]{0,40}"].prop_map(ByteString::from)
}

fn binary() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..16), vec(any::<u8>(), 100..300)].prop_map(Bytes::from)
}

pub(crate) fn topic_name() -> impl Strategy<Value = TopicName> {
    prop_oneof!["[^\\x00+#]{1,8}", "[a-z/$]{1,40}"]
        .prop_map(|text| TopicName::new(text).expect("the pattern has no wildcard and no NUL"))
}

fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![Just("+".to_owned()), "[^\\x00+#/]{0,6}"];
    let share = prop_oneof![4 => Just(""), 1 => Just("$share/group/")];
    let end = prop_oneof![3 => Just(""), 1 => Just("/#")];
    (share, vec(level, 1..4), end)
        .prop_map(|(share, levels, end)| format!("{share}{}{end}", levels.join("/")))
        .prop_filter_map("an empty filter", |text| TopicFilter::new(text).ok())
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).expect("not 0"))
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn reason_code(allows: impl Fn(ReasonCode) -> bool) -> impl Strategy<Value = ReasonCode> {
    let codes = (0..=u8::MAX).filter_map(ReasonCode::from_u8).filter(|code| allows(*code));
    select(codes.collect::<Vec<_>>())
}

fn property(id: PropertyId) -> BoxedStrategy<Property> {
    match id {
        PropertyId::PayloadFormatIndicator => {
            any::<bool>().prop_map(Property::PayloadFormatIndicator).boxed()
        }
        PropertyId::MessageExpiryInterval => any::<u32>().prop_map(Property::MessageExpiryInterval).boxed(),
        PropertyId::ContentType => text().prop_map(Property::ContentType).boxed(),
        PropertyId::ResponseTopic => topic_name()
            .prop_map(|topic_name| Property::ResponseTopic(topic_name.as_byte_string().clone()))
            .boxed(),
        PropertyId::CorrelationData => binary().prop_map(Property::CorrelationData).boxed(),
        PropertyId::SubscriptionIdentifier => {
            (1..=268_435_455_u32).prop_map(Property::SubscriptionIdentifier).boxed()
        }
        PropertyId::SessionExpiryInterval => any::<u32>().prop_map(Property::SessionExpiryInterval).boxed(),
        PropertyId::AssignedClientIdentifier => text().prop_map(Property::AssignedClientIdentifier).boxed(),
        PropertyId::ServerKeepAlive => any::<u16>().prop_map(Property::ServerKeepAlive).boxed(),
        PropertyId::AuthenticationMethod => text().prop_map(Property::AuthenticationMethod).boxed(),
        PropertyId::AuthenticationData => binary().prop_map(Property::AuthenticationData).boxed(),
        PropertyId::RequestProblemInformation => {
            any::<bool>().prop_map(Property::RequestProblemInformation).boxed()
        }
        PropertyId::WillDelayInterval => any::<u32>().prop_map(Property::WillDelayInterval).boxed(),
        PropertyId::RequestResponseInformation => {
            any::<bool>().prop_map(Property::RequestResponseInformation).boxed()
        }
        PropertyId::ResponseInformation => text().prop_map(Property::ResponseInformation).boxed(),
        PropertyId::ServerReference => text().prop_map(Property::ServerReference).boxed(),
        PropertyId::ReasonString => text().prop_map(Property::ReasonString).boxed(),
        PropertyId::ReceiveMaximum => (1..=u16::MAX).prop_map(Property::ReceiveMaximum).boxed(),
        PropertyId::TopicAliasMaximum => any::<u16>().prop_map(Property::TopicAliasMaximum).boxed(),
        PropertyId::TopicAlias => (1..=u16::MAX).prop_map(Property::TopicAlias).boxed(),
        PropertyId::MaximumQoS => {
            select(vec![QoS::AtMostOnce, QoS::AtLeastOnce]).prop_map(Property::MaximumQoS).boxed()
        }
        PropertyId::RetainAvailable => any::<bool>().prop_map(Property::RetainAvailable).boxed(),
        PropertyId::UserProperty => {
            (text(), text()).prop_map(|(name, value)| Property::UserProperty(name, value)).boxed()
        }
        PropertyId::MaximumPacketSize => (1..=u32::MAX).prop_map(Property::MaximumPacketSize).boxed(),
        PropertyId::WildcardSubscriptionAvailable => {
            any::<bool>().prop_map(Property::WildcardSubscriptionAvailable).boxed()
        }
        PropertyId::SubscriptionIdentifiersAvailable => {
            any::<bool>().prop_map(Property::SubscriptionIdentifiersAvailable).boxed()
        }
        PropertyId::SharedSubscriptionAvailable => {
            any::<bool>().prop_map(Property::SharedSubscriptionAvailable).boxed()
        }
    }
}

/// Properties that this owner may have, in any order; none in 3.1.1.
fn properties(version: ProtocolVersion, owner: PropertyOwner) -> BoxedStrategy<Properties> {
    if !version.is_v5() {
        return Just(Properties::default()).boxed();
    }
    let allowed = PropertyId::ALL.into_iter().filter(|id| id.is_allowed_in(owner));
    let ids: Vec<PropertyId> =
        allowed.flat_map(|id| vec![id; if id.may_repeat_in(owner) { 3 } else { 1 }]).collect();
    let len = ids.len();
    subsequence(ids, 0..=len)
        .prop_shuffle()
        .prop_map(|mut ids| {
            if !ids.contains(&PropertyId::AuthenticationMethod) {
                ids.retain(|id| *id != PropertyId::AuthenticationData);
            }
            ids
        })
        .prop_flat_map(|ids| ids.into_iter().map(property).collect::<Vec<_>>())
        .prop_map(|properties| Properties::from_properties(properties).expect("all values are in range"))
        .boxed()
}

fn will(version: ProtocolVersion) -> impl Strategy<Value = Will> {
    (topic_name(), qos(), any::<bool>(), properties(version, PropertyOwner::Will), binary()).prop_map(
        |(topic_name, qos, retain, properties, payload)| Will {
            topic_name,
            qos,
            retain,
            properties,
            payload,
        },
    )
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let names = (text(), option::of(text()), option::of(binary()));
    let properties = properties(version, PropertyOwner::Connect);
    (any::<bool>(), any::<u16>(), names, option::of(will(version)), properties).prop_map(
        move |(clean_start, keep_alive_secs, (client_id, user_name, password), will, properties)| {
            let is_v5 = version.is_v5();
            Packet::Connect(Box::new(Connect {
                protocol_version: version,
                clean_start: clean_start || (client_id.is_empty() && !is_v5),
                keep_alive_secs,
                client_id,
                will,
                password: password.filter(|_| is_v5 || user_name.is_some()),
                user_name,
                properties,
                bridge: false,
            }))
        },
    )
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    // 3.1.1 has six codes; the first of those that become the same code is the one that comes back.
    let comes_back = move |reason_code: ReasonCode| match version {
        ProtocolVersion::V5 => ConnAck::allows(reason_code),
        ProtocolVersion::V311 => {
            let code = reason_code.connect_return_code();
            code.and_then(ReasonCode::from_connect_return_code) == Some(reason_code)
        }
    };
    (any::<bool>(), reason_code(comes_back), properties(version, PropertyOwner::ConnAck)).prop_map(
        |(session_present, reason_code, properties)| {
            let session_present = session_present && reason_code == ReasonCode::Success;
            Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
        },
    )
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let flags = (any::<bool>(), qos(), any::<bool>());
    let parts = (option::weighted(0.8, topic_name()), topic_name(), packet_id());
    (flags, parts, properties(version, PropertyOwner::Publish), binary()).prop_map(
        |((dup, qos, retain), (topic_name, fallback, packet_id), properties, payload)| {
            let with_id = qos != QoS::AtMostOnce;
            let aliased = properties.topic_alias().is_some();
            let topic_name = if aliased { topic_name } else { Some(topic_name.unwrap_or(fallback)) };
            let packet_id = with_id.then_some(packet_id);
            Packet::Publish(Publish {
                dup: dup && with_id,
                qos,
                retain,
                topic_name,
                packet_id,
                properties,
                payload,
            })
        },
    )
}

fn acknowledgement(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let one = move |kind: AcknowledgementKind, owner, packet: fn(Acknowledgement) -> Packet| {
        let codes = move |code| kind.allows(code) && (version.is_v5() || code == ReasonCode::Success);
        (packet_id(), reason_code(codes), properties(version, owner)).prop_map(
            move |(packet_id, reason_code, properties)| {
                packet(Acknowledgement { packet_id, reason_code, properties })
            },
        )
    };
    prop_oneof![
        one(AcknowledgementKind::PubAck, PropertyOwner::PubAck, Packet::PubAck),
        one(AcknowledgementKind::PubRec, PropertyOwner::PubRec, Packet::PubRec),
        one(AcknowledgementKind::PubRel, PropertyOwner::PubRel, Packet::PubRel),
        one(AcknowledgementKind::PubComp, PropertyOwner::PubComp, Packet::PubComp),
    ]
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let handling = select(vec![
        RetainHandling::SendAtSubscribe,
        RetainHandling::SendAtNewSubscribe,
        RetainHandling::DoNotSend,
    ]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling);
    let subscription =
        (topic_filter(), options).prop_map(move |(filter, (qos, local, published, retain_handling))| {
            let options = match version {
                ProtocolVersion::V311 => SubscriptionOptions::with_qos(qos),
                ProtocolVersion::V5 => SubscriptionOptions {
                    qos,
                    no_local: local && filter.shared().is_none(),
                    retain_as_published: published,
                    retain_handling,
                },
            };
            (filter, options)
        });
    (packet_id(), properties(version, PropertyOwner::Subscribe), vec(subscription, 1..5)).prop_map(
        |(packet_id, properties, subscriptions)| {
            Packet::Subscribe(Subscribe { packet_id, properties, subscriptions })
        },
    )
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let codes = vec(reason_code(move |code| SubAck::allows(code, version)), 1..5);
    (packet_id(), properties(version, PropertyOwner::SubAck), codes).prop_map(
        |(packet_id, properties, reason_codes)| {
            Packet::SubAck(SubAck { packet_id, properties, reason_codes })
        },
    )
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    (packet_id(), properties(version, PropertyOwner::Unsubscribe), vec(topic_filter(), 1..5)).prop_map(
        |(packet_id, properties, topic_filters)| {
            Packet::Unsubscribe(Unsubscribe { packet_id, properties, topic_filters })
        },
    )
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let count = if version.is_v5() { 1..5 } else { 0..1 };
    let codes = vec(reason_code(UnsubAck::allows), count);
    (packet_id(), properties(version, PropertyOwner::UnsubAck), codes).prop_map(
        |(packet_id, properties, reason_codes)| {
            Packet::UnsubAck(UnsubAck { packet_id, properties, reason_codes })
        },
    )
}

fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let codes = move |code| Disconnect::allows(code) && (version.is_v5() || code == ReasonCode::Success);
    (reason_code(codes), properties(version, PropertyOwner::Disconnect))
        .prop_map(|(reason_code, properties)| Packet::Disconnect(Disconnect { reason_code, properties }))
}

fn auth() -> impl Strategy<Value = Packet> {
    (reason_code(Auth::allows), properties(ProtocolVersion::V5, PropertyOwner::Auth)).prop_map(
        |(reason_code, properties)| match properties.authentication_method() {
            Some(_) => Packet::Auth(Auth { reason_code, properties }),
            None => {
                Packet::Auth(Auth { reason_code: ReasonCode::Success, properties: Properties::default() })
            }
        },
    )
}
