//! What a session sends to its client: a bounded queue, the window of messages in flight, and the encoding.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::BytesMut;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::session::{Outflow, PubRecOutcome, Resend, UnexpectedAcknowledgement};
use mqtt::topic::alias::OutboundAliases;
use mqtt::{PacketId, ProtocolVersion, QoS};

use super::encoding;
use super::retained::RetainedWaiting;
use crate::delivery_queue::{DeliveryQueue, Dropped, QueueLimits};
use crate::limits;
use crate::messages::Delivery;
use crate::store::DeliveryStage;

/// The sending side of a session.
pub struct Outbound {
    pub(super) outflow: Outflow<Delivery>,
    /// What the Router has for the client.
    pub(super) queue: Arc<DeliveryQueue>,
    /// Retained messages that subscriptions asked for.
    pub(super) retained: RetainedWaiting,
    moves: Moves,
    /// The Topic Aliases of the connection, for a client that accepts some.
    aliases: Option<Box<OutboundAliases>>,
    /// Whether the client has acknowledged something since the last look.
    has_acknowledged: bool,
}

/// What happened to deliveries that must survive the process, since the last look.
#[derive(Debug, Default)]
pub struct Moves {
    /// Sent, under which Packet Identifier.
    pub sent: Vec<(PacketId, u64)>,
    /// PUBREC came.
    pub received: Vec<PacketId>,
    /// Nothing more is to be done.
    pub done: Vec<u64>,
    /// What is encoded must not go out before this is stored, or a restart would break exactly-once.
    pub hold_output: bool,
}

impl Moves {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.received.is_empty() && self.done.is_empty()
    }
}

/// What the client of the current connection accepts.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// The version that it speaks.
    pub version: ProtocolVersion,
    /// How many QoS 1 and 2 messages may be unacknowledged.
    pub receive_maximum: u16,
    /// The longest packet.
    pub packet_bytes_max: usize,
    /// How many Topic Aliases it accepts.
    pub topic_alias_maximum: u16,
}

/// What happened to the messages of one [`Outbound::fill`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Filled {
    /// Encoded for the client.
    pub delivered: u64,
    /// Packets that were encoded, with those that go out once more.
    pub packets: u64,
    /// The payloads of [`Filled::delivered`].
    pub payload_bytes: u64,
    /// Their Message Expiry Interval had passed.
    pub expired: u64,
    /// Longer than the client's Maximum Packet Size `[MQTT-3.1.2-25]`.
    pub too_large: u64,
}

impl Outbound {
    /// Nothing to send.
    pub fn new(queue_limits: QueueLimits) -> Outbound {
        Outbound {
            outflow: Outflow::new(1),
            queue: DeliveryQueue::new(queue_limits),
            retained: RetainedWaiting::default(),
            moves: Moves::default(),
            aliases: None,
            has_acknowledged: false,
        }
    }

    /// Where the Router puts messages for the client.
    pub fn queue(&self) -> &Arc<DeliveryQueue> {
        &self.queue
    }

    /// What waited and what was in flight before a restart, in its order.
    pub fn restore(&mut self, deliveries: Vec<(DeliveryStage, Delivery)>) {
        let mut in_flight = Vec::new();
        let mut queue = self.queue.lock();
        for (stage, delivery) in deliveries {
            match stage {
                DeliveryStage::Queued => queue.restore(delivery),
                DeliveryStage::Sent(packet_id) => {
                    in_flight.push((packet_id, delivery.qos, false, delivery));
                }
                DeliveryStage::Received(packet_id) => {
                    in_flight.push((packet_id, delivery.qos, true, delivery));
                }
            }
        }
        drop(queue);
        self.outflow.restore(in_flight);
    }

    /// How many messages wait, or are on their way.
    pub fn len(&self) -> usize {
        self.retained.len() + self.queue.len() + self.outflow.in_flight()
    }

    /// What happened to durable deliveries since the last time.
    pub fn take_moves(&mut self) -> Moves {
        std::mem::take(&mut self.moves)
    }

