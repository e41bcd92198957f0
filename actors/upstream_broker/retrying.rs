//! What follows a failure: it is said once, the circuit opens, and the next attempt waits for its time, or for somebody
//! who asks for it.

use std::time::Instant;

use actix::prelude::*;

use super::circuit::chance;
use super::{Failure, Phase, UpstreamBroker, suspects};
use crate::messages::{RetryNow, UpstreamState};

impl UpstreamBroker {
    /// Something failed: says so and waits for its time.
    pub(super) fn failed(&mut self, failure: &Failure) {
        if matches!(self.phase, Phase::Connected(_)) {
            let blame = failure.reason_code.filter(|code| suspects::blames_a_packet(*code));
            if self.outbox.ended(blame, &self.status) {
                log::warn!(
                    "broker {}: it will not have one message, which is a dead letter now",
                    self.name()
                );
            }
        }
        if self.was_refused_as_bridge(failure) {
            self.try_bridge = !self.try_bridge;
        }
        let now = Instant::now();
        let was_a_success = self.circuit.has_lasted(now);
        let wait = self.circuit.failed(now, failure.cause, failure.reason_code, chance());
        self.status.set_circuit(self.circuit);
        self.context.metrics.broker_failures.with_label_values(&[self.name(), failure.cause.as_str()]).inc();
        // The same failure again and again is one event worth knowing.
        if self.last_failure_logged.as_ref() == Some(&failure.text) {
            log::debug!("broker {}: {}; retrying in {} ms", self.name(), failure.text, wait.as_millis());
        } else {
            match self.circuit.is_denied() {
                true => {
                    let advice = "change its definition, or ask for a retry";
                    log::warn!(
                        "broker {}: {}; next attempt in {} s, or {advice}",
                        self.name(),
                        failure.text,
                        wait.as_secs()
                    );
                }
                false => log::warn!("broker {}: {}; retrying", self.name(), failure.text),
            }
            self.last_failure_logged = Some(failure.text.clone());
        }
        self.status.set_canary(None);
        self.status.set_failure(failure);
        self.outbox.disconnected();
        if self.draining.is_some() {
            self.end();
            return;
        }
        let Some(wait) = self.fail_over(failure, was_a_success, wait) else { return };
        self.status.set_state(UpstreamState::WaitingToRetry);
        self.phase = Phase::Waiting(Box::pin(tokio::time::sleep(wait)));
    }
}

impl Handler<RetryNow> for UpstreamBroker {
    type Result = bool;

    fn handle(&mut self, _: RetryNow, _: &mut Context<Self>) -> bool {
        self.circuit.close();
        if matches!(self.phase, Phase::Waiting(_)) && self.draining.is_none() {
            log::info!("broker {}: trying again now, as asked", self.name());
            self.begin_connecting();
        }
        self.status.set_circuit(self.circuit);
        true
    }
}
