//! Named counters, gauges and histograms, made once at start and passed to whoever counts.

mod maker;

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::Quota;
use maker::Maker;

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
    /// `mqtt_broker_messages_left_out_total{broker,reason}`: messages of a broker that its definition leaves out.
    pub broker_messages_left_out: IntCounterVec,
    /// `mqtt_messages_dropped_total{broker,reason}`: messages that an upstream broker will not get.
    pub messages_dropped: IntCounterVec,
    /// `mqtt_broker_lag_messages{broker}`: offsets from the end of the log to the broker's cursor.
    pub broker_lag: IntGaugeVec,
    /// `mqtt_broker_in_flight_messages{broker}`: sent at QoS 1 or 2 and not yet acknowledged.
    pub broker_in_flight: IntGaugeVec,
    /// `mqtt_broker_paused{broker}`: 1 while an enabled broker is paused, else 0.
    pub broker_paused: IntGaugeVec,
    /// `mqtt_broker_drain_remaining_messages{broker}`: messages before the drain point of a broker that is drained.
    pub broker_drain_remaining: IntGaugeVec,
    /// `mqtt_broker_reconnects_total{broker}`: connections after the first one.
    pub broker_reconnects: IntCounterVec,
    /// `mqtt_broker_failures_total{broker,cause}`: failed attempts, lost connections and restarts.
    pub broker_failures: IntCounterVec,
    /// `mqtt_group_switches_total{group}`: how often a group of brokers changed from one member to another.
    pub group_switches: IntCounterVec,
    /// `mqtt_group_lag_messages{group}`: offsets from the end of the log to the lowest cursor of the group.
    pub group_lag: IntGaugeVec,
    /// `mqtt_group_oldest_unsent_seconds{group}`: age of the oldest message that the group has not acknowledged.
    pub group_oldest_unsent: IntGaugeVec,
    /// `mqtt_group_active_members{group}`: members that are connected and get messages.
    pub group_active: IntGaugeVec,
    /// `mqtt_connections_total{listener}`: connections accepted since the start.
    pub connections: IntCounterVec,
    /// `mqtt_connections_refused_total{reason}`: connections that never became a session; the reasons are `tls`, `not_tls`,
    /// `tls_handshake`, `http`, `mqtt_3_1`, `unsupported_version`, `not_connect`, `bad_connect`, `authentication`, `refused`,
    /// `closed`, `timeout`.
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
    /// `mqtt_broker_messages_downgraded_total{broker}`: sent at a lower QoS, because the broker takes no higher one.
    pub broker_downgraded: IntCounterVec,
    /// `mqtt_broker_retain_stripped_total{broker}`: sent without RETAIN, because the broker does not take it.
    pub broker_retain_stripped: IntCounterVec,
    /// `mqtt_broker_bytes_received_total{broker}`: of MQTT, below it may be TLS or WebSocket.
    pub broker_bytes_received: IntCounterVec,
    /// `mqtt_broker_bytes_sent_total{broker}`: of MQTT, below it may be TLS or WebSocket.
    pub broker_bytes_sent: IntCounterVec,
    /// `mqtt_acknowledgements_overdue_total`: acknowledgements whose upstream brokers did not answer in time.
    pub acknowledgements_overdue: IntCounter,
    /// `mqtt_alerts_firing{alert,broker}`: 1 while the alert fires.
    pub alerts_firing: IntGaugeVec,
    /// `mqtt_broker_circuit_state{broker}`: 0 closed, 1 half open, 2 open.
    pub broker_circuit: IntGaugeVec,
    /// `mqtt_broker_degraded{broker}`: 1 while connected to the broker and one of its thresholds is passed, else 0.
    pub broker_degraded: IntGaugeVec,
    /// `mqtt_broker_last_acknowledged_seconds{broker}`: how long ago the broker acknowledged something.
    pub broker_last_acknowledged: IntGaugeVec,
    /// `mqtt_broker_canary_round_trip_seconds{broker}`: from PUBLISH to PUBACK of the last canary that was answered.
    pub broker_canary: GaugeVec,
    /// `mqtt_log_file_bytes`: the log's files.
    pub log_file_bytes: IntGauge,
    /// `mqtt_log_file_bytes_max`: how long they may get (`log.retention_bytes_max`).
    pub log_file_bytes_max: IntGauge,
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
    /// Control Packets of all types, where they are counted.
    pub packets: Option<PacketCounts>,
}