    /// A connection begins: what was in flight goes out again first.
    pub fn connected(&mut self, client: &ClientLimits) {
        self.outflow.resume(client.receive_maximum);
        let aliases = client.topic_alias_maximum.min(limits::OUTBOUND_TOPIC_ALIASES_MAX);
        self.aliases = (aliases > 0).then(|| Box::new(OutboundAliases::new(aliases)));
        self.queue.set_connected(true);
        self.retained.connect();
        self.has_acknowledged = true;
        self.show_window(Instant::now());
    }

    /// Share groups look at the window when they choose a member.
    fn show_window(&mut self, now: Instant) {
        let moved_at = std::mem::take(&mut self.has_acknowledged).then_some(now);
        let size = usize::from(self.outflow.receive_maximum());
        self.queue.lock().set_window(size, self.outflow.window(), moved_at);
    }

    /// The connection is gone: what a new one would not get again is forgotten.
    pub fn disconnected(&mut self) {
        self.queue.set_connected(false);
        self.shelve_retained();
    }

    /// Puts a batch of retained messages into the queue for the next connection.
    pub fn shelve_retained(&mut self) {
        let mut queue = self.queue.lock();
        for delivery in self.retained.disconnect() {
            queue.restore(delivery);
        }
    }

    /// Whether the client takes nothing and should be disconnected.
    pub fn is_hopeless(&self) -> bool {
        self.queue.lock().is_hopeless()
    }

    /// What the queue had no room for since the last time. `waker` is woken when there is something new in the queue.
    pub fn look(&mut self, waker: &Waker) -> Dropped {
        let mut queue = self.queue.lock();
        queue.set_waker(waker);
        let (dropped, given_up) = queue.take_dropped();
        self.moves.done.extend(given_up);
        dropped
    }

    /// Encodes what may go out now, until `output` is full, the window is, or nothing is left.
    pub fn fill(&mut self, output: &mut BytesMut, client: &ClientLimits, now: Instant) -> Filled {
        let filled = self.fill_output(output, client, now);
        self.show_window(now);
        filled
    }

    fn fill_output(&mut self, output: &mut BytesMut, client: &ClientLimits, now: Instant) -> Filled {
        let mut filled = Filled::default();
        self.resend(output, client, now, &mut filled);
        if self.outflow.is_resending() {
            self.queue.note_waiting();
            return filled;
        }
        self.fill_retained(output, client, now, &mut filled);
        if self.retained.lets_others_pass() {
            self.fill_from_queue(output, client, now, &mut filled);
        } else {
            self.queue.note_waiting();
        }
        filled
    }

    /// What was in flight when an earlier connection ended. A message that the client accepts no more counts as sent
    /// `[MQTT-3.1.2-25]`.
    fn resend(&mut self, output: &mut BytesMut, client: &ClientLimits, now: Instant, filled: &mut Filled) {
        while output.len() < limits::SESSION_OUTPUT_BYTES {
            match self.outflow.next_resend() {
                None => break,
                Some(Resend::PubRel(packet_id)) => {
                    acknowledgement::encode_success(output, AcknowledgementKind::PubRel, packet_id);
                }
                Some(Resend::Publish(packet_id, delivery))
                    if encoding::encoded_len(client, delivery) > client.packet_bytes_max =>
                {
                    filled.too_large += 1;
                    let given_up = self.outflow.abandon(packet_id);
                    self.moves.done.extend(given_up.and_then(|delivery| delivery.offset));
                    continue;
                }
                Some(Resend::Publish(packet_id, delivery)) => {
                    encoding::publish_again(output, client, delivery, packet_id, now);
                }
            }
            filled.packets += 1;
        }
    }

    fn fill_retained(
        &mut self,
        output: &mut BytesMut,
        client: &ClientLimits,
        now: Instant,
        filled: &mut Filled,
    ) {
        while let Some(delivery) = self.retained.front()
            && output.len() < limits::SESSION_OUTPUT_BYTES
            && (delivery.qos == QoS::AtMostOnce || self.outflow.has_room())
        {
            let Some(delivery) = self.retained.pop() else { break };
            self.send(delivery, output, client, now, filled);
        }
    }

