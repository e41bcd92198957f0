//! A broker's own lines in the metrics.

use prometheus::{IntCounter, IntGauge};

use super::connect::Cause;
use super::drop_reason::DropReason;
use super::incoming::LeftOut;
use super::wire_meters::WireMeters;
use crate::Metrics;

/// The broker's own lines in the metrics, under its name.
pub struct Meters {
    pub name: String,
    pub forwarded: IntCounter,
    pub received: IntCounter,
    pub dropped: [IntCounter; DropReason::ALL.len()],
    pub left_out: [IntCounter; LeftOut::LABELS.len()],
    pub wire: WireMeters,
    pub reconnects: IntCounter,
    pub connected: IntGauge,
}

impl Meters {
    pub fn new(name: &str, metrics: &Metrics) -> Meters {
        let label = [name];
        let dropped =
            |reason: DropReason| metrics.messages_dropped.with_label_values(&[name, reason.as_str()]);
        Meters {
            name: name.to_owned(),
            forwarded: metrics.messages_forwarded.with_label_values(&label),
            received: metrics.broker_messages_received.with_label_values(&label),
            dropped: DropReason::ALL.map(dropped),
            left_out: LeftOut::LABELS
                .map(|reason| metrics.broker_messages_left_out.with_label_values(&[name, reason])),
            wire: WireMeters::new(name, metrics),
            reconnects: metrics.broker_reconnects.with_label_values(&label),
            connected: metrics.broker_connection_status.with_label_values(&label),
        }
    }

    /// Goes on where other meters stopped.
    pub fn continue_from(&self, earlier: &Meters) {
        self.forwarded.inc_by(earlier.forwarded.get());
        self.received.inc_by(earlier.received.get());
        self.reconnects.inc_by(earlier.reconnects.get());
        self.connected.set(earlier.connected.get());
        self.wire.continue_from(&earlier.wire);
        let counters = self.dropped.iter().chain(&self.left_out);
        for (new, old) in counters.zip(earlier.dropped.iter().chain(&earlier.left_out)) {
            new.inc_by(old.get());
        }
    }

    pub fn forget(&self, metrics: &Metrics) {
        let label = [self.name.as_str()];
        // A label that is not there is no harm: the metric may never have been used.
        let _ = metrics.messages_forwarded.remove_label_values(&label);
        let _ = metrics.broker_messages_received.remove_label_values(&label);
        let _ = metrics.broker_reconnects.remove_label_values(&label);
        let _ = metrics.broker_connection_status.remove_label_values(&label);
        let _ = metrics.broker_lag.remove_label_values(&label);
        let _ = metrics.broker_in_flight.remove_label_values(&label);
        let _ = metrics.broker_lag_bytes.remove_label_values(&label);
        let _ = metrics.broker_oldest_unsent.remove_label_values(&label);
        let _ = metrics.broker_paused.remove_label_values(&label);
        let _ = metrics.broker_drain_remaining.remove_label_values(&label);
        WireMeters::forget(label[0], metrics);
        let _ = metrics.broker_circuit.remove_label_values(&label);
        let _ = metrics.broker_degraded.remove_label_values(&label);
        let _ = metrics.broker_last_acknowledged.remove_label_values(&label);
        let _ = metrics.broker_canary.remove_label_values(&label);
        for cause in Cause::ALL {
            let _ = metrics.broker_failures.remove_label_values(&[label[0], cause.as_str()]);
        }
        for reason in DropReason::ALL {
            let _ = metrics.messages_dropped.remove_label_values(&[label[0], reason.as_str()]);
        }
        for reason in LeftOut::LABELS {
            let _ = metrics.broker_messages_left_out.remove_label_values(&[label[0], reason]);
        }
    }
}