/// Control Packets of all types.
pub struct PacketCounts {
    /// Those that came in.
    pub received: IntCounter,
    /// Those that went out.
    pub sent: IntCounter,
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
            broker_messages_left_out: maker.counters(
                "mqtt_broker_messages_left_out_total",
                "messages received from a broker and not taken, by its definition",
                &["broker", "reason"],
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
            broker_paused: maker.gauges(
                "mqtt_broker_paused",
                "1 while an enabled broker is paused, else 0",
                &["broker"],
            )?,
            broker_drain_remaining: maker.gauges(
                "mqtt_broker_drain_remaining_messages",
                "messages that a broker which is being drained has not got",
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
            group_lag: maker.gauges(
                "mqtt_group_lag_messages",
                "messages between the end of the log and the lowest cursor of the group",
                &["group"],
            )?,
            group_oldest_unsent: maker.gauges(
                "mqtt_group_oldest_unsent_seconds",
                "age of the oldest message that the group has not acknowledged",
                &["group"],
            )?,
            group_active: maker.gauges(
                "mqtt_group_active_members",
                "members of the group that are connected and get messages",
                &["group"],
            )?,
            group_switches: maker.counters(
                "mqtt_group_switches_total",
                "changes from one member of a group of brokers to another",
                &["group"],
            )?,
            connections: maker.counters("mqtt_connections_total", "connections accepted", &["listener"])?,
            connections_refused: maker.counters(
                "mqtt_connections_refused_total",
                "connections that never became a session",
                &["reason"],
            )?,
            messages_delivered: maker
                .counter("mqtt_messages_delivered_total", "messages sent to local subscribers")?,
            deliveries_dropped: maker.delivery_drops()?,
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
            broker_downgraded: maker.counters(
                "mqtt_broker_messages_downgraded_total",
                "messages sent at a lower QoS, because the broker takes no higher one",
                &["broker"],
            )?,
            broker_retain_stripped: maker.counters(
                "mqtt_broker_retain_stripped_total",
                "messages sent without RETAIN, because the broker does not take it",
                &["broker"],
            )?,
            broker_bytes_received: maker.counters(
                "mqtt_broker_bytes_received_total",
                "bytes of MQTT read from the connections to a broker",
                &["broker"],
            )?,
            broker_bytes_sent: maker.counters(
                "mqtt_broker_bytes_sent_total",
                "bytes of MQTT written to the connections to a broker",
                &["broker"],
            )?,
            acknowledgements_overdue: maker.counter(
                "mqtt_acknowledgements_overdue_total",
                "acknowledgements whose upstream brokers did not answer in time",
            )?,
            alerts_firing: maker.gauges(
                "mqtt_alerts_firing",
                "1 while the alert fires for the broker",
                &["alert", "broker"],
            )?,
            broker_circuit: maker.gauges(
                "mqtt_broker_circuit_state",
                "0 while connected, 1 while an attempt after a failure is under way, 2 while it waits",
                &["broker"],
            )?,
            broker_degraded: maker.gauges(
                "mqtt_broker_degraded",
                "1 while connected to the broker and a threshold of its definition is passed",
                &["broker"],
            )?,
            broker_last_acknowledged: maker.gauges(
                "mqtt_broker_last_acknowledged_seconds",
                "time since the broker acknowledged a message",
                &["broker"],
            )?,
            broker_canary: maker.register(GaugeVec::new(
                Opts::new(
                    "mqtt_broker_canary_round_trip_seconds",
                    "from PUBLISH to PUBACK of the last canary that the broker answered",
                ),
                &["broker"],
            )?)?,
            log_file_bytes: maker.gauge("mqtt_log_file_bytes", "bytes of the log's files")?,
            log_file_bytes_max: maker.gauge("mqtt_log_file_bytes_max", "bytes that they may take")?,
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
                packets: Some(PacketCounts {
                    received: maker.counter(
                        "mqtt_packets_received_total",
                        "packets of all types received from devices",
                    )?,
                    sent: maker.counter("mqtt_packets_sent_total", "packets of all types sent to devices")?,
                }),
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
