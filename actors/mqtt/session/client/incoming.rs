//! The messages of the server on their way to the application.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::error::Violation;
use super::event::{Delivery, DeliveryToken};
use super::{AcknowledgementMode, ClientError, Options};
use crate::packet::acknowledgement::AcknowledgementKind;
use crate::packet::{Acknowledgement, Publish};
use crate::property::PropertyId;
use crate::session::{Arrival, Inflow};
use crate::topic::alias::InboundAliases;
use crate::{Message, PacketId, Properties, ProtocolVersion, QoS, ReasonCode};

/// A message that the application has and has not acknowledged, or whose turn to be acknowledged has not come.
#[derive(Debug)]
struct Held {
    token: DeliveryToken,
    packet_id: PacketId,
    qos: QoS,
    /// Whether the server of this connection has sent it, and so waits.
    is_due: bool,
    /// What the application said.
    answer: Option<ReasonCode>,
}

/// The receiving half: QoS 2 repeats, Topic Aliases, and acknowledgements in the order of arrival `[MQTT-4.6.0-2]`
/// `[MQTT-4.6.0-3]`.
#[derive(Debug)]
pub(super) struct Incoming {
    version: ProtocolVersion,
    mode: AcknowledgementMode,
    receive_maximum: u16,
    alias_maximum: u16,
    inflow: Inflow,
    aliases: InboundAliases,
    held: VecDeque<Held>,
    next_token: u64,
}

impl Incoming {
    pub(super) fn new(options: &Options) -> Incoming {
        let receive_maximum = options.receive_maximum_in_force();
        let alias_maximum = if options.version.is_v5() { options.topic_alias_maximum } else { 0 };
        Incoming {
            version: options.version,
            mode: options.acknowledgement,
            receive_maximum,
            alias_maximum,
            inflow: Inflow::new(receive_maximum),
            aliases: InboundAliases::new(alias_maximum),
            held: VecDeque::new(),
            next_token: 0,
        }
    }

    /// How many messages the application has not acknowledged.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The connection is over. What is not acknowledged comes again: at QoS 1 as a message of its own, at QoS 2 known
    /// by its identifier.
    pub(super) fn suspend(&mut self) {
        self.held.retain(|held| held.qos == QoS::ExactlyOnce && held.answer.is_none());
        for held in &mut self.held {
            held.is_due = false;
        }
    }

    /// The server goes on with the Session.
    pub(super) fn resume(&mut self) {
        self.inflow.resume(self.receive_maximum);
        self.aliases = InboundAliases::new(self.alias_maximum);
    }

    /// The server has no Session.
    pub(super) fn restart(&mut self) {
        self.inflow = Inflow::new(self.receive_maximum);
        self.aliases = InboundAliases::new(self.alias_maximum);
        self.held.clear();
    }

    /// Takes a PUBLISH in; `None` where the application has the message already.
    pub(super) fn publish(
        &mut self,
        publish: Publish,
        output: &mut BytesMut,
    ) -> Result<Option<Delivery>, Violation> {
        let alias = publish.properties.topic_alias();
        let topic_name = self.aliases.resolve(publish.topic_name, alias);
        let topic_name =
            topic_name.map_err(|error| Violation::new(error.reason_code(), error.to_string()))?;
        let mut token = None;
        if let Some(packet_id) = publish.packet_id {
            let arrival = self.inflow.publish(publish.qos, packet_id).map_err(|_| {
                Violation::new(ReasonCode::ReceiveMaximumExceeded, "more messages than the receive maximum")
            })?;
            if arrival == Arrival::Duplicate {
                self.repeated(packet_id, output);
                return Ok(None);
            }
            token = self.hold(publish.qos, packet_id, output);
        }
        let subscription_identifiers = publish.properties.subscription_identifiers().collect();
        let properties = publish
            .properties
            .without(|id| matches!(id, PropertyId::TopicAlias | PropertyId::SubscriptionIdentifier));
        let message = Message {
            topic_name,
            qos: publish.qos,
            retain: publish.retain,
            properties,
            payload: publish.payload,
        };
        Ok(Some(Delivery { message, dup: publish.dup, subscription_identifiers, token }))
    }

