//! How an upstream broker is, whatever its connection looks like. Pure.

use std::time::Instant;

use crate::Broker;
use crate::snapshots::{UpstreamSnapshot, UpstreamState};

/// How an upstream broker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It is connected, and takes what is for it as well as it is asked to.
    #[default]
    Ok,
    /// It is connected, but a threshold of its definition is passed.
    Degraded,
    /// There is no connection.
    Disconnected,
    /// It is not to get anything for the time being.
    Paused,
    /// It is not to get anything at all.
    Disabled,
}

impl Health {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Degraded => "degraded",
            Health::Disconnected => "disconnected",
            Health::Paused => "paused",
            Health::Disabled => "disabled",
        }
    }
}

/// How the broker is, and why; the reasons begin with the name of the value that is wrong.
pub fn assess(broker: &Broker, seen: &UpstreamSnapshot, now: Instant) -> (Health, Vec<String>) {
    if !broker.enabled || seen.state == UpstreamState::Disabled {
        return (Health::Disabled, Vec::new());
    }
    if broker.paused {
        return (Health::Paused, Vec::new());
    }
    if seen.state == UpstreamState::Standby {
        // Its group is served by another member.
        return (Health::Ok, Vec::new());
    }
    if seen.state != UpstreamState::Connected {
        let reason = seen.last_error.as_deref().unwrap_or("not connected yet");
        return (Health::Disconnected, vec![format!("state: {reason}")]);
    }
    let reasons = degradations(broker, seen, now);
    let health = if reasons.is_empty() { Health::Ok } else { Health::Degraded };
    (health, reasons)
}

fn degradations(broker: &Broker, seen: &UpstreamSnapshot, now: Instant) -> Vec<String> {
    let options = &broker.health;
    let mut reasons = Vec::new();
    if let (Some(bound), Some(age)) = (options.degraded_unsent, seen.oldest_unsent)
        && age > bound
    {
        reasons.push(format!("oldest_unsent_secs: {}, above {}", age.as_secs(), bound.as_secs()));
    }
    if let Some(bound) = options.degraded_lag
        && seen.lag > bound
    {
        reasons.push(format!("lag: {}, above {bound}", seen.lag));
    }
    if let (Some(interval), Some(canary)) = (options.canary_interval, seen.canary) {
        if let Some(waited) = canary.unanswered_for(interval, now) {
            reasons.push(format!("canary: not acknowledged for {} s", waited.as_secs()));
        } else if let Some(reason_code) = canary.refused {
            reasons.push(format!("canary: refused: {reason_code}"));
        }
    }
    reasons
}

#[cfg(test)]
mod tests;
