//! What a session's client sends: every packet, in the order of its arrival.

use std::task::Poll;

use actix::prelude::*;
use mqtt::message::payload_format_fits;
use mqtt::packet::acknowledgement::AcknowledgementKind;
use mqtt::packet::{
    Acknowledgement, Packet, Publish, SubAck, Subscribe as SubscribePacket, UnsubAck,
    Unsubscribe as UnsubscribePacket, ping,
};
use mqtt::property::PropertyId;
use mqtt::session::{Arrival, PubRecOutcome, UnexpectedAcknowledgement};
use mqtt::{Message as ApplicationMessage, PacketId, Properties, QoS, ReasonCode};

use super::answers::{Answer, Due};
use super::{DeviceSession, Ending};
use crate::bridge::Neighbour;
use crate::messages::{ExactlyOnce, Route, Routed, Subscribe, Subscribed, Unsubscribe};
use crate::promise::Promise;
use crate::store::{Change, SessionKey};
use crate::{Origin, Quota, limits};

/// Whether the packets that came in are handled.
pub enum Progress {
    /// All of them.
    Done,
    /// The Router was asked something; the rest follows after its answer.
    Asked,
    /// The rest has to wait for others.
    Waiting,
}

/// Packets that were read and not handled yet, and what becomes of those that are being handled.
#[derive(Default)]
pub struct Pending {
    packets: Vec<Packet>,
    /// The first packet that is not handled.
    next: usize,
    /// Messages on their way to the Router.
    pub(super) batch: Vec<ApplicationMessage>,
    /// What the client is told when the batch is in the log, in the order of the packets `[MQTT-4.6.0-2]`.
    pub(super) acknowledgements: Vec<Due>,
    /// Payload bytes that came in and are not counted yet.
    payload_bytes: u64,
    /// How the connection ends once the batch before the packet that ends it is routed.
    ending: Option<Ending>,
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

    /// Whether packets wait to be handled.
    pub fn has_packets(&self) -> bool {
        self.next < self.packets.len()
    }

    /// The QoS 2 messages of the batch, for a session that survives the process.
    fn exactly_once(&self, session: SessionKey) -> Option<ExactlyOnce> {
        let qos_2 = self.acknowledgements.iter().filter(|due| due.qos == QoS::ExactlyOnce);
        let packet_ids: Vec<_> =
            qos_2.filter_map(|due| due.message.map(|index| (index, due.packet_id))).collect();
        (!packet_ids.is_empty()).then_some(ExactlyOnce { session, packet_ids })
    }

    fn take_next(&mut self) -> Option<Packet> {
        let packet = self.packets.get_mut(self.next)?;
        self.next += 1;
        Some(std::mem::replace(packet, Packet::PingReq))
    }

    fn has_batch(&self) -> bool {
        !self.batch.is_empty() || !self.acknowledgements.is_empty()
    }

    /// Nothing behind the packet that ends the connection counts, but what came before it does.
    fn end_behind_batch(&mut self, ending: Ending) {
        self.packets.clear();
        self.next = 0;
        self.ending = Some(ending);
    }
}

impl DeviceSession {
    /// Handles packets until none is left or the Router must be asked first.
    pub(super) fn handle_pending(&mut self, context: &mut Context<Self>) -> Result<Progress, Ending> {
        loop {
            let Some(attachment) = &mut self.attachment else { return Ok(Progress::Waiting) };
            if attachment.routing_paused {
                return Ok(Progress::Waiting);
            }
            let pending = &mut attachment.pending;
            let publish_next = matches!(pending.packets.get(pending.next), Some(Packet::Publish(_)));
            let batch_waits = pending.has_batch();
            if batch_waits && (!publish_next || pending.batch.len() >= limits::ROUTE_BATCH_MESSAGES) {
                self.route(context);
                return Ok(Progress::Asked);
            }
            if let Some(ending) = pending.ending.take() {
                return Err(ending);
            }
            if publish_next && !self.is_message_due(batch_waits)? {
                if batch_waits {
                    self.route(context);
                    return Ok(Progress::Asked);
                }
                return Ok(Progress::Waiting);
            }
            let Some(attachment) = &mut self.attachment else { return Ok(Progress::Waiting) };
            let pending = &mut attachment.pending;
            let Some(packet) = pending.take_next() else { return Ok(Progress::Done) };
            match (self.handle_packet(packet, context), &mut self.attachment) {
                (Ok(Progress::Done), _) => {}
                (Ok(progress), _) => return Ok(progress),
                (Err(ending), Some(attachment)) if attachment.pending.has_batch() => {
                    attachment.pending.end_behind_batch(ending);
                }
                (Err(ending), _) => return Err(ending),
            }
        }
    }

