//! The CONNACK that lets a client in, and what the server is told to say about itself.

use bytestring::ByteString;
use mqtt::packet::{ConnAck, Connect, Packet, fit};
use mqtt::session::SessionExpiry;
use mqtt::{ClientId, Properties, Property, ProtocolVersion, ReasonCode, TopicName};

use super::SessionLimits;
use crate::authenticator::Authenticated;

/// What CONNECT and CONNACK leave to the server's settings.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The Response Information for clients that ask for it, with `{client_id}` for the Client Identifier; empty for none.
    pub response_information: String,
    /// Where clients are to go that find no place here, or that are connected when the proxy stops; `None` names nobody.
    pub server_reference: Option<ByteString>,
    /// Whether a payload that is said to be UTF-8 has to be.
    pub check_payload_format: bool,
}

/// In [`ServerOptions::response_information`], the Client Identifier.
pub const CLIENT_ID: &str = "{client_id}";

/// A packet limit from which on nothing is announced: no packet is longer (section 2.1.4).
const PACKET_BYTES_ALL: usize = 268_435_455;

/// What a client that is let in is told.
pub struct Welcome<'a> {
    /// Its CONNECT.
    pub connect: &'a Connect,
    /// By which method it has proved who it is, if by any.
    pub authenticated: Option<&'a Authenticated>,
    /// Its Client Identifier, and whether that is ours.
    pub client_id: &'a ClientId,
    /// See `client_id`.
    pub assigned: bool,
    /// What it may ask for.
    pub limits: &'a SessionLimits,
    /// What it may know.
    pub server: &'a ServerOptions,
    /// Who we are, for another proxy.
    pub announcement: Option<Property>,
}

impl Welcome<'_> {
    /// The CONNACK; `None` where the client accepts no packet of its length.
    pub fn connack(&self, session_present: bool) -> Option<Packet> {
        let properties = match self.connect.protocol_version {
            ProtocolVersion::V311 => Properties::default(),
            ProtocolVersion::V5 => self.properties(),
        };
        let connack = ConnAck { session_present, reason_code: ReasonCode::Success, properties };
        let packet_bytes_max = packet_bytes_max(self.connect);
        fit(Packet::ConnAck(Box::new(connack)), self.connect.protocol_version, packet_bytes_max)
    }

    /// What the client cannot know without being told: a property that says the default is left out.
    fn properties(&self) -> Properties {
        let (limits, connect) = (self.limits, self.connect);
        let asked_secs = connect.properties.session_expiry_interval();
        let expiry_secs =
            SessionExpiry::from_connect(asked_secs, limits.session_expiry_secs_max).interval_secs();
        let keep_alive_secs = effective_keep_alive(connect, limits.keep_alive_secs_max);
        let mut said = Vec::new();
        if expiry_secs != asked_secs.unwrap_or(0) {
            said.push(Property::SessionExpiryInterval(expiry_secs));
        }
        if limits.receive_maximum != u16::MAX {
            said.push(Property::ReceiveMaximum(limits.receive_maximum));
        }
        if limits.packet_bytes_max < PACKET_BYTES_ALL {
            // Below 2^28.
            said.push(Property::MaximumPacketSize(limits.packet_bytes_max as u32));
        }
        if self.assigned {
            said.push(Property::AssignedClientIdentifier(self.client_id.as_byte_string().clone()));
        }
        if limits.topic_alias_maximum != 0 {
            said.push(Property::TopicAliasMaximum(limits.topic_alias_maximum));
        }
        if keep_alive_secs != connect.keep_alive_secs {
            said.push(Property::ServerKeepAlive(keep_alive_secs)); // [MQTT-3.1.2-21]
        }
        said.extend(self.response_information().map(Property::ResponseInformation));
        said.extend(self.announcement.clone());
        if let Some(Authenticated { method, data }) = self.authenticated {
            said.push(Property::AuthenticationMethod(method.clone())); // [MQTT-4.12.0-5]
            if !data.is_empty() {
                said.push(Property::AuthenticationData(data.clone()));
            }
        }
        said.into_iter().fold(Properties::default(), |block, property| block.with(property))
    }

    /// The basis for Response Topics, for clients that ask `[MQTT-3.1.2-28]`. A Client Identifier of which no Topic Name
    /// can be made gets none.
    fn response_information(&self) -> Option<ByteString> {
        let template = &self.server.response_information;
        if template.is_empty() || self.connect.properties.request_response_information() != Some(true) {
            return None;
        }
        let text = ByteString::from(template.replace(CLIENT_ID, self.client_id.as_str()));
        TopicName::new(text.clone()).is_ok().then_some(text)
    }
}

/// The longest packet that the client accepts, in bytes.
pub fn packet_bytes_max(connect: &Connect) -> usize {
    connect.properties.maximum_packet_size().map_or(usize::MAX, |bytes| bytes as usize)
}

