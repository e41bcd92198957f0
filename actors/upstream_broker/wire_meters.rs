//! What one broker costs, and what it makes of messages: its bytes, and those messages that it could not have as they were.

use std::sync::Arc;

use prometheus::IntCounter;

use crate::Metrics;
use crate::metrics::Traffic;

/// The counters under the broker's name.
pub struct WireMeters {
    /// Messages at a QoS above what the broker takes.
    pub downgraded: IntCounter,
    /// Messages with RETAIN, where the broker takes none.
    pub retain_stripped: IntCounter,
    /// Bytes over its connections.
    pub traffic: Arc<Traffic>,
}

impl WireMeters {
    /// The counters of the broker with this name.
    pub fn new(name: &str, metrics: &Metrics) -> WireMeters {
        let label = [name];
        WireMeters {
            downgraded: metrics.broker_downgraded.with_label_values(&label),
            retain_stripped: metrics.broker_retain_stripped.with_label_values(&label),
            traffic: Arc::new(Traffic {
                bytes_received: metrics.broker_bytes_received.with_label_values(&label),
                bytes_sent: metrics.broker_bytes_sent.with_label_values(&label),
                packets: None,
            }),
        }
    }

    /// Goes on where other counters stopped.
    pub fn continue_from(&self, earlier: &WireMeters) {
        self.downgraded.inc_by(earlier.downgraded.get());
        self.retain_stripped.inc_by(earlier.retain_stripped.get());
        self.traffic.bytes_received.inc_by(earlier.traffic.bytes_received.get());
        self.traffic.bytes_sent.inc_by(earlier.traffic.bytes_sent.get());
    }

    /// Takes the counters out of the metrics.
    pub fn forget(name: &str, metrics: &Metrics) {
        for counters in [
            &metrics.broker_downgraded,
            &metrics.broker_retain_stripped,
            &metrics.broker_bytes_received,
            &metrics.broker_bytes_sent,
        ] {
            // A label that is not there is no harm.
            let _ = counters.remove_label_values(&[name]);
        }
    }
}
