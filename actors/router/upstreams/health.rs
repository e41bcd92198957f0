//! How each upstream broker is, said when that changes, and the wish to try one again now.

use std::time::Instant;

use actix::dev::Request;

use super::Child;
use crate::health::Health;
use crate::messages::{RetryNow, UpstreamSnapshot};
use crate::upstream_broker::{UpstreamBroker, UpstreamContext};

impl Child {
    /// Says when a connected broker begins to be degraded, and when it is well again. Who asks for nothing but a
    /// connection is told about that by others.
    pub(super) fn watch_health(&mut self, context: &UpstreamContext) {
        let options = &self.broker.health;
        let watches = options.canary_interval.is_some()
            || options.degraded_lag.is_some()
            || options.degraded_unsent.is_some();
        if self.running.as_ref().is_none_or(|running| !watches && running.health != Health::Degraded) {
            return;
        }
        // Of a group it is the preferred member that says what is degraded.
        let Some(seen) = self.seen_by(self.broker.id) else { return };
        let UpstreamSnapshot { health, health_reasons, .. } = seen;
        let Some(running) = &mut self.running else { return };
        let earlier = std::mem::replace(&mut running.health, health);
        if earlier == health {
            return;
        }
        match (earlier, health) {
            (_, Health::Degraded) => {
                log::warn!("broker {}: degraded: {}", self.broker.name, health_reasons.join("; "));
            }
            (Health::Degraded, Health::Ok) => {
                log::info!("broker {}: not degraded any more", self.broker.name)
            }
            _ => {}
        }
        context.state_changes.notify_one();
    }

    /// Whoever can reach the broker is to try now; `None` where nobody shall.
    pub(super) fn retry_now(&mut self, retry: RetryNow) -> Option<Request<UpstreamBroker, RetryNow>> {
        let running = self.running.as_mut()?;
        if let Some(at) = &mut running.replace_at {
            *at = Instant::now();
        }
        Some(running.address.send(retry))
    }
}