    fn fill_from_queue(
        &mut self,
        output: &mut BytesMut,
        client: &ClientLimits,
        now: Instant,
        filled: &mut Filled,
    ) {
        let shared = self.queue.clone();
        let mut queue = shared.lock();
        while let Some(delivery) = queue.front()
            && output.len() < limits::SESSION_OUTPUT_BYTES
            && (delivery.qos == QoS::AtMostOnce || self.outflow.has_room())
        {
            let Some(delivery) = queue.take() else { break };
            self.send(delivery, output, client, now, filled);
        }
        shared.note_taken(&mut queue);
    }

    /// Encodes one message, unless it is too old or too large for the client.
    fn send(
        &mut self,
        delivery: Delivery,
        output: &mut BytesMut,
        client: &ClientLimits,
        now: Instant,
        filled: &mut Filled,
    ) {
        if encoding::remaining_expiry(&delivery, now) == Some(0) {
            filled.expired += 1;
            self.moves.done.extend(delivery.offset);
            return;
        }
        if encoding::encoded_len(client, &delivery) > client.packet_bytes_max {
            filled.too_large += 1;
            self.moves.done.extend(delivery.offset);
            return;
        }
        filled.delivered += 1;
        filled.packets += 1;
        filled.payload_bytes += delivery.message.payload.len() as u64;
        let aliases = self.aliases.as_deref_mut();
        if delivery.qos == QoS::AtMostOnce {
            return encoding::publish(output, client, &delivery, None, aliases, now);
        }
        let packet_id = self.outflow.send(delivery.qos, delivery.clone());
        if let (Some(packet_id), Some(offset)) = (packet_id, delivery.offset) {
            self.moves.sent.push((packet_id, offset));
            self.moves.hold_output |= delivery.qos == QoS::ExactlyOnce;
        }
        encoding::publish(output, client, &delivery, packet_id, aliases, now);
    }

    /// PUBACK arrived.
    ///
    /// # Errors
    /// Where the client acknowledges what was not sent so: a Protocol Error.
    pub fn puback(&mut self, packet_id: PacketId) -> Result<(), UnexpectedAcknowledgement> {
        self.has_acknowledged = true;
        ignore_repeated(
            self.outflow.puback(packet_id).map(|delivery| self.moves.done.extend(delivery.offset)),
        )
    }

    /// PUBREC arrived; answers whether PUBREL follows, and whether the message was known.
    ///
    /// # Errors
    /// As with [`Outbound::puback`].
    pub fn pubrec(
        &mut self,
        packet_id: PacketId,
        refused: bool,
    ) -> Result<PubRecOutcome<()>, UnexpectedAcknowledgement> {
        self.has_acknowledged = true;
        self.outflow.pubrec(packet_id, refused).map(|outcome| match outcome {
            PubRecOutcome::Release => {
                self.moves.received.push(packet_id);
                self.moves.hold_output = true;
                PubRecOutcome::Release
            }
            PubRecOutcome::Refused(delivery) => {
                self.moves.done.extend(delivery.offset);
                PubRecOutcome::Refused(())
            }
            PubRecOutcome::NotFound => PubRecOutcome::NotFound,
        })
    }

    /// PUBCOMP arrived.
    ///
    /// # Errors
    /// As with [`Outbound::puback`].
    pub fn pubcomp(&mut self, packet_id: PacketId) -> Result<(), UnexpectedAcknowledgement> {
        self.has_acknowledged = true;
        ignore_repeated(
            self.outflow.pubcomp(packet_id).map(|delivery| self.moves.done.extend(delivery.offset)),
        )
    }
}

/// An acknowledgement that comes late or twice is harmless.
fn ignore_repeated(result: Result<(), UnexpectedAcknowledgement>) -> Result<(), UnexpectedAcknowledgement> {
    match result {
        Err(UnexpectedAcknowledgement::NotFound) => Ok(()),
        other => other,
    }
}
