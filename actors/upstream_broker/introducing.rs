//! What we say of ourselves when we connect: in 5.0 which proxy we are, in 3.1.1 by the bridge bit that our own messages
//! are not to come back, which not every broker bears.

use mqtt::ReasonCode;

use super::canary::Canary;
use super::connect::{Capabilities, Introduction};
use super::{Cause, Failure, Phase, UpstreamBroker};
use crate::bridge::Stamper;
use crate::broker::{LoopGuardChoice, SharedBroker};

impl UpstreamBroker {
    /// What we say of ourselves in CONNECT.
    pub(super) fn introduction(&self) -> Introduction {
        match self.broker.version.is_v5() {
            true => self.stamper().introduction(self.broker.subscription.as_ref()),
            false if self.asks_as_bridge() => Introduction::Bridge,
            false => Introduction::None,
        }
    }

    pub(super) fn stamper(&self) -> Stamper {
        Stamper { bridge: self.context.bridge.clone(), choice: self.broker.stamp_origin }
    }

    /// Whether to ask the broker by the bridge bit not to send our own messages back: 5.0 has No Local for that.
    pub(super) fn asks_as_bridge(&self) -> bool {
        self.try_bridge
            && self.broker.subscription.is_some()
            && !self.broker.version.is_v5()
            && matches!(self.broker.loop_guard, LoopGuardChoice::Auto | LoopGuardChoice::Bridge)
    }

    /// Whether the next attempt is to be another one. Some brokers close the connection instead of saying what is wrong
    /// with it; so may one that is going down, and then this attempt is as good as the last.
    pub(super) fn was_refused_as_bridge(&self, failure: &Failure) -> bool {
        let is_asked =
            may_be_bridge(&self.broker) && self.broker.subscription.is_some() && !self.broker.version.is_v5();
        let was_closed = matches!(self.phase, Phase::Connecting(_)) && failure.cause == Cause::Lost;
        let was_refused = failure.reason_code == Some(ReasonCode::UnsupportedProtocolVersion);
        is_asked && (was_closed || (was_refused && self.try_bridge))
    }

    /// The canary of a new connection, which takes its place in the window.
    pub(super) fn canary(&self, capabilities: &mut Capabilities) -> Option<Canary> {
        let (token, _) = uuid::Uuid::new_v4().as_u64_pair();
        let canary = Canary::of(&self.broker, capabilities, token).unwrap_or_else(|problem| {
            log::warn!("broker {}: it gets no canary: {problem}", self.name());
            None
        });
        self.status.set_canary(canary.as_ref().map(Canary::snapshot));
        canary
    }
}

/// Whether the bridge bit is worth a try: a service that does not know it may close the connection without a word.
pub fn may_be_bridge(broker: &SharedBroker) -> bool {
    broker.profile.is_none()
}
