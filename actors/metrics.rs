//! Named counters, gauges and histograms, made once at start and passed to whoever counts.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::Quota;

/// All metrics of the proxy. The first five names are those that users of 1:N multiplexers know.
pub struct Metrics {
    registry: Registry,
    /// `mqtt_messages_received_total`: PUBLISH packets accepted from devices.
    pub messages_received: IntCounter,
    /// `mqtt_messages_forwarded_total{broker}`: sent at QoS 0, or acknowledged at QoS 1 and 2.
    pub messages_forwarded: IntCounterVec,
    /// `mqtt_message_latency_seconds`: from the read off the device's socket to the write to a broker's.
    pub message_latency: Histogram,
    /// `mqtt_active_connections{listener}`.
    pub active_connections: IntGaugeVec,
    /// `mqtt_broker_connection_status{broker}`: 1 while connected, else 0.
    pub broker_connection_status: IntGaugeVec,
    /// `mqtt_broker_messages_received_total{broker}`: PUBLISH packets that came from an upstream broker.
    pub broker_messages_received: IntCounterVec,
    /// `mqtt_messages_dropped_total{broker,reason}`: messages that an upstream broker will not get.
    pub messages_dropped: IntCounterVec,
    /// `mqtt_broker_lag_messages{broker}`: offsets from the end of the log to the broker's cursor.
    pub broker_lag: IntGaugeVec,
    /// `mqtt_broker_in_flight_messages{broker}`: sent at QoS 1 or 2 and not yet acknowledged.
    pub broker_in_flight: IntGaugeVec,
    /// `mqtt_broker_reconnects_total{broker}`: connections after the first one.
    pub broker_reconnects: IntCounterVec,
    /// `mqtt_broker_failures_total{broker,cause}`: failed attempts, lost connections and restarts.
    pub broker_failures: IntCounterVec,
    /// `mqtt_connections_total{listener}`: connections accepted since the start.
    pub connections: IntCounterVec,
    /// `mqtt_connections_refused_total{reason}`: connections that never became a session; the reasons are `tls`, `http`,
    /// `mqtt_3_1`, `unsupported_version`, `not_connect`, `bad_connect`, `authentication`, `refused`, `closed`, `timeout`.
    pub connections_refused: IntCounterVec,
    /// `mqtt_messages_delivered_total`: PUBLISH packets sent to local subscribers.
    pub messages_delivered: IntCounter,
    /// `mqtt_deliveries_dropped_total{reason}`: messages that a local subscriber will not get.
    pub deliveries_dropped: IntCounterVec,
    /// `mqtt_quota_exceeded_total{quota}`: how often clients wanted more than there is for them; see [`Quota`].
    quota_exceeded: IntCounterVec,
    /// `mqtt_sessions`: sessions with or without a connection.
    pub sessions: IntGauge,
    /// `mqtt_subscriptions`: subscriptions of all sessions, the shared ones among them.
    pub subscriptions: IntGauge,
    /// `mqtt_shared_subscriptions`: shared subscriptions of all sessions.
    pub shared_subscriptions: IntGauge,
    /// `mqtt_retained_messages`.
    pub retained_messages: IntGauge,
    /// `mqtt_retained_bytes`: of topics, properties and payloads.
    pub retained_bytes: IntGauge,
    /// `mqtt_broker_lag_bytes{broker}`: bytes of the log from its end to the broker's cursor.
    pub broker_lag_bytes: IntGaugeVec,
    /// `mqtt_broker_oldest_unsent_seconds{broker}`: age of the oldest message that the broker has not acknowledged.
    pub broker_oldest_unsent: IntGaugeVec,
    /// `mqtt_acknowledgements_overdue_total`: acknowledgements whose upstream brokers did not answer in time.
    pub acknowledgements_overdue: IntCounter,
    /// `mqtt_log_file_bytes`: the log's files.
    pub log_file_bytes: IntGauge,
    /// `mqtt_log_stored_offset`: everything below it survives the death of the process.
    pub log_stored_offset: IntGauge,
    /// `mqtt_log_synced_offset`: everything below it survives the loss of power.
    pub log_synced_offset: IntGauge,
    /// `mqtt_log_failing`: 1 while the disk takes nothing, else 0.
    pub log_failing: IntGauge,
    /// `mqtt_log_sync_seconds`: how long a flush of the files took.
    pub log_sync: Histogram,
    /// `mqtt_log_head_bytes`: the log's part in memory.
    pub log_head_bytes: IntGauge,
    /// `mqtt_log_next_offset`: the offset that the next message gets.
    pub log_next_offset: IntGauge,
    /// `mqtt_{bytes,packets}_{received,sent}_total`: what goes over the connections of devices.
    pub device_traffic: Arc<Traffic>,
    /// `mqtt_payload_bytes_received_total`: of the PUBLISH packets of devices.
    pub payload_bytes_received: IntCounter,
    /// `mqtt_payload_bytes_sent_total`: of the PUBLISH packets to devices.
    pub payload_bytes_sent: IntCounter,
    /// `mqtt_connects_received_total`: CONNECT packets, whatever the answer.
    pub connects_received: IntCounter,
    /// `mqtt_sessions_expired_total`: sessions that ended because their device did not come back in time.
    pub sessions_expired: IntCounter,
    /// `mqtt_session_messages`: messages that wait in sessions, or for a device's acknowledgement.
    pub session_messages: IntGauge,
}

