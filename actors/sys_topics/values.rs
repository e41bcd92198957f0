//! What stands in the topics, all but the connections: from counters and snapshots to texts.

use std::time::Instant;

use super::load::Load;
use crate::Metrics;
use crate::messages::{RouterSnapshot, SessionsSnapshot};

/// What was counted since the start, on connections of devices.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    packets_received: u64,
    packets_sent: u64,
    publish_received: u64,
    publish_sent: u64,
    publish_dropped: u64,
    payload_bytes_received: u64,
    payload_bytes_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
    /// Network Connections.
    sockets: u64,
    /// CONNECT packets.
    connects: u64,
    sessions_expired: u64,
    /// Messages that wait in sessions now.
    session_messages: u64,
}

/// What the values of one look need from those before.
pub struct Statistics {
    started: Instant,
    looked_at: Instant,
    connected_max: u64,
    loads: [Load; 9],
}

impl Counters {
    /// As they are now.
    pub fn of(metrics: &Metrics) -> Counters {
        let traffic = &metrics.device_traffic;
        Counters {
            packets_received: traffic.packets.as_ref().map_or(0, |packets| packets.received.get()),
            packets_sent: traffic.packets.as_ref().map_or(0, |packets| packets.sent.get()),
            publish_received: metrics.messages_received.get(),
            publish_sent: metrics.messages_delivered.get(),
            publish_dropped: Metrics::total(&metrics.deliveries_dropped),
            payload_bytes_received: metrics.payload_bytes_received.get(),
            payload_bytes_sent: metrics.payload_bytes_sent.get(),
            bytes_received: traffic.bytes_received.get(),
            bytes_sent: traffic.bytes_sent.get(),
            sockets: Metrics::total(&metrics.connections),
            connects: metrics.connects_received.get(),
            sessions_expired: metrics.sessions_expired.get(),
            session_messages: u64::try_from(metrics.session_messages.get()).unwrap_or(0),
        }
    }

    /// What there are loads of, in the order of [`Statistics::loads`].
    fn loads(&self) -> [(&'static str, u64); 9] {
        [
            ("messages/received", self.packets_received),
            ("messages/sent", self.packets_sent),
            ("publish/received", self.publish_received),
            ("publish/sent", self.publish_sent),
            ("publish/dropped", self.publish_dropped),
            ("bytes/received", self.bytes_received),
            ("bytes/sent", self.bytes_sent),
            ("sockets", self.sockets),
            ("connections", self.connects),
        ]
    }
}

impl Statistics {
    /// Nothing was counted yet.
    pub fn new(now: Instant) -> Statistics {
        Statistics { started: now, looked_at: now, connected_max: 0, loads: [Load::default(); 9] }
    }

    /// Every topic below `$SYS/broker/` with its text.
    pub fn values(
        &mut self,
        router: &RouterSnapshot,
        sessions: SessionsSnapshot,
        counters: &Counters,
        now: Instant,
    ) -> Vec<(String, String)> {
        let mut values = vec![
            ("version".to_owned(), concat!("mqtt-proxy version ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("uptime".to_owned(), format!("{} seconds", now.duration_since(self.started).as_secs())),
        ];
        let numbers = self.numbers(router, sessions, counters);
        values.extend(numbers.into_iter().map(|(name, number)| (name.to_owned(), number.to_string())));
        let elapsed = now.duration_since(self.looked_at);
        self.looked_at = now;
        for (load, (name, counter)) in self.loads.iter_mut().zip(counters.loads()) {
            load.look(counter, elapsed);
            let averages = load.averages();
            values.extend(
                averages.map(|(period, average)| (format!("load/{name}/{period}"), format!("{average:.2}"))),
            );
        }
        values
    }

    fn numbers(
        &mut self,
        router: &RouterSnapshot,
        sessions: SessionsSnapshot,
        counters: &Counters,
    ) -> [(&'static str, u64); 21] {
        let SessionsSnapshot { sessions: total, connected, .. } = sessions;
        // A client that is just coming or going may be in one number only.
        let total = total.max(connected);
        let absent = total - connected;
        self.connected_max = self.connected_max.max(connected);
        let stored = router.retained + counters.session_messages;
        [
            ("clients/total", total),
            ("clients/connected", connected),
            ("clients/active", connected),
            ("clients/disconnected", absent),
            ("clients/inactive", absent),
            ("clients/maximum", self.connected_max),
            ("clients/expired", counters.sessions_expired),
            ("messages/received", counters.packets_received),
            ("messages/sent", counters.packets_sent),
            ("messages/stored", stored),
            ("store/messages/count", stored),
            ("retained messages/count", router.retained),
            ("publish/messages/received", counters.publish_received),
            ("publish/messages/sent", counters.publish_sent),
            ("publish/messages/dropped", counters.publish_dropped),
            ("publish/bytes/received", counters.payload_bytes_received),
            ("publish/bytes/sent", counters.payload_bytes_sent),
            ("bytes/received", counters.bytes_received),
            ("bytes/sent", counters.bytes_sent),
            ("subscriptions/count", router.subscriptions),
            ("shared_subscriptions/count", router.shared_subscriptions),
        ]
    }
}
