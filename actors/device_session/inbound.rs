//! What a session's client sends: every packet, in the order of its arrival.

use actix::prelude::*;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::packet::{
    Acknowledgement, Disconnect, Packet, Publish, SubAck, Subscribe as SubscribePacket, UnsubAck,
    Unsubscribe as UnsubscribePacket, ping,
};
use mqtt::property::PropertyId;
use mqtt::session::{Arrival, PubRecOutcome, SessionEnd, UnexpectedAcknowledgement};
use mqtt::{Message as ApplicationMessage, PacketId, Properties, ProtocolVersion, QoS, ReasonCode};

use super::{DeviceSession, Ending, Progress};
use crate::messages::{Route, Subscribe, Unsubscribe};
use crate::{Origin, limits};

/// Packets that were read and not handled yet, and what becomes of those that are being handled.
#[derive(Default)]
pub struct Pending {
    packets: Vec<Packet>,
    /// The first packet that is not handled.
    next: usize,
    /// Messages on their way to the Router.
    batch: Vec<ApplicationMessage>,
    /// What the client is told when the batch is in the log, in the order of the packets `[MQTT-4.6.0-2]`.
    acknowledgements: Vec<(PacketId, QoS, ReasonCode)>,
}

impl Pending {
    /// Where the packets of the next read go.
    pub fn refill(&mut self) -> &mut Vec<Packet> {
        if self.next >= self.packets.len() {
            self.packets.clear();
            self.next = 0;
            if self.packets.capacity() > limits::ROUTE_BATCH_MESSAGES {
                self.packets = Vec::new();
            }
        }
        &mut self.packets
    }

    fn take_next(&mut self) -> Option<Packet> {
        let packet = self.packets.get_mut(self.next)?;
        self.next += 1;
        Some(std::mem::replace(packet, Packet::PingReq))
    }
}

impl DeviceSession {
    /// Handles packets until none is left or the Router must be asked first.
    pub(super) fn handle_pending(&mut self, context: &mut Context<Self>) -> Result<Progress, Ending> {
        loop {
            let Some(attachment) = &mut self.attachment else { return Ok(Progress::Waiting) };
            let pending = &mut attachment.pending;
            let publish_next = matches!(pending.packets.get(pending.next), Some(Packet::Publish(_)));
            let batch_waits = !pending.batch.is_empty() || !pending.acknowledgements.is_empty();
            if batch_waits && (!publish_next || pending.batch.len() >= limits::ROUTE_BATCH_MESSAGES) {
                self.route(context);
                return Ok(Progress::Waiting);
            }
            let Some(packet) = pending.take_next() else { return Ok(Progress::Done) };
            if let Progress::Waiting = self.handle_packet(packet, context)? {
                return Ok(Progress::Waiting);
            }
        }
    }

    fn handle_packet(&mut self, packet: Packet, context: &mut Context<Self>) -> Result<Progress, Ending> {
        match packet {
            Packet::Publish(publish) => self.publish(publish)?,
            Packet::PubAck(packet) => {
                self.outbound.puback(packet.packet_id).map_err(wrong_acknowledgement)?
            }
            Packet::PubRec(packet) => self.pubrec(&packet)?,
            Packet::PubRel(packet) => self.pubrel(packet.packet_id),
            Packet::PubComp(packet) => {
                self.outbound.pubcomp(packet.packet_id).map_err(wrong_acknowledgement)?
            }
            Packet::Subscribe(packet) => {
                self.subscribe(packet, context);
                return Ok(Progress::Waiting);
            }
            Packet::Unsubscribe(packet) => {
                self.unsubscribe(packet, context);
                return Ok(Progress::Waiting);
            }
            Packet::PingReq => {
                if let Some(attachment) = &mut self.attachment {
                    ping::encode_response(attachment.connection.output());
                }
            }
            Packet::Disconnect(packet) => return Err(self.disconnect(&packet)),
            Packet::Connect(_) => return Err(protocol_error("a second CONNECT")),
            Packet::Auth(_) => return Err(protocol_error("AUTH without an authentication method")),
            other => {
                return Err(protocol_error(&format!("{:?} is not for clients to send", other.packet_type())));
            }
        }
        Ok(Progress::Done)
    }

