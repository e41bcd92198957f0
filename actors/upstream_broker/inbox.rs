//! From the wire of one upstream broker to the Router: what a bidirectional broker publishes.

use bytes::BytesMut;
use mqtt::packet::Publish;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::property::PropertyId;
use mqtt::session::{Arrival, Inflow};
use mqtt::{Message, PacketId, ProtocolVersion, QoS};

use super::connect::{Cause, Failure};
use super::outbox::Outbox;
use crate::limits;

/// What came in and is not acknowledged yet.
pub struct Inbox {
    inflow: Inflow,
    batch: Vec<Message>,
    /// Acknowledgements that go out once the batch is in the log, in the order of the packets `[MQTT-4.6.0-2]`.
    acknowledgements: Vec<(AcknowledgementKind, PacketId)>,
}

impl Inbox {
    /// Nothing came yet.
    pub fn new() -> Inbox {
        Inbox { inflow: Inflow::new(u16::MAX), batch: Vec::new(), acknowledgements: Vec::new() }
    }

    /// A new connection: QoS 2 messages wait for their PUBREL across connections, as long as the Session lasts.
    pub fn connected(&mut self, session_present: bool, version: ProtocolVersion) {
        // 3.1.1 knows no Receive Maximum: the broker cannot break what it was not told.
        let receive_maximum = if version.is_v5() { limits::UPSTREAM_RECEIVE_MAXIMUM } else { u16::MAX };
        match session_present {
            true => self.inflow.resume(receive_maximum),
            false => self.inflow = Inflow::new(receive_maximum),
        }
        self.batch.clear();
        self.acknowledgements.clear();
    }

    /// PUBLISH arrived. `wanted` says whether messages of this broker are taken at all; others are acknowledged
    /// and forgotten (a subscription of an earlier configuration may still be in its Session).
    ///
    /// # Errors
    /// Where the broker breaks the protocol.
    pub fn publish(&mut self, publish: Publish, wanted: bool, outbox: &mut Outbox) -> Result<(), Failure> {
        let fault = |text: &str| Failure::new(Cause::Protocol, text);
        let arrival = match publish.packet_id {
            None => Arrival::New,
            Some(packet_id) => {
                let arrival = self.inflow.publish(publish.qos, packet_id);
                let kind = match publish.qos {
                    QoS::ExactlyOnce => AcknowledgementKind::PubRec,
                    _ => AcknowledgementKind::PubAck,
                };
                self.acknowledgements.push((kind, packet_id));
                arrival.map_err(|_| fault("the broker exceeded our receive maximum"))?
            }
        };
        let topic_name = publish.topic_name.ok_or_else(|| fault("the broker sent a topic alias unasked"))?;
        // A repeat is no second echo, so this comes last.
        let mut is_ours = || outbox.is_echo(topic_name.as_str().as_bytes(), &publish.payload);
        if arrival == Arrival::New && wanted && !is_ours() {
            let per_connection =
                |id| matches!(id, PropertyId::SubscriptionIdentifier | PropertyId::TopicAlias);
            self.batch.push(Message {
                topic_name,
                qos: publish.qos,
                retain: publish.retain,
                properties: publish.properties.without(per_connection),
                payload: publish.payload,
            });
        }
        Ok(())
    }

    /// PUBREL arrived: PUBCOMP goes out, also for an identifier that nobody knows `[MQTT-4.3.3-11]`.
    pub fn pubrel(&mut self, packet_id: PacketId, output: &mut BytesMut) {
        self.inflow.pubrel(packet_id);
        acknowledgement::encode_success(output, AcknowledgementKind::PubComp, packet_id);
    }

    /// The messages for the Router, in order.
    pub fn take_batch(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.batch)
    }

    /// The batch is in the log: acknowledges it.
    pub fn acknowledge(&mut self, output: &mut BytesMut) {
        for (kind, packet_id) in self.acknowledgements.drain(..) {
            if kind == AcknowledgementKind::PubAck {
                self.inflow.puback_sent();
            }
            acknowledgement::encode_success(output, kind, packet_id);
        }
    }
}