/// The Keep Alive that counts: ours where the client's is too long and can be overruled `[MQTT-3.1.2-21]`.
pub(super) fn effective_keep_alive(connect: &Connect, keep_alive_secs_max: u16) -> u16 {
    let asked = connect.keep_alive_secs;
    let too_long = keep_alive_secs_max != 0 && (asked == 0 || asked > keep_alive_secs_max);
    if connect.protocol_version.is_v5() && too_long { keep_alive_secs_max } else { asked }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery_queue::{AbsentSubscriber, QueueLimits, SlowSubscriber};
    use crate::device_session::OnMessageRate;
    use crate::quota::TopicLimits;

    const LIMITS: SessionLimits = SessionLimits {
        packet_bytes_max: 268_435_455,
        topics: TopicLimits { bytes_max: 65_535, levels_max: 65_535 },
        receive_maximum: 65_535,
        in_flight_max: 1,
        topic_alias_maximum: 0,
        subscriptions_max: 1,
        connections_max: 1,
        sessions_max: 1,
        session_expiry_secs_max: 100,
        queue: QueueLimits {
            messages_max: 1,
            bytes_max: 1,
            slow: SlowSubscriber::DropNewest,
            slow_patience: Duration::ZERO,
            absent: AbsentSubscriber::DropNewest,
        },
        messages_per_second_max: 0,
        on_message_rate: OnMessageRate::Wait,
        restart_will_grace: Duration::ZERO,
        keep_alive_secs_max: 0,
    };

    fn connect(version: ProtocolVersion, properties: impl IntoIterator<Item = Property>) -> Connect {
        Connect {
            protocol_version: version,
            clean_start: true,
            keep_alive_secs: 60,
            client_id: "ann".into(),
            will: None,
            user_name: None,
            password: None,
            properties: Properties::from_properties(properties).unwrap(),
            bridge: false,
        }
    }

    /// What the CONNACK says; `None` where there is none.
    fn told(connect: &Connect, limits: &SessionLimits, server: &ServerOptions) -> Option<Vec<Property>> {
        let client_id = ClientId::new("ann").unwrap();
        let welcome = Welcome {
            connect,
            authenticated: None,
            client_id: &client_id,
            assigned: false,
            limits,
            server,
            announcement: None,
        };
        match welcome.connack(true)? {
            Packet::ConnAck(connack) => Some(connack.properties.iter().collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_go_without_saying() {
        let none = ServerOptions::default();
        assert_eq!(told(&connect(ProtocolVersion::V5, []), &LIMITS, &none), Some(Vec::new()));
        let asks = [
            Property::SessionExpiryInterval(100),
            Property::RequestResponseInformation(true),
            Property::MaximumPacketSize(5),
        ];
        assert_eq!(told(&connect(ProtocolVersion::V5, asks), &LIMITS, &none), Some(Vec::new()));
        let limits = SessionLimits { keep_alive_secs_max: 60, packet_bytes_max: 268_435_460, ..LIMITS };
        assert_eq!(told(&connect(ProtocolVersion::V5, []), &limits, &none), Some(Vec::new()));
    }

    #[test]
    fn what_differs_is_told_in_5_0_only() {
        let limits = SessionLimits {
            packet_bytes_max: 268_435_454,
            receive_maximum: 7,
            topic_alias_maximum: 8,
            keep_alive_secs_max: 59,
            ..LIMITS
        };
        let none = ServerOptions::default();
        let asks = connect(ProtocolVersion::V5, [Property::SessionExpiryInterval(101)]);
        let wanted = vec![
            Property::SessionExpiryInterval(100),
            Property::ReceiveMaximum(7),
            Property::MaximumPacketSize(268_435_454),
            Property::TopicAliasMaximum(8),
            Property::ServerKeepAlive(59),
        ];
        assert_eq!(told(&asks, &limits, &none), Some(wanted));
        assert_eq!(told(&connect(ProtocolVersion::V311, []), &limits, &none), Some(Vec::new()));
    }

    #[test]
    fn response_information_is_for_who_asks_and_names_the_client() {
        let server =
            ServerOptions { response_information: "r/{client_id}/x".to_owned(), ..ServerOptions::default() };
        let asks = |yes| connect(ProtocolVersion::V5, [Property::RequestResponseInformation(yes)]);
        let wanted = vec![Property::ResponseInformation("r/ann/x".into())];
        assert_eq!(told(&asks(true), &LIMITS, &server), Some(wanted));
        assert_eq!(told(&asks(false), &LIMITS, &server), Some(Vec::new()));
        assert_eq!(told(&connect(ProtocolVersion::V5, []), &LIMITS, &server), Some(Vec::new()));
        let small = [Property::RequestResponseInformation(true), Property::MaximumPacketSize(14)];
        assert_eq!(told(&connect(ProtocolVersion::V5, small), &LIMITS, &server), Some(Vec::new()), "no room");
    }

    #[test]
    fn an_identifier_with_wildcards_is_in_no_response_topic() {
        let server = ServerOptions { response_information: CLIENT_ID.to_owned(), ..ServerOptions::default() };
        let connect = connect(ProtocolVersion::V5, [Property::RequestResponseInformation(true)]);
        for (client_id, is_told) in [("a/b", true), ("a+", false), ("#", false)] {
            let client_id = ClientId::new(client_id).unwrap();
            let welcome = Welcome {
                connect: &connect,
                authenticated: None,
                client_id: &client_id,
                assigned: false,
                limits: &LIMITS,
                server: &server,
                announcement: None,
            };
            assert_eq!(welcome.response_information().is_some(), is_told, "{client_id}");
        }
    }

    #[test]
    fn a_client_that_takes_no_connack_gets_none() {
        let none = ServerOptions::default();
        let limits = SessionLimits { receive_maximum: 7, keep_alive_secs_max: 9, ..LIMITS };
        let small = |bytes| connect(ProtocolVersion::V5, [Property::MaximumPacketSize(bytes)]);
        assert_eq!(told(&small(8), &limits, &none), Some(vec![Property::ServerKeepAlive(9)]));
        assert_eq!(told(&small(7), &limits, &none), None, "the Keep Alive has to be known");
    }
}