    /// PUBLISH: into the batch for the Router, and its acknowledgement behind that of earlier ones.
    fn publish(&mut self, publish: Publish) -> Result<(), Ending> {
        let Some(attachment) = &mut self.attachment else { return Ok(()) };
        let Publish { qos, retain, topic_name, packet_id, mut properties, payload, .. } = publish;
        let mut alias = None;
        if !properties.is_empty() {
            alias = properties.topic_alias();
            if properties.subscription_identifiers().next().is_some() {
                return Err(protocol_error("a subscription identifier is not for clients to send"));
            }
            properties = properties.without(|id| id == PropertyId::TopicAlias);
        }
        let topic_name = attachment
            .aliases
            .resolve(topic_name, alias)
            .map_err(|error| Ending::by_server(error.reason_code(), "topic alias"))?;
        if let Some(packet_id) = packet_id {
            let arrival = self.inflow.publish(qos, packet_id).map_err(|_| {
                Ending::by_server(ReasonCode::ReceiveMaximumExceeded, "receive maximum exceeded")
            })?;
            if arrival == Arrival::Duplicate {
                attachment.pending.acknowledgements.push((packet_id, qos, ReasonCode::Success));
                return Ok(());
            }
        }
        // `$SYS` is ours to write.
        let refused = topic_name.is_dollar() && topic_name.as_str().starts_with("$SYS/");
        if let Some(packet_id) = packet_id {
            let reason_code = if refused { ReasonCode::NotAuthorized } else { ReasonCode::Success };
            attachment.pending.acknowledgements.push((packet_id, qos, reason_code));
        }
        if !refused {
            attachment.pending.batch.push(ApplicationMessage {
                topic_name,
                qos,
                retain,
                properties,
                payload,
            });
        }
        Ok(())
    }

    /// Gives the batch to the Router and acknowledges it when it is in the log. Until then nothing more is read
    /// from the client: its TCP window is the back pressure.
    fn route(&mut self, context: &mut Context<Self>) {
        let Some(attachment) = &mut self.attachment else { return };
        let batch = std::mem::take(&mut attachment.pending.batch);
        if batch.is_empty() {
            self.acknowledge();
            // The driver goes on at once.
            context.wait(actix::fut::ready(()));
            return;
        }
        let route = Route { origin: Origin::Device, publisher: Some(self.id), batch };
        let routed = self.shared.router.send(route).into_actor(self);
        context.wait(routed.map(|routed, session, context| match routed {
            Ok(routed) => {
                session.acknowledge();
                if routed.wait_for_room {
                    session.wait_for_room(context);
                }
            }
            // The Router is gone, so the process is ending: nothing is acknowledged that is not in the log.
            Err(_) => context.stop(),
        }));
    }

    /// Stops reading until the upstream brokers have caught up.
    fn wait_for_room(&mut self, context: &mut Context<Self>) {
        let Some(attachment) = &mut self.attachment else { return };
        attachment.reading_paused = true;
        let log = self.shared.log.clone();
        let room = async move { log.room().await };
        context.spawn(room.into_actor(self).map(|(), session, context| {
            if let Some(attachment) = &mut session.attachment {
                attachment.reading_paused = false;
            }
            // The driver may have had its turn already: this gives it another.
            context.wait(actix::fut::ready(()));
        }));
    }

    /// PUBACK and PUBREC for the batch that is in the log.
    fn acknowledge(&mut self) {
        let Some(attachment) = &mut self.attachment else { return };
        let v5 = attachment.client.version.is_v5();
        for (packet_id, qos, reason_code) in attachment.pending.acknowledgements.drain(..) {
            let kind = match qos {
                QoS::ExactlyOnce => AcknowledgementKind::PubRec,
                _ => AcknowledgementKind::PubAck,
            };
            if kind == AcknowledgementKind::PubAck {
                self.inflow.puback_sent();
            }
            let output = attachment.connection.output();
            if reason_code.is_error() && v5 {
                if kind == AcknowledgementKind::PubRec {
                    self.inflow.pubrec_refused(packet_id);
                }
                let packet = Acknowledgement { packet_id, reason_code, properties: Properties::default() };
                if let Err(error) = packet.encode(kind, ProtocolVersion::V5, output) {
                    log::error!("client {}: {error}", self.client_id);
                }
            } else {
                acknowledgement::encode_success(output, kind, packet_id);
            }
        }
    }

    fn pubrec(&mut self, packet: &Acknowledgement) -> Result<(), Ending> {
        let outcome = self
            .outbound
            .pubrec(packet.packet_id, packet.reason_code.is_error())
            .map_err(wrong_acknowledgement)?;
        let reason_code = match outcome {
            PubRecOutcome::Refused(()) => return Ok(()),
            PubRecOutcome::Release => ReasonCode::Success,
            PubRecOutcome::NotFound => ReasonCode::PacketIdentifierNotFound,
        };
        self.answer(AcknowledgementKind::PubRel, packet.packet_id, reason_code);
        Ok(())
    }

