//! Asks a bidirectional broker for its messages, and keeps what it does not grant.

use mqtt::packet::{Packet, RetainHandling, SubAck, SubscriptionOptions, Unsubscribe};
use mqtt::{PacketId, Properties, ReasonCode, TopicFilter};

use super::link::Link;
use super::outbox::Outbox;
use super::portions::{self, Portions};
use super::status::UpstreamStatus;
use crate::Broker;
use crate::broker::LoopGuardChoice;

/// A Topic Filter that a broker does not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionFailure {
    /// The filter.
    pub filter: TopicFilter,
    /// What the broker said: a Reason Code of 5.0, or 0x80 of 3.1.1.
    pub reason_code: ReasonCode,
}

/// The SUBSCRIBE packets of a connection that were not answered yet.
#[derive(Default)]
pub struct Asked(Vec<(PacketId, Vec<TopicFilter>)>);

impl Link {
    /// Asks a bidirectional broker for its messages, and takes back what an earlier definition asked for. Answers with a
    /// text about filters that it cannot be asked for.
    pub fn subscribe(
        &mut self,
        broker: &Broker,
        outbox: &mut Outbox,
        unsubscribe: Vec<TopicFilter>,
    ) -> Option<String> {
        if !unsubscribe.is_empty()
            && let Some(packet_id) = outbox.reserve()
        {
            let properties = Properties::default();
            self.queue(Packet::Unsubscribe(Unsubscribe {
                packet_id,
                properties,
                topic_filters: unsubscribe,
            }));
        }
        let subscription = broker.subscription.as_ref()?;
        // No Local spares us our own messages; RETAIN stays as the publisher set it.
        let v5 = self.wire().version.is_v5();
        let spares_us = matches!(broker.loop_guard, LoopGuardChoice::Auto | LoopGuardChoice::Bridge);
        let options = SubscriptionOptions {
            qos: subscription.qos,
            no_local: v5 && spares_us,
            retain_as_published: v5,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        let portions = Portions::of(&subscription.topics, options, self.wire());
        for filters in &portions.packets {
            let Some(packet_id) = outbox.reserve() else { break };
            self.asked.0.push((packet_id, filters.clone()));
            self.queue(portions::packet(packet_id, filters, options));
        }
        self.subscribe_to_canaries(broker, outbox);
        portions.complaint()
    }

    /// SUBACK arrived. A refused filter leaves the others as they are.
    pub(super) fn subscribed(&mut self, suback: &SubAck, outbox: &mut Outbox, status: &UpstreamStatus) {
        outbox.release(suback.packet_id);
        let asked = &mut self.asked.0;
        let Some(index) = asked.iter().position(|(packet_id, _)| *packet_id == suback.packet_id) else {
            return;
        };
        let (_, filters) = asked.swap_remove(index);
        for (filter, reason_code) in filters.into_iter().zip(&suback.reason_codes) {
            if !reason_code.is_error() {
                status.subscription_granted(&filter);
                continue;
            }
            let failure = SubscriptionFailure { filter, reason_code: *reason_code };
            let text = format!("the broker refused the subscription to {}: {reason_code}", failure.filter);
            if status.subscription_refused(failure) {
                log::warn!("{}: {text}", self.peer());
            }
            status.set_error(text);
        }
    }
}
