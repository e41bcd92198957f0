//! The canary on its way: when it goes out, and how its acknowledgement and the canary itself are told from the rest.

use std::time::Instant;

use mqtt::packet::{Acknowledgement, Packet, Publish, Subscribe, SubscriptionOptions};
use mqtt::{Properties, QoS};

use super::super::canary;
use super::super::outbox::Outbox;
use super::super::status::UpstreamStatus;
use super::Link;
use crate::Broker;

impl Link {
    /// Asks for canaries, which No Local would keep away.
    pub fn subscribe_to_canaries(&mut self, broker: &Broker, outbox: &mut Outbox) {
        let filter = canary::subscription(broker).filter(|_| self.canary.is_some());
        let Some(filter) = filter else { return };
        let Some(packet_id) = outbox.reserve() else { return };
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..SubscriptionOptions::default() };
        let properties = Properties::default();
        self.queue(Packet::Subscribe(Subscribe {
            packet_id,
            properties,
            subscriptions: vec![(filter, options)],
        }));
    }

    /// Sends a canary where one is due.
    pub(super) fn send_canary(
        &mut self,
        broker: &Broker,
        outbox: &mut Outbox,
        status: &UpstreamStatus,
        now: Instant,
    ) {
        let (Some(canary), Some(interval)) = (&mut self.canary, broker.health.canary_interval) else {
            return;
        };
        if broker.paused || !canary.is_due(interval, now) {
            return;
        }
        if let Some(packet_id) = outbox.reserve()
            && !canary.send(self.connection.output(), &self.wire, packet_id, interval, now)
        {
            outbox.release(packet_id);
        }
        status.set_canary(Some(canary.snapshot()));
    }

    /// PUBACK arrived: whether it is for a canary.
    pub(super) fn is_of_canary(
        &mut self,
        packet: &Acknowledgement,
        broker: &Broker,
        outbox: &mut Outbox,
        status: &UpstreamStatus,
    ) -> bool {
        let Some(canary) = &mut self.canary else { return false };
        if !canary.is_under_way(packet.packet_id) {
            return false;
        }
        canary.acknowledged(packet.reason_code, Instant::now());
        outbox.release(packet.packet_id);
        if packet.reason_code.is_error() {
            log::debug!("broker {}: it refused a canary: {}", broker.name, packet.reason_code);
        }
        status.set_canary(Some(canary.snapshot()));
        true
    }

    /// PUBLISH arrived: whether it is a canary that comes back.
    pub(super) fn is_canary(&mut self, publish: &Publish, status: &UpstreamStatus) -> bool {
        let Some(canary) = &mut self.canary else { return false };
        let topic = publish.topic_name.as_ref();
        let is_canary = topic.is_some_and(|topic| canary.is_canary(topic, &publish.payload));
        if is_canary {
            canary.came_back(&publish.payload, Instant::now());
            status.set_canary(Some(canary.snapshot()));
        }
        is_canary
    }
}
