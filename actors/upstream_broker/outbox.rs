//! From the log to the wire of one upstream broker: what goes out next, what is in flight, and what must go out
//! again. It outlives connections; the log keeps the bytes.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mqtt::packet::Acknowledgement;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::packet::publish::{self, PublishHeader};
use mqtt::property::PropertyOwner;
use mqtt::session::{Outflow, PubRecOutcome, Resend, UnexpectedAcknowledgement};
use mqtt::{PacketId, Properties, ProtocolVersion, QoS};

use super::connect::Capabilities;
use super::filter::RecordFilter;
use super::loop_guard::LoopGuard;
use super::status::{DropReason, UpstreamStatus};
use crate::limits;
use crate::message_log::{LogReader, Record};

/// A message that the broker has not acknowledged to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight {
    offset: u64,
    qos: QoS,
}

/// What goes out to one broker.
pub struct Outbox {
    reader: LogReader,
    filter: RecordFilter,
    max_qos: QoS,
    outflow: Outflow<InFlight>,
    /// In flight in a Session that the broker lost: to be sent anew, before anything newer.
    anew: VecDeque<u64>,
    /// For a broker that sends our own messages back.
    echoes: Option<Echoes>,
}

/// Which of our messages come back, and how they are recognised.
struct Echoes {
    subscribed: RecordFilter,
    guard: LoopGuard,
}

/// What to do with one record.
#[derive(Clone, Copy)]
enum Verdict {
    Send(QoS),
    Skip,
    Drop(DropReason),
}

/// The connection as far as the outbox needs it.
#[derive(Clone, Copy)]
pub struct Wire {
    /// The version that the broker speaks.
    pub version: ProtocolVersion,
    /// What the broker allows.
    pub capabilities: Capabilities,
}

impl Outbox {
    /// Nothing in flight. The first Packet Identifier is any: the broker may remember some of an earlier life.
    pub fn new(reader: LogReader, filter: RecordFilter, max_qos: Option<QoS>) -> Outbox {
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        let first = PacketId::new((random >> 48) as u16).unwrap_or(PacketId::FIRST);
        Outbox {
            reader,
            filter,
            max_qos: max_qos.unwrap_or(QoS::ExactlyOnce),
            outflow: Outflow::starting_at(first, limits::UPSTREAM_IN_FLIGHT_MAX),
            anew: VecDeque::new(),
            echoes: None,
        }
    }

    /// Another filter or QoS for what comes next.
    pub fn set_rule(&mut self, filter: RecordFilter, max_qos: Option<QoS>) {
        self.filter = filter;
        self.max_qos = max_qos.unwrap_or(QoS::ExactlyOnce);
    }

    /// The broker accepted a connection. With its Session present, what was in flight goes out again as it was
    /// `[MQTT-4.4.0-1]`; without, it goes out as new: nothing is lost, and what the broker had taken just before
    /// it forgot may come twice.
    pub fn connected(&mut self, session_present: bool, capabilities: &Capabilities) {
        self.outflow.set_qos_2_maximum(capabilities.qos_2_maximum);
        if session_present {
            self.outflow.resume(capabilities.receive_maximum);
        } else {
            for in_flight in self.outflow.reset(capabilities.receive_maximum).into_iter().rev() {
                self.anew.push_front(in_flight.offset);
            }
        }
        self.reader.set_connected(true);
    }

    /// Whether the broker will send back what matches these subscriptions of ours; `None` where it will not.
    pub fn expect_echoes(&mut self, subscribed: Option<RecordFilter>) {
        let earlier = self.echoes.take().map(|echoes| echoes.guard);
        let guard = || LoopGuard::new(limits::ECHO_PATIENCE, limits::ECHO_CREDITS_MAX);
        self.echoes =
            subscribed.map(|subscribed| Echoes { subscribed, guard: earlier.unwrap_or_else(guard) });
    }

    /// Whether a message of the broker is one of ours that it sends back.
    pub fn is_echo(&mut self, topic_name: &[u8], payload: &[u8]) -> bool {
        let Some(echoes) = &mut self.echoes else { return false };
        echoes.guard.is_echo(topic_name, payload, Instant::now())
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.reader.set_connected(false);
    }