    /// Acknowledges a new message, or keeps it for the application to do so.
    fn hold(&mut self, qos: QoS, packet_id: PacketId, output: &mut BytesMut) -> Option<DeliveryToken> {
        let token = DeliveryToken(self.next_token);
        self.next_token += 1;
        let held = Held { token, packet_id, qos, is_due: true, answer: None };
        match self.mode {
            AcknowledgementMode::Automatic => {
                self.write(&held, ReasonCode::Success, output);
                None
            }
            AcknowledgementMode::Manual => {
                self.held.push_back(held);
                Some(token)
            }
        }
    }

    /// A QoS 2 message came again: its PUBREC was lost, or the application still has it.
    fn repeated(&mut self, packet_id: PacketId, output: &mut BytesMut) {
        let place =
            self.held.iter().position(|held| held.packet_id == packet_id && held.qos == QoS::ExactlyOnce);
        let Some(mut held) = place.and_then(|place| self.held.remove(place)) else {
            answer(AcknowledgementKind::PubRec, packet_id, ReasonCode::Success, self.version, output);
            return;
        };
        held.is_due = true;
        self.held.push_back(held);
        self.write_in_order(output);
    }

    /// The application is done with a message.
    pub(super) fn acknowledge(
        &mut self,
        token: DeliveryToken,
        reason_code: ReasonCode,
        output: &mut BytesMut,
    ) -> Result<(), ClientError> {
        let open = |held: &Held| held.token == token && held.answer.is_none();
        let place = self.held.iter().position(open).ok_or(ClientError::UnknownDelivery)?;
        self.held[place].answer = Some(reason_code);
        if !self.held[place].is_due {
            // The server will send it again: what was taken is then answered at once, what was refused is new.
            let held = self.held.remove(place);
            if let Some(held) = held.filter(|_| reason_code.is_error() && self.version.is_v5()) {
                self.inflow.pubrec_refused(held.packet_id);
            }
            return Ok(());
        }
        self.write_in_order(output);
        Ok(())
    }

    /// The server releases a QoS 2 message: PUBCOMP is the answer either way.
    pub(super) fn pubrel(&mut self, packet_id: PacketId, output: &mut BytesMut) {
        let is_known = self.inflow.pubrel(packet_id);
        // Who releases before PUBREC has come waits for none any more.
        self.held.retain(|held| held.packet_id != packet_id || held.qos != QoS::ExactlyOnce);
        let reason_code = if is_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        answer(AcknowledgementKind::PubComp, packet_id, reason_code, self.version, output);
        self.write_in_order(output);
    }

    /// Writes the acknowledgements before which none is missing.
    fn write_in_order(&mut self, output: &mut BytesMut) {
        while let Some(place) = self.held.iter().position(|held| held.is_due) {
            let Some(reason_code) = self.held[place].answer else { return };
            let Some(held) = self.held.remove(place) else { return };
            self.write(&held, reason_code, output);
        }
    }

    fn write(&mut self, held: &Held, reason_code: ReasonCode, output: &mut BytesMut) {
        let kind = match held.qos {
            QoS::ExactlyOnce => {
                if reason_code.is_error() && self.version.is_v5() {
                    self.inflow.pubrec_refused(held.packet_id);
                }
                AcknowledgementKind::PubRec
            }
            _ => {
                self.inflow.puback_sent();
                AcknowledgementKind::PubAck
            }
        };
        answer(kind, held.packet_id, reason_code, self.version, output);
    }
}

/// Appends an acknowledgement; 3.1.1 leaves the Reason Code out.
pub(super) fn answer(
    kind: AcknowledgementKind,
    packet_id: PacketId,
    reason_code: ReasonCode,
    version: ProtocolVersion,
    output: &mut BytesMut,
) {
    let packet = Acknowledgement { packet_id, reason_code, properties: Properties::default() };
    // Only a Reason Code that the packet cannot have is refused, and all callers have one that it can have.
    let written = packet.encode(kind, version, output);
    debug_assert!(written.is_ok(), "{kind:?} with {reason_code}");
}