/// What goes over connections of one kind. The connection adds to it once for each read and each write.
pub struct Traffic {
    /// Bytes read.
    pub bytes_received: IntCounter,
    /// Bytes written.
    pub bytes_sent: IntCounter,
    /// Control Packets of all types that came in.
    pub packets_received: IntCounter,
    /// Control Packets of all types that went out.
    pub packets_sent: IntCounter,
}

/// Upper bounds of the latency histogram in seconds: 50 us to 10 s.
const LATENCY_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// Where two metrics share a name, which a test excludes.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        Metrics::register(Registry::new())
    }

    #[allow(clippy::too_many_lines, reason = "one flat list of names and help texts")]
    fn register(registry: Registry) -> Result<Metrics, prometheus::Error> {
        let maker = Maker(&registry);
        Ok(Metrics {
            messages_received: maker
                .counter("mqtt_messages_received_total", "messages received from devices")?,
            messages_forwarded: maker.counters(
                "mqtt_messages_forwarded_total",
                "messages sent to a broker at QoS 0 or acknowledged by it at QoS 1 and 2",
                &["broker"],
            )?,
            message_latency: maker.latency(
                "mqtt_message_latency_seconds",
                "from the read off the device's socket to the write to a broker's, sampled",
            )?,
            active_connections: maker.gauges(
                "mqtt_active_connections",
                "open client connections",
                &["listener"],
            )?,
            broker_connection_status: maker.gauges(
                "mqtt_broker_connection_status",
                "1 while connected to the broker, else 0",
                &["broker"],
            )?,
            broker_messages_received: maker.counters(
                "mqtt_broker_messages_received_total",
                "messages received from a broker",
                &["broker"],
            )?,
            messages_dropped: maker.counters(
                "mqtt_messages_dropped_total",
                "messages that a broker will not get",
                &["broker", "reason"],
            )?,
            broker_lag: maker.gauges(
                "mqtt_broker_lag_messages",
                "messages between the end of the log and what the broker has acknowledged",
                &["broker"],
            )?,
            broker_in_flight: maker.gauges(
                "mqtt_broker_in_flight_messages",
                "messages sent to the broker at QoS 1 or 2 and not yet acknowledged",
                &["broker"],
            )?,
            broker_reconnects: maker.counters(
                "mqtt_broker_reconnects_total",
                "connections to a broker after the first one",
                &["broker"],
            )?,
            broker_failures: maker.counters(
                "mqtt_broker_failures_total",
                "failed attempts, lost connections and restarts by cause",
                &["broker", "cause"],
            )?,
            connections: maker.counters("mqtt_connections_total", "connections accepted", &["listener"])?,
            connections_refused: maker.counters(
                "mqtt_connections_refused_total",
                "connections that never became a session",
                &["reason"],
            )?,
            messages_delivered: maker
                .counter("mqtt_messages_delivered_total", "messages sent to local subscribers")?,
            deliveries_dropped: maker.counters(
                "mqtt_deliveries_dropped_total",
                "messages that a local subscriber will not get",
                &["reason"],
            )?,
            quota_exceeded: maker.quotas()?,
            sessions: maker.gauge("mqtt_sessions", "sessions with or without a connection")?,
            subscriptions: maker.gauge("mqtt_subscriptions", "subscriptions of all sessions")?,
            shared_subscriptions: maker
                .gauge("mqtt_shared_subscriptions", "shared subscriptions of all sessions")?,
            retained_messages: maker.gauge("mqtt_retained_messages", "retained messages")?,
            retained_bytes: maker.gauge("mqtt_retained_bytes", "bytes of retained messages")?,
            broker_lag_bytes: maker.gauges(
                "mqtt_broker_lag_bytes",
                "bytes of the log between its end and what the broker has acknowledged",
                &["broker"],
            )?,
            broker_oldest_unsent: maker.gauges(
                "mqtt_broker_oldest_unsent_seconds",
                "age of the oldest message that the broker has not acknowledged",
                &["broker"],
            )?,
            acknowledgements_overdue: maker.counter(
                "mqtt_acknowledgements_overdue_total",
                "acknowledgements whose upstream brokers did not answer in time",
            )?,
            log_file_bytes: maker.gauge("mqtt_log_file_bytes", "bytes of the log's files")?,
            log_stored_offset: maker
                .gauge("mqtt_log_stored_offset", "everything below it survives the death of the process")?,
            log_synced_offset: maker
                .gauge("mqtt_log_synced_offset", "everything below it survives the loss of power")?,
            log_failing: maker.gauge("mqtt_log_failing", "1 while the disk takes nothing, else 0")?,
            log_sync: maker.latency("mqtt_log_sync_seconds", "how long a flush of the log's files took")?,
            log_head_bytes: maker.gauge("mqtt_log_head_bytes", "bytes of the log in memory")?,
            log_next_offset: maker.gauge("mqtt_log_next_offset", "offset that the next message gets")?,
            device_traffic: Arc::new(Traffic {
                bytes_received: maker
                    .counter("mqtt_bytes_received_total", "bytes read from device connections")?,
                bytes_sent: maker.counter("mqtt_bytes_sent_total", "bytes written to device connections")?,
                packets_received: maker
                    .counter("mqtt_packets_received_total", "packets of all types received from devices")?,
                packets_sent: maker
                    .counter("mqtt_packets_sent_total", "packets of all types sent to devices")?,
            }),
            payload_bytes_received: maker
                .counter("mqtt_payload_bytes_received_total", "payload bytes of messages from devices")?,
            payload_bytes_sent: maker
                .counter("mqtt_payload_bytes_sent_total", "payload bytes of messages sent to devices")?,
            connects_received: maker
                .counter("mqtt_connects_received_total", "CONNECT packets received from devices")?,
            sessions_expired: maker.counter(
                "mqtt_sessions_expired_total",
                "sessions that ended because their device did not come back in time",
            )?,
            session_messages: maker.gauge(
                "mqtt_session_messages",
                "messages that wait in sessions, or for a device's acknowledgement",
            )?,
            registry,
        })
    }

    /// A client wanted more than there is for it.
    pub fn exceeded(&self, quota: Quota) {
        self.exceeded_by(quota, 1);
    }

    /// So many times.
    pub fn exceeded_by(&self, quota: Quota, count: u64) {
        self.quota_exceeded.with_label_values(&[quota.name()]).inc_by(count);
    }

    /// The sum of a counter over all its labels.
    pub fn total(counters: &IntCounterVec) -> u64 {
        let families = counters.collect();
        let lines = families.iter().flat_map(|family| family.get_metric());
        lines.map(|line| line.get_counter().get_value() as u64).sum()
    }

    /// Everything in the Prometheus text format.
    ///
    /// # Errors
    /// Where the format cannot express a metric.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Makes and registers metrics.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A counter that has every quota from the start, so that an alarm can be set on each.
    fn quotas(&self) -> Result<IntCounterVec, prometheus::Error> {
        let help = "how often clients wanted more than a quota allows";
        let counters = self.counters("mqtt_quota_exceeded_total", help, &["quota"])?;
        for quota in Quota::ALL {
            counters.with_label_values(&[quota.name()]).inc_by(0);
        }
        Ok(counters)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn latency(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))?)
    }
}
