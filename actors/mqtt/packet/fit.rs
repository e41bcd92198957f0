//! Packets that must not be longer than the client's Maximum Packet Size `[MQTT-3.1.2-24]`: what may go without saying
//! is left out until they fit.

use super::Packet;
use crate::property::PropertyId;
use crate::{Properties, ProtocolVersion, codec};

/// What CONNACK and DISCONNECT can do without, the least important first. Without a Topic Alias Maximum the client sends
/// no aliases. One that accepts only tiny packets hardly sends enormous ones, and without a Receive Maximum it may send
/// as many as there are Packet Identifiers. Every other property of ours is one that the client has to know.
const OPTIONAL: [PropertyId; 7] = [
    PropertyId::ReasonString,
    PropertyId::UserProperty,
    PropertyId::ResponseInformation,
    PropertyId::ServerReference,
    PropertyId::TopicAliasMaximum,
    PropertyId::MaximumPacketSize,
    PropertyId::ReceiveMaximum,
];

/// The packet with as many of its optional properties as fit into `packet_bytes_max`; `None` where it is longer than that
/// even without them. Only CONNACK and DISCONNECT have any `[MQTT-3.2.2-19]` `[MQTT-3.14.2-3]`.
pub fn fit(mut packet: Packet, version: ProtocolVersion, packet_bytes_max: usize) -> Option<Packet> {
    let mut optional = OPTIONAL.iter();
    while codec::encoded_len(&packet, version) > packet_bytes_max {
        let dropped = optional.next()?;
        let properties = properties_of(&mut packet)?;
        *properties = properties.without(|id| id == *dropped);
    }
    Some(packet)
}

fn properties_of(packet: &mut Packet) -> Option<&mut Properties> {
    match packet {
        Packet::ConnAck(connack) => Some(&mut connack.properties),
        Packet::Disconnect(disconnect) => Some(&mut disconnect.properties),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::table::{V5, V311, properties};
    use crate::packet::{ConnAck, Disconnect};
    use crate::{Property, ReasonCode};

    fn connack(block: Properties) -> Packet {
        Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties: block,
        }))
    }

    #[test]
    fn optional_properties_go_one_after_the_other_and_the_others_stay() {
        let all = [
            Property::ServerKeepAlive(10),
            Property::ReceiveMaximum(10),
            Property::MaximumPacketSize(1_000),
            Property::TopicAliasMaximum(5),
            Property::ServerReference("other".into()),
            Property::ResponseInformation("r/".into()),
            Property::UserProperty("k".into(), "v".into()),
            Property::ReasonString("because".into()),
        ];
        // What is left of the properties, from all of them down to the one that has to stay.
        for kept in (1..=all.len()).rev() {
            let packet = connack(properties(all[..kept].to_vec()));
            let len = codec::encoded_len(&packet, V5);
            assert_eq!(fit(connack(properties(all.to_vec())), V5, len), Some(packet), "{kept} properties");
        }
        let least = codec::encoded_len(&connack(properties(all[..1].to_vec())), V5);
        assert_eq!(fit(connack(properties(all.to_vec())), V5, least - 1), None);
    }

    #[test]
    fn what_has_nothing_to_leave_out_fits_or_does_not() {
        let bare = connack(Properties::default());
        assert_eq!(fit(bare.clone(), V5, 5), Some(bare.clone()));
        assert_eq!(fit(bare.clone(), V5, 4), None);
        assert_eq!(fit(bare.clone(), V311, 4), Some(bare));
        let reason_code = ReasonCode::ProtocolError;
        let said = properties([Property::ReasonString("why".into())]);
        let disconnect = Packet::Disconnect(Disconnect { reason_code, properties: said });
        let silent = Packet::Disconnect(Disconnect { reason_code, properties: Properties::default() });
        assert_eq!(fit(disconnect.clone(), V5, 9), Some(silent));
        assert_eq!(fit(disconnect.clone(), V5, 10), Some(disconnect));
        assert_eq!(fit(Packet::PingResp, V5, 1), None);
    }
}
