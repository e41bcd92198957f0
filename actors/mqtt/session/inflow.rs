//! The receiving half of a Session: PUBLISH packets of the other side that are not acknowledged to the end.

use std::collections::HashSet;

use crate::{PacketId, QoS};

/// Messages that the other side waits to see acknowledged.
///
/// ```text
/// QoS 1:  PUBLISH ──> unacknowledged ── we send PUBACK ──> forgotten
/// QoS 2:  PUBLISH ──> awaiting release ── PUBREL ──> forgotten (we send PUBCOMP)
///         PUBLISH again ──> Duplicate: PUBREC again, no second delivery  [MQTT-4.3.3-10]
/// ```
#[derive(Debug)]
pub struct Inflow {
    /// QoS 1 messages without their PUBACK.
    unacknowledged: usize,
    /// QoS 2 messages without their PUBREL.
    awaiting_release: HashSet<PacketId, foldhash::fast::RandomState>,
    receive_maximum: u16,
}

/// What to do with a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Take it in.
    New,
    /// It was taken in before: acknowledge it, and nothing else.
    Duplicate,
}

/// The other side sent more than the Receive Maximum allows: a Protocol Error `[MQTT-3.3.4-7]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveMaximumExceeded;

impl Inflow {
    /// Nothing received yet; the other side was told `receive_maximum`.
    pub fn new(receive_maximum: u16) -> Inflow {
        Inflow { unacknowledged: 0, awaiting_release: HashSet::default(), receive_maximum }
    }

    /// Takes over the QoS 2 messages that an earlier life of the same Session received and that were not released.
    pub fn restore(&mut self, awaiting_release: impl IntoIterator<Item = PacketId>) {
        self.awaiting_release.extend(awaiting_release);
    }

    /// A new connection of the same Session: what was sent at QoS 1 is forgotten, it comes again if the other
    /// side missed its PUBACK.
    pub fn resume(&mut self, receive_maximum: u16) {
        self.unacknowledged = 0;
        self.receive_maximum = receive_maximum;
    }

    /// A PUBLISH at QoS 1 or 2 arrived (QoS 0 is always new).
    ///
    /// # Errors
    /// Where the other side broke the Receive Maximum.
    pub fn publish(&mut self, qos: QoS, packet_id: PacketId) -> Result<Arrival, ReceiveMaximumExceeded> {
        let full = self.unacknowledged + self.awaiting_release.len() >= usize::from(self.receive_maximum);
        match qos {
            QoS::AtMostOnce => Ok(Arrival::New),
            QoS::AtLeastOnce if full => Err(ReceiveMaximumExceeded),
            QoS::AtLeastOnce => {
                self.unacknowledged += 1;
                Ok(Arrival::New)
            }
            QoS::ExactlyOnce if self.awaiting_release.contains(&packet_id) => Ok(Arrival::Duplicate),
            QoS::ExactlyOnce if full => Err(ReceiveMaximumExceeded),
            QoS::ExactlyOnce => {
                self.awaiting_release.insert(packet_id);
                Ok(Arrival::New)
            }
        }
    }

    /// We sent PUBACK for a message.
    pub fn puback_sent(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// We sent PUBREC with a failure: the flow ends there `[MQTT-4.3.3-9]`.
    pub fn pubrec_refused(&mut self, packet_id: PacketId) {
        self.awaiting_release.remove(&packet_id);
    }

    /// PUBREL arrived: PUBCOMP is the answer either way; `false` where no message has the identifier.
    pub fn pubrel(&mut self, packet_id: PacketId) -> bool {
        self.awaiting_release.remove(&packet_id)
    }

    /// Whether the Session has state that must outlive the connection.
    pub fn is_empty(&self) -> bool {
        self.awaiting_release.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn a_qos_2_message_is_new_once_until_its_pubrel() {
        let mut inflow = Inflow::new(10);
        assert_eq!(inflow.publish(QoS::ExactlyOnce, id(1)), Ok(Arrival::New));
        assert_eq!(inflow.publish(QoS::ExactlyOnce, id(1)), Ok(Arrival::Duplicate));
        inflow.resume(10);
        assert_eq!(inflow.publish(QoS::ExactlyOnce, id(1)), Ok(Arrival::Duplicate), "after a reconnect too");
        assert!(inflow.pubrel(id(1)));
        assert!(!inflow.pubrel(id(1)), "PUBCOMP goes out, but with Packet Identifier not found");
        assert_eq!(inflow.publish(QoS::ExactlyOnce, id(1)), Ok(Arrival::New));
    }

    #[test]
    fn the_receive_maximum_counts_both_qos_and_ignores_duplicates() {
        let mut inflow = Inflow::new(2);
        inflow.publish(QoS::AtLeastOnce, id(1)).unwrap();
        inflow.publish(QoS::ExactlyOnce, id(2)).unwrap();
        assert_eq!(inflow.publish(QoS::ExactlyOnce, id(2)), Ok(Arrival::Duplicate));
        assert_eq!(inflow.publish(QoS::AtLeastOnce, id(3)), Err(ReceiveMaximumExceeded));
        assert_eq!(inflow.publish(QoS::AtMostOnce, id(9)), Ok(Arrival::New));
        inflow.puback_sent();
        assert_eq!(inflow.publish(QoS::AtLeastOnce, id(3)), Ok(Arrival::New));
    }

    #[test]
    fn a_refused_qos_2_message_frees_its_identifier() {
        let mut inflow = Inflow::new(1);
        inflow.publish(QoS::ExactlyOnce, id(1)).unwrap();
        inflow.pubrec_refused(id(1));
        assert!(inflow.is_empty());
        assert_eq!(inflow.publish(QoS::ExactlyOnce, id(1)), Ok(Arrival::New));
    }
}
