//! JSON shapes of how a connection is looked after: when the next attempt is due, and what the canary says.

use std::time::{Duration, Instant};

use actors::upstream_broker::{CanarySnapshot, CircuitSnapshot, CircuitState};
use serde::Serialize;

/// Whether attempts to reach a broker go through.
#[derive(Serialize)]
pub struct CircuitJson {
    state: &'static str,
    retry_in_ms: Option<u64>,
    failures: u32,
    cause: Option<&'static str>,
    reason_code: Option<u8>,
}

impl CircuitJson {
    /// The circuit as it is.
    pub fn new(circuit: &CircuitSnapshot) -> CircuitJson {
        CircuitJson {
            state: circuit.state.as_str(),
            retry_in_ms: circuit.retry_in.map(millis),
            failures: circuit.failures,
            cause: circuit.cause.map(|cause| cause.as_str()),
            reason_code: circuit.reason_code.map(|code| code.as_u8()),
        }
    }

    /// Nobody has tried yet.
    pub fn before_the_start() -> CircuitJson {
        let state = CircuitState::Closed.as_str();
        CircuitJson { state, retry_in_ms: None, failures: 0, cause: None, reason_code: None }
    }
}

/// What a canary says.
#[derive(Serialize)]
pub struct CanaryJson {
    round_trip_ms: Option<f64>,
    end_to_end_ms: Option<f64>,
    last_answer_secs: Option<u64>,
    waiting_secs: Option<u64>,
    refused: Option<u8>,
}

impl CanaryJson {
    /// The canary as it is.
    pub fn new(canary: &CanarySnapshot) -> CanaryJson {
        // Microseconds are as exact as it gets.
        let fine = |time: Duration| time.as_micros() as f64 / 1e3;
        let secs = |at: Instant| at.elapsed().as_secs();
        CanaryJson {
            round_trip_ms: canary.round_trip.map(fine),
            end_to_end_ms: canary.end_to_end.map(fine),
            last_answer_secs: canary.answered_at.map(secs),
            waiting_secs: canary.waits_since.map(secs),
            refused: canary.refused.map(|code| code.as_u8()),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