    /// A connection that broke while the Router is being asked ends when the answer is there: a question whose asker is
    /// gone would not be heard.
    pub(super) fn end_behind_answer(&mut self, sent: Poll<Ending>) -> Poll<Ending> {
        if let Poll::Ready(ending) = sent
            && let Some(attachment) = &mut self.attachment
        {
            attachment.pending.end_behind_batch(ending);
        }
        Poll::Pending
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
                return Ok(Progress::Asked);
            }
            Packet::Unsubscribe(packet) => {
                self.unsubscribe(packet, context);
                return Ok(Progress::Asked);
            }
            Packet::PingReq => {
                if let Some(attachment) = &mut self.attachment {
                    ping::encode_response(attachment.connection.output());
                    attachment.connection.encoded(1);
                }
            }
            Packet::Disconnect(packet) => return Err(self.disconnect(&packet)),
            Packet::Connect(_) => return Err(Ending::protocol_error("a second CONNECT")),
            Packet::Auth(packet) => self.authenticate(&packet)?,
            other => {
                return Err(Ending::protocol_error(&format!(
                    "{:?} is not for clients to send",
                    other.packet_type()
                )));
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
                return Err(Ending::protocol_error("a subscription identifier is not for clients to send"));
            }
            properties = properties.without(|id| id == PropertyId::TopicAlias);
        }
        let topic_name = attachment
            .aliases
            .resolve(topic_name, alias)
            .map_err(|error| Ending::by_server(error.reason_code(), &error.to_string()))?;
        if packet_id.is_none()
            && let Some(neighbour) = &mut self.neighbour
            && let Some(answer) = neighbour.introduced(&topic_name, &payload)
        {
            self.queue(&Packet::Publish(answer));
            return Ok(());
        }
        let mut reason_code = self.check_topic_name(&topic_name, qos)?;
        let mut arrival = Arrival::New;
        if let Some(packet_id) = packet_id {
            let Ok(arrived) = self.inflow.publish(qos, packet_id) else {
                self.exceeded(Quota::ReceiveMaximum, "too many messages without their acknowledgement");
                let reason_code = ReasonCode::ReceiveMaximumExceeded;
                return Err(Ending::by_server(reason_code, "receive maximum exceeded"));
            };
            arrival = arrived;
        }
        if reason_code == ReasonCode::Success && !self.is_as_it_says(&properties, &payload) {
            reason_code = ReasonCode::PayloadFormatInvalid;
            if packet_id.is_none() {
                return Err(Ending::by_server(reason_code, "the payload is not UTF-8 as it says"));
            }
        }
        let is_new = arrival == Arrival::New && reason_code == ReasonCode::Success;
        let topic = topic_name.as_str().as_bytes();
        let came_round = |neighbour: &Neighbour| neighbour.came_round(topic, &payload, &properties);
        // A message that came round is acknowledged and forgotten.
        let is_routed = is_new && !self.neighbour.as_ref().is_some_and(came_round);
        let Some(attachment) = &mut self.attachment else { return Ok(()) };
        attachment.pending.payload_bytes += payload.len() as u64;
        if let Some(packet_id) = packet_id {
            attachment.pending.acknowledgements.push(Due {
                packet_id,
                qos,
                reason_code,
                message: is_routed.then_some(attachment.pending.batch.len()),
            });
        }
        if is_routed {
            let message = ApplicationMessage { topic_name, qos, retain, properties, payload };
            attachment.pending.batch.push(message);
        }
        Ok(())
    }

    /// Whether a payload that is said to be UTF-8 is, where that is looked at.
    fn is_as_it_says(&self, properties: &Properties, payload: &[u8]) -> bool {
        !self.shared.server.check_payload_format || payload_format_fits(properties, payload)
    }

    /// Gives the batch to the Router. Until it answers nothing more is read from the client: its TCP window is the
    /// back pressure.
    fn route(&mut self, context: &mut Context<Self>) {
        let Some(attachment) = &mut self.attachment else { return };
        let payload_bytes = std::mem::take(&mut attachment.pending.payload_bytes);
        if payload_bytes > 0 {
            self.shared.metrics.payload_bytes_received.inc_by(payload_bytes);
        }
        let batch = std::mem::take(&mut attachment.pending.batch);
        if batch.is_empty() {
            self.acknowledge(&Routed::default(), 0);
            // The driver goes on at once.
            context.wait(actix::fut::ready(()));
            return;
        }
        let count = batch.len();
        let route = Route {
            origin: self.neighbour.as_ref().map_or(Origin::Device, Neighbour::origin),
            publisher: Some(self.id),
            exactly_once: self.durable.and_then(|session| attachment.pending.exactly_once(session)),
            may_refuse: attachment.client.version.is_v5(),
            batch,
        };
        let routed = self.shared.router.send(route).into_actor(self);
        context.wait(routed.map(move |routed, session, context| match routed {
            Ok(routed) => session.routed(routed, count, context),
            // The Router is gone, so the process is ending: nothing is acknowledged that is not in the log.
            Err(_) => context.stop(),
        }));
    }

    fn pubrec(&mut self, packet: &Acknowledgement) -> Result<(), Ending> {
        let outcome = self
            .outbound
            .pubrec(packet.packet_id, packet.reason_code.is_error())
            .map_err(wrong_acknowledgement)?;
        let reason_code = match outcome {
            PubRecOutcome::Refused(()) => return Ok(()),
            // The flow is over on both sides `[MQTT-4.3.3-4]`.
            PubRecOutcome::NotFound if packet.reason_code.is_error() => return Ok(()),
            PubRecOutcome::Release => ReasonCode::Success,
            PubRecOutcome::NotFound => ReasonCode::PacketIdentifierNotFound,
        };
        self.answer(AcknowledgementKind::PubRel, packet.packet_id, reason_code);
        Ok(())
    }

    /// PUBREL: PUBCOMP goes out when a restart cannot bring the identifier back, or the client's next message under it
    /// would be taken for a repeat.
    fn pubrel(&mut self, packet_id: PacketId) {
        let (reason_code, promise) = match (self.inflow.pubrel(packet_id), self.durable) {
            (false, _) => (ReasonCode::PacketIdentifierNotFound, Promise::Nothing),
            (true, None) => (ReasonCode::Success, Promise::Nothing),
            (true, Some(session)) => {
                let released = Change::Released { session, packet_ids: vec![packet_id] };
                (ReasonCode::Success, self.record(&[released]))
            }
        };
        self.held.push(promise, Answer::PubComp(packet_id, reason_code));
    }

    pub(super) fn answer(&mut self, kind: AcknowledgementKind, packet_id: PacketId, reason_code: ReasonCode) {
        let Some(attachment) = &mut self.attachment else { return };
        let packet = Acknowledgement { packet_id, reason_code, properties: Properties::default() };
        match packet.encode(kind, attachment.client.version, attachment.connection.output()) {
            Ok(()) => attachment.connection.encoded(1),
            Err(error) => log::error!("client {}: {error}", self.client_id),
        }
    }

    fn subscribe(&mut self, packet: SubscribePacket, context: &mut Context<Self>) {
        let mut reason_codes = Vec::with_capacity(packet.subscriptions.len());
        let mut accepted = Vec::with_capacity(packet.subscriptions.len());
        let is_bridge = self.neighbour.as_ref().is_some_and(Neighbour::is_plain);
        for (filter, mut options) in packet.subscriptions {
            // With a shared subscription there is no such thing `[MQTT-3.8.3-4]`.
            options.no_local |= is_bridge && filter.shared().is_none();
            let reason_code = self.grant(&filter, options);
            reason_codes.push(reason_code);
            if reason_code.is_error() {
                continue;
            }
            if self.subscriptions.insert(filter.clone()) {
                self.shared.metrics.subscriptions.inc();
            }
            accepted.push((filter, options));
        }
        let subscription_identifier = packet.properties.subscription_identifiers().next();
        let promise = self.record_subscriptions(&accepted, subscription_identifier);
        let subscribe = Subscribe {
            session_id: self.id,
            queue: self.outbound.queue().clone(),
            subscriptions: accepted,
            subscription_identifier,
            durable: self.durable,
            retained: self.retained_wish(),
        };
        let packet_id = packet.packet_id;
        let subscribed = self.shared.subscribe.send(subscribe).into_actor(self);
        context.wait(subscribed.map(move |subscribed, session, context| {
            let Ok(subscribed) = subscribed else {
                context.stop();
                return;
            };
            let Subscribed { mut retained, searches, .. } = subscribed;
            session.record_queued(&mut retained);
            session.outbound.retained.extend(retained);
            session.outbound.retained.search(searches);
            let suback = SubAck { packet_id, properties: Properties::default(), reason_codes };
            session.hold_packet(promise, Packet::SubAck(suback));
        }));
    }

    fn unsubscribe(&mut self, packet: UnsubscribePacket, context: &mut Context<Self>) {
        for filter in &packet.topic_filters {
            self.outbound.retained.forget(filter);
            if self.subscriptions.remove(filter) {
                self.shared.metrics.subscriptions.dec();
            }
        }
        let promise = self.record_unsubscribed(&packet.topic_filters);
        let packet_id = packet.packet_id;
        let has_shared = packet.topic_filters.iter().any(|filter| filter.shared().is_some());
        let unsubscribe = Unsubscribe { session_id: self.id, topic_filters: packet.topic_filters };
        let unsubscribed = self.shared.unsubscribe.send(unsubscribe).into_actor(self);
        context.wait(unsubscribed.map(move |existed, session, context| {
            let Ok(existed) = existed else {
                context.stop();
                return;
            };
            if has_shared {
                session.hand_over_unsubscribed();
            }
            let reason_code = |existed| match existed {
                true => ReasonCode::Success,
                false => ReasonCode::NoSubscriptionExisted,
            };
            let reason_codes = existed.into_iter().map(reason_code).collect();
            let unsuback = UnsubAck { packet_id, properties: Properties::default(), reason_codes };
            session.hold_packet(promise, Packet::UnsubAck(unsuback));
        }));
    }
}

fn wrong_acknowledgement(_: UnexpectedAcknowledgement) -> Ending {
    Ending::protocol_error("an acknowledgement of the wrong kind")
}
