//! Another definition: what it changes about a connection that stands, and whether it needs another one.

use actix::prelude::*;
use mqtt::TopicFilter;

use super::{Phase, UpstreamBroker, canary};
use crate::broker::SharedBroker;
use crate::messages::Reconfigure;

impl UpstreamBroker {
    /// What the definition does not ask for any more, and the broker's Session may still have.
    pub(super) fn unsubscribe_from(&mut self, old: &SharedBroker) {
        let kept: &[TopicFilter] =
            self.broker.subscription.as_ref().map_or(&[], |subscription| &subscription.topics);
        let asked = old.subscription.as_ref().map_or(&[][..], |subscription| &subscription.topics);
        let canaries = (canary::subscription(old), canary::subscription(&self.broker));
        let asked =
            asked.iter().cloned().chain(canaries.0.filter(|filter| canaries.1.as_ref() != Some(filter)));
        self.unsubscribe.extend(asked.filter(|filter| !kept.contains(filter)));
    }
}

impl Handler<Reconfigure> for UpstreamBroker {
    type Result = ();

    fn handle(&mut self, Reconfigure(broker): Reconfigure, _: &mut Context<Self>) {
        let old = std::mem::replace(&mut self.broker, broker);
        self.apply_rule();
        self.circuit.set_retry(self.broker.retry);
        self.circuit.close();
        self.status.set_circuit(self.circuit);
        if self.broker.connects_like(&old) {
            match &mut self.phase {
                Phase::Waiting(_) if self.draining.is_none() => self.begin_connecting(),
                Phase::Connected(link) => link.count_in(self.status.traffic()),
                _ => {}
            }
            return;
        }
        self.unsubscribe_from(&old);
        log::info!("broker {}: definition changed, connecting anew", self.name());
        self.status.forget_subscriptions();
        self.context.bridge.forget_copies();
        *self.outbox.loops() = None;
        if !self.broker.has_session_of(&old) {
            self.move_elsewhere();
        }
        if self.leaving_by.is_none() {
            self.connect_anew();
        }
    }
}
