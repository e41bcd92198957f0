//! What an earlier connection left behind goes out before anything new.

use bytes::BytesMut;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::session::Resend;
use mqtt::{PacketId, QoS};

use super::{InFlight, Outbox};
use crate::limits;
use crate::message_log::Record;
use crate::upstream_broker::drop_reason::DropReason;
use crate::upstream_broker::encoding::{Sending, Verdict, Wire, compromises, encode, fits, verdict};
use crate::upstream_broker::forwarding::Forwarding;
use crate::upstream_broker::status::UpstreamStatus;

impl Outbox {
    /// The Packet Identifiers of the QoS 2 messages in flight.
    pub fn exactly_once_ids(&self) -> Vec<PacketId> {
        self.outflow.exactly_once_ids().collect()
    }

    /// Encodes what an earlier connection left behind, as far as the window allows.
    pub(super) fn fill_again(
        &mut self,
        output: &mut BytesMut,
        wire: &Wire,
        status: &UpstreamStatus,
        now_micros: u64,
    ) {
        while output.len() < limits::UPSTREAM_OUTPUT_BYTES {
            let (packet_id, in_flight) = match self.outflow.next_resend() {
                None => break,
                Some(Resend::Publish(packet_id, in_flight)) => (packet_id, *in_flight),
                Some(Resend::PubRel(packet_id)) => {
                    acknowledgement::encode_success(output, AcknowledgementKind::PubRel, packet_id);
                    continue;
                }
            };
            let (reader, forwarding, _) = self.lanes.rule();
            let encoded = reader.visit(in_flight.offset, |record| {
                encode_again(output, wire, forwarding, &record, (in_flight.qos, packet_id), now_micros)
            });
            let obstacle = match encoded {
                None => Some(DropReason::Overflow),
                Some(outcome) => outcome.err(),
            };
            if let Some(reason) = obstacle.filter(|reason| reason.is_final()) {
                self.bury(packet_id, &in_flight, reason, None, status);
            } else if let Some(reason) = obstacle {
                self.outflow.abandon(packet_id);
                self.journal.done(in_flight.qos, in_flight.offset);
                status.count_dropped(reason, 1);
            }
        }
        if self.outflow.is_resending() {
            return;
        }
        while let Some((lane, offset)) = self.anew.front().copied() {
            if output.len() >= limits::UPSTREAM_OUTPUT_BYTES || !self.outflow.has_room() {
                return;
            }
            let Outbox { lanes, outflow, journal, dead_letters, .. } = self;
            let (reader, forwarding, max_qos) = lanes.rule();
            let sent = reader.visit(offset, |record| {
                let (qos, topic_there) = match verdict(forwarding, max_qos, &record, wire, now_micros) {
                    Verdict::Send { qos, topic_there } => (qos, topic_there),
                    Verdict::Skip(_) => return true,
                    Verdict::Drop(reason) if reason.is_final() && dead_letters.is_full() => return false,
                    Verdict::Drop(reason) => {
                        dead_letters.push(&record, reason, None);
                        status.count_dropped(reason, 1);
                        return true;
                    }
                };
                let received_at_micros = record.received_at_micros;
                let packet_id = outflow
                    .send(qos, InFlight { lane, offset, qos, received_at_micros, is_elsewhere: false });
                match packet_id {
                    None if qos != QoS::AtMostOnce => return false,
                    None => {}
                    Some(packet_id) => journal.sent(qos, packet_id, offset),
                }
                let sending = Sending { qos, packet_id, dup: false, topic_there: topic_there.as_deref() };
                encode(output, wire, forwarding, &record, sending, now_micros);
                let (downgraded, retain_stripped) = compromises(forwarding, &record, max_qos, wire);
                status.count_changed(downgraded.into(), retain_stripped.into());
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
}

/// Encodes what is in flight once more, under the topic that the definition gives it now.
///
/// # Errors
/// Where there is none, or this connection does not take the packet: its limits need not be those of the one before.
pub(super) fn encode_again(
    output: &mut BytesMut,
    wire: &Wire,
    forwarding: &mut Forwarding,
    record: &Record<'_>,
    (qos, packet_id): (QoS, PacketId),
    now_micros: u64,
) -> Result<(), DropReason> {
    let topic_there = forwarding.filter.topic_there(record.topic_name);
    let topic_there = topic_there.map_err(|_| DropReason::Unmappable)?;
    if !fits(record, forwarding, (qos, topic_there.as_deref()), wire, now_micros) {
        return Err(DropReason::TooLarge);
    }
    let sending = Sending { qos, packet_id: Some(packet_id), dup: true, topic_there: topic_there.as_deref() };
    encode(output, wire, forwarding, record, sending, now_micros);
    Ok(())
}
