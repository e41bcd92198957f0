//! What a broker says about the messages that it was sent.

use bytes::BytesMut;
use mqtt::PacketId;
use mqtt::packet::Acknowledgement;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::session::{PubRecOutcome, UnexpectedAcknowledgement};

use super::Outbox;
use crate::upstream_broker::drop_reason::DropReason;
use crate::upstream_broker::status::UpstreamStatus;

impl Outbox {
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
            Ok(in_flight) if packet.reason_code.is_error() => {
                self.refused(&in_flight, DropReason::Refused, Some(packet.reason_code), status);
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
            PubRecOutcome::Refused(in_flight) => {
                self.refused(&in_flight, DropReason::Refused, Some(packet.reason_code), status);
            }
            // "Packet Identifier not found" would be truer for the second, but 3.1.1 cannot say it and 5.0
            // lets the sender choose: PUBREL makes the broker let go of the identifier either way.
            outcome @ (PubRecOutcome::Release | PubRecOutcome::NotFound) => {
                if outcome == PubRecOutcome::Release {
                    self.journal.received(packet.packet_id);
                }
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
            Ok(in_flight) if in_flight.is_elsewhere => {
                self.journal.freed(in_flight.offset);
                Ok(0)
            }
            Ok(in_flight) => {
                self.journal.done(in_flight.qos, in_flight.offset);
                Ok(1)
            }
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
}