    /// Encodes what may go out now, until `output` is full, the window is, or nothing is left. `now_micros` is
    /// the time since the Unix epoch. Returns the time of receipt of one of the messages, as a sample.
    pub fn fill(
        &mut self,
        output: &mut BytesMut,
        wire: &Wire,
        status: &UpstreamStatus,
        now_micros: u64,
    ) -> Option<u64> {
        let mut sample = None;
        self.fill_again(output, wire, status, now_micros);
        if self.outflow.is_resending() || !self.anew.is_empty() {
            return sample;
        }
        let (mut sent_at_qos_0, mut expired, mut too_large) = (0, 0, 0);
        while output.len() < limits::UPSTREAM_OUTPUT_BYTES {
            let Some((offset, record)) = self.reader.peek() else { break };
            let verdict = verdict(&mut self.filter, self.max_qos, &record, wire, now_micros);
            match verdict {
                Verdict::Skip => {}
                Verdict::Drop(DropReason::Expired) => expired += 1,
                Verdict::Drop(_) => too_large += 1,
                Verdict::Send(QoS::AtMostOnce) => {
                    encode(output, wire, &record, QoS::AtMostOnce, None, false, now_micros);
                    sent_at_qos_0 += 1;
                    sample = Some(record.received_at_micros);
                }
                Verdict::Send(qos) => {
                    let Some(packet_id) = self.outflow.send(qos, InFlight { offset, qos }) else { break };
                    encode(output, wire, &record, qos, Some(packet_id), false, now_micros);
                    sample = Some(record.received_at_micros);
                }
            }
            if let (Verdict::Send(_), Some(echoes)) = (verdict, &mut self.echoes)
                && echoes.subscribed.wants_topic(record.topic_name)
            {
                echoes.guard.sent(record.topic_name, record.payload, Instant::now());
            }
            self.reader.advance();
        }
        for (reason, count) in [(DropReason::Expired, expired), (DropReason::TooLarge, too_large)] {
            if count > 0 {
                status.count_dropped(reason, count);
            }
        }
        if sent_at_qos_0 > 0 {
            status.count_forwarded(sent_at_qos_0);
        }
        sample
    }

    /// Encodes what an earlier connection left behind, as far as the window allows.
    fn fill_again(&mut self, output: &mut BytesMut, wire: &Wire, status: &UpstreamStatus, now_micros: u64) {
        while output.len() < limits::UPSTREAM_OUTPUT_BYTES {
            let (packet_id, in_flight) = match self.outflow.next_resend() {
                None => break,
                Some(Resend::Publish(packet_id, in_flight)) => (packet_id, *in_flight),
                Some(Resend::PubRel(packet_id)) => {
                    acknowledgement::encode_success(output, AcknowledgementKind::PubRel, packet_id);
                    continue;
                }
            };
            let encoded = self.reader.visit(in_flight.offset, |record| {
                encode(output, wire, &record, in_flight.qos, Some(packet_id), true, now_micros);
            });
            if encoded.is_none() {
                self.outflow.abandon(packet_id);
                status.count_dropped(DropReason::Overflow, 1);
            }
        }
        if self.outflow.is_resending() {
            return;
        }
        while let Some(offset) = self.anew.front().copied() {
            if output.len() >= limits::UPSTREAM_OUTPUT_BYTES || !self.outflow.has_room() {
                return;
            }
            let Outbox { reader, filter, outflow, max_qos, .. } = self;
            let sent = reader.visit(offset, |record| {
                let qos = match verdict(filter, *max_qos, &record, wire, now_micros) {
                    Verdict::Send(qos) => qos,
                    Verdict::Skip => return true,
                    Verdict::Drop(reason) => {
                        status.count_dropped(reason, 1);
                        return true;
                    }
                };
                let packet_id = outflow.send(qos, InFlight { offset, qos });
                if qos != QoS::AtMostOnce && packet_id.is_none() {
                    return false;
                }
                encode(output, wire, &record, qos, packet_id, false, now_micros);
                status.count_forwarded((qos == QoS::AtMostOnce).into());
                true
            });
            match sent {
                Some(true) => {}
                Some(false) => return,
                None => status.count_dropped(DropReason::Overflow, 1),
            }
            self.anew.pop_front();
        }
    }