    fn pubrel(&mut self, packet_id: PacketId) {
        let reason_code = match self.inflow.pubrel(packet_id) {
            true => ReasonCode::Success,
            false => ReasonCode::PacketIdentifierNotFound,
        };
        self.answer(AcknowledgementKind::PubComp, packet_id, reason_code);
    }

    fn answer(&mut self, kind: AcknowledgementKind, packet_id: PacketId, reason_code: ReasonCode) {
        let Some(attachment) = &mut self.attachment else { return };
        let packet = Acknowledgement { packet_id, reason_code, properties: Properties::default() };
        if let Err(error) = packet.encode(kind, attachment.client.version, attachment.connection.output()) {
            log::error!("client {}: {error}", self.client_id);
        }
    }

    fn subscribe(&mut self, packet: SubscribePacket, context: &mut Context<Self>) {
        let mut reason_codes = Vec::with_capacity(packet.subscriptions.len());
        let mut accepted = Vec::with_capacity(packet.subscriptions.len());
        for (filter, options) in packet.subscriptions {
            if filter.shared().is_some() {
                reason_codes.push(ReasonCode::SharedSubscriptionsNotSupported);
                continue;
            }
            reason_codes.push(match options.qos {
                QoS::AtMostOnce => ReasonCode::Success,
                QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
                QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
            });
            if self.subscriptions.insert(filter.clone()) {
                self.shared.metrics.subscriptions.inc();
            }
            accepted.push((filter, options));
        }
        let subscribe = Subscribe {
            session_id: self.id,
            deliver: context.address().recipient(),
            subscriptions: accepted,
            subscription_identifier: packet.properties.subscription_identifiers().next(),
        };
        let packet_id = packet.packet_id;
        let subscribed = self.shared.subscribe.send(subscribe).into_actor(self);
        context.wait(subscribed.map(move |subscribed, session, context| {
            let Ok(subscribed) = subscribed else {
                context.stop();
                return;
            };
            let properties = Properties::default();
            session.queue(&Packet::SubAck(SubAck { packet_id, properties, reason_codes }));
            let (connected, queue_limits) = (session.attachment.is_some(), session.queue_limits());
            for delivery in subscribed.retained {
                session.outbound.accept(delivery, connected, &queue_limits);
            }
        }));
    }

    fn unsubscribe(&mut self, packet: UnsubscribePacket, context: &mut Context<Self>) {
        for filter in &packet.topic_filters {
            if self.subscriptions.remove(filter) {
                self.shared.metrics.subscriptions.dec();
            }
        }
        let packet_id = packet.packet_id;
        let unsubscribe = Unsubscribe { session_id: self.id, topic_filters: packet.topic_filters };
        let unsubscribed = self.shared.unsubscribe.send(unsubscribe).into_actor(self);
        context.wait(unsubscribed.map(move |existed, session, context| {
            let Ok(existed) = existed else {
                context.stop();
                return;
            };
            let reason_code = |existed| match existed {
                true => ReasonCode::Success,
                false => ReasonCode::NoSubscriptionExisted,
            };
            let reason_codes = existed.into_iter().map(reason_code).collect();
            let properties = Properties::default();
            session.queue(&Packet::UnsubAck(UnsubAck { packet_id, properties, reason_codes }));
        }));
    }

    /// DISCONNECT: the connection ends as the client wants it.
    fn disconnect(&mut self, packet: &Disconnect) -> Ending {
        if let Some(interval_secs) = packet.properties.session_expiry_interval() {
            let interval_secs_max = self.shared.limits.session_expiry_secs_max;
            if self.expiry.change_at_disconnect(interval_secs, interval_secs_max).is_err() {
                return protocol_error("DISCONNECT raises a session expiry interval of 0");
            }
        }
        match packet.reason_code {
            ReasonCode::Success => Ending::by_client(SessionEnd::Normal),
            _ => Ending::by_client(SessionEnd::Abnormal),
        }
    }
}

fn protocol_error(text: &str) -> Ending {
    Ending::by_server(ReasonCode::ProtocolError, text)
}

fn wrong_acknowledgement(_: UnexpectedAcknowledgement) -> Ending {
    protocol_error("an acknowledgement of the wrong kind")
}
