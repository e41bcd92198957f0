//! What an earlier connection left behind goes out before anything new.

use bytes::BytesMut;
use mqtt::QoS;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::session::Resend;

use super::{InFlight, Outbox};
use crate::limits;
use crate::upstream_broker::encoding::{Verdict, Wire, encode, verdict};
use crate::upstream_broker::status::{DropReason, UpstreamStatus};

impl Outbox {
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
            let encoded = self.lanes.reader.visit(in_flight.offset, |record| {
                encode(output, wire, &record, in_flight.qos, Some(packet_id), true, now_micros);
            });
            if encoded.is_none() {
                self.outflow.abandon(packet_id);
                self.journal.done(in_flight.qos, in_flight.offset);
                status.count_dropped(DropReason::Overflow, 1);
            }
        }
        if self.outflow.is_resending() {
            return;
        }
        while let Some((lane, offset)) = self.anew.front().copied() {
            if output.len() >= limits::UPSTREAM_OUTPUT_BYTES || !self.outflow.has_room() {
                return;
            }
            let Outbox { lanes, outflow, journal, .. } = self;
            let (reader, filter, max_qos) = lanes.rule();
            let sent = reader.visit(offset, |record| {
                let qos = match verdict(filter, max_qos, &record, wire, now_micros) {
                    Verdict::Send(qos) => qos,
                    Verdict::Skip => return true,
                    Verdict::Drop(reason) => {
                        status.count_dropped(reason, 1);
                        return true;
                    }
                };
                let received_at_micros = record.received_at_micros;
                let packet_id = outflow.send(qos, InFlight { lane, offset, qos, received_at_micros });
                match packet_id {
                    None if qos != QoS::AtMostOnce => return false,
                    None => {}
                    Some(packet_id) => journal.sent(qos, packet_id, offset),
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
}
