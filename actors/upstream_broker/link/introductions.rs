//! How a link to another proxy says who is there.

use mqtt::packet::{Packet, Publish};

use super::Link;
use crate::bridge::{Announcement, has_terms};
use crate::{Broker, BrokerId};

impl Link {
    /// Tells a broker of 3.1.1 that took us for a bridge which proxy we are, once a bridge or a proxy is a client of ours: the two may
    /// be the same proxy, and messages would go round.
    pub(super) fn introduce(&mut self, broker: &Broker) {
        let Some(stamper) = self.wire.stamper.as_ref().filter(|_| self.is_bridge && !self.is_introduced)
        else {
            return;
        };
        if !stamper.bridge.has_plain_bridges() && !stamper.bridge.has_announced() {
            return;
        }
        self.is_introduced = true;
        let introduction = stamper.bridge.stamps().introduction(has_terms(broker.subscription.as_ref()));
        if let Some(introduction) = introduction {
            self.queue(Packet::Publish(introduction));
        }
    }

    /// Whether the broker says in answer which proxy it is.
    pub(super) fn is_introduction(&mut self, publish: &Publish, broker: &Broker) -> bool {
        let announcement =
            publish.topic_name.as_ref().and_then(|topic| Announcement::in_message(topic, &publish.payload));
        let (Some(announcement), Some(stamper)) = (announcement, &self.wire.stamper) else { return false };
        self.reached = stamper.bridge.reached(broker.id, Some(announcement.instance));
        self.wire.proxy = Some(BrokerId(announcement.instance));
        log::info!("broker {}: is the proxy {}", broker.name, announcement.instance);
        publish.packet_id.is_none()
    }
}