    /// PUBACK arrived.
    ///
    /// # Errors
    /// Where the broker acknowledges what was not sent so: a Protocol Error.
    pub fn puback(
        &mut self,
        packet: &Acknowledgement,
        status: &UpstreamStatus,
    ) -> Result<u64, UnexpectedAcknowledgement> {
        match self.outflow.puback(packet.packet_id) {
            Ok(_) if packet.reason_code.is_error() => {
                status.count_dropped(DropReason::Refused, 1);
                Ok(0)
            }
            Ok(_) => Ok(1),
            Err(UnexpectedAcknowledgement::NotFound) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// PUBREC arrived; the answer is encoded.
    ///
    /// # Errors
    /// As with [`Outbox::puback`].
    pub fn pubrec(
        &mut self,
        packet: &Acknowledgement,
        output: &mut BytesMut,
        status: &UpstreamStatus,
    ) -> Result<(), UnexpectedAcknowledgement> {
        match self.outflow.pubrec(packet.packet_id, packet.reason_code.is_error())? {
            PubRecOutcome::Refused(_) => status.count_dropped(DropReason::Refused, 1),
            // "Packet Identifier not found" would be truer for the second, but 3.1.1 cannot say it and 5.0
            // lets the sender choose: PUBREL makes the broker let go of the identifier either way.
            PubRecOutcome::Release | PubRecOutcome::NotFound => {
                acknowledgement::encode_success(output, AcknowledgementKind::PubRel, packet.packet_id);
            }
        }
        Ok(())
    }

    /// PUBCOMP arrived.
    ///
    /// # Errors
    /// As with [`Outbox::puback`].
    pub fn pubcomp(&mut self, packet: &Acknowledgement) -> Result<u64, UnexpectedAcknowledgement> {
        match self.outflow.pubcomp(packet.packet_id) {
            Ok(_) => Ok(1),
            Err(UnexpectedAcknowledgement::NotFound) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// A Packet Identifier for SUBSCRIBE or UNSUBSCRIBE.
    pub fn reserve(&mut self) -> Option<PacketId> {
        self.outflow.reserve()
    }

    /// SUBACK or UNSUBACK arrived; `false` where nobody asked.
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        self.outflow.release(packet_id)
    }

    /// The lowest offset that is still needed.
    pub fn cursor(&self) -> u64 {
        let in_flight = self.outflow.oldest().map(|in_flight| in_flight.offset);
        let anew = self.anew.front().copied();
        [in_flight, anew].into_iter().flatten().fold(self.reader.position(), u64::min)
    }

    /// Tells the log and the status how far the broker is.
    pub fn publish_progress(&mut self, status: &UpstreamStatus) {
        let cursor = self.cursor();
        self.reader.publish(cursor);
        status.set_in_flight(self.in_flight() as u64);
    }

    /// Messages that wait for an acknowledgement, or for the connection on which they can be sent again.
    pub fn in_flight(&self) -> usize {
        self.outflow.in_flight() + self.anew.len()
    }

    /// Whether the broker has everything that the log has.
    pub fn is_drained(&mut self) -> bool {
        self.in_flight() == 0 && self.reader.peek().is_none()
    }
}

/// Decides about one record.
fn verdict(
    filter: &mut RecordFilter,
    max_qos: QoS,
    record: &Record<'_>,
    wire: &Wire,
    now_micros: u64,
) -> Verdict {
    if !filter.wants(record) {
        return Verdict::Skip;
    }
    if !record.properties.is_empty() && matches!(remaining_expiry(record, now_micros), Some((_, 0))) {
        return Verdict::Drop(DropReason::Expired);
    }
    let qos = record.qos.min(max_qos).min(wire.capabilities.maximum_qos);
    let lengths = (record.topic_name.len(), record.properties.len(), record.payload.len());
    if wire.capabilities.packet_bytes_max < usize::MAX
        && publish::encoded_len_parts(wire.version, qos, lengths.0, lengths.1, lengths.2)
            > wire.capabilities.packet_bytes_max
    {
        return Verdict::Drop(DropReason::TooLarge);
    }
    Verdict::Send(qos)
}

/// The properties and how many seconds the message has left, where it expires at all.
fn remaining_expiry(record: &Record<'_>, now_micros: u64) -> Option<(Properties, u32)> {
    let properties =
        Properties::parse(Bytes::copy_from_slice(record.properties), PropertyOwner::Publish).ok()?;
    let interval = properties.message_expiry_interval()?;
    let waited_secs = now_micros.saturating_sub(record.received_at_micros) / 1_000_000;
    Some((properties, u32::try_from(waited_secs).map_or(0, |waited| interval.saturating_sub(waited))))
}

/// Appends the PUBLISH. Its fields were checked when the message was received, so it can always be encoded.
fn encode(
    output: &mut BytesMut,
    wire: &Wire,
    record: &Record<'_>,
    qos: QoS,
    packet_id: Option<PacketId>,
    dup: bool,
    now_micros: u64,
) {
    let retain = record.retain && wire.capabilities.retain_available;
    let header = PublishHeader { dup, qos, retain, packet_id };
    let Ok(topic_name) = std::str::from_utf8(record.topic_name) else { return };
    let aged = match record.properties.is_empty() || !wire.version.is_v5() {
        true => None,
        // `[MQTT-3.3.2-6]`: the interval that goes on is what is left of it.
        false => remaining_expiry(record, now_micros)
            .map(|(properties, left)| properties.set_message_expiry_interval(left.max(1))),
    };
    let properties = aged.as_ref().map_or(record.properties, |properties| properties.as_bytes());
    let encoded = publish::encode_parts(output, wire.version, header, topic_name, properties, record.payload);
    debug_assert!(encoded.is_ok(), "a record is a checked PUBLISH");
}
