//! What clients may use only so much of: one name for each, for the counter and the log.

use mqtt::{TopicFilter, TopicName};

/// A quota that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Network Connections altogether.
    Connections,
    /// Network Connections from one address.
    ConnectionsPerAddress,
    /// How many connections are accepted in a second.
    Accepts,
    /// Sessions.
    Sessions,
    /// The length of a packet.
    PacketBytes,
    /// Packets that have arrived in part, of all connections together.
    ReceivingBytes,
    /// The length or the levels of a Topic Name or Topic Filter.
    Topic,
    /// Subscriptions of one client.
    Subscriptions,
    /// What waits for a client that is connected.
    SlowSubscriber,
    /// What waits for a client that is not connected.
    AbsentSubscriber,
    /// Messages in a second from one client.
    MessageRate,
    /// Retained messages, or their bytes.
    Retained,
    /// Messages that a client has unacknowledged.
    ReceiveMaximum,
}

impl Quota {
    /// All of them.
    pub const ALL: [Quota; 13] = [
        Quota::Connections,
        Quota::ConnectionsPerAddress,
        Quota::Accepts,
        Quota::Sessions,
        Quota::PacketBytes,
        Quota::ReceivingBytes,
        Quota::Topic,
        Quota::Subscriptions,
        Quota::SlowSubscriber,
        Quota::AbsentSubscriber,
        Quota::MessageRate,
        Quota::Retained,
        Quota::ReceiveMaximum,
    ];

    /// The label in `mqtt_quota_exceeded_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Quota::Connections => "connections",
            Quota::ConnectionsPerAddress => "connections_per_address",
            Quota::Accepts => "accepts",
            Quota::Sessions => "sessions",
            Quota::PacketBytes => "packet_bytes",
            Quota::ReceivingBytes => "receiving_bytes",
            Quota::Topic => "topic",
            Quota::Subscriptions => "subscriptions",
            Quota::SlowSubscriber => "slow_subscriber",
            Quota::AbsentSubscriber => "absent_subscriber",
            Quota::MessageRate => "message_rate",
            Quota::Retained => "retained",
            Quota::ReceiveMaximum => "receive_maximum",
        }
    }
}

/// Which quotas a client was reported for already: the log hears of each once a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reported(u32);

impl Reported {
    /// Whether this is the first time.
    pub fn is_first(&mut self, quota: Quota) -> bool {
        let bit = 1 << quota as u32;
        let is_first = self.0 & bit == 0;
        self.0 |= bit;
        is_first
    }
}

/// What Topic Names and Topic Filters may be, within what the standard allows.
#[derive(Clone, Copy, Debug)]
pub struct TopicLimits {
    /// Bytes.
    pub bytes_max: usize,
    /// Levels.
    pub levels_max: usize,
}

impl TopicLimits {
    /// Whether a Topic Name is within the bounds.
    pub fn admit_name(&self, name: &TopicName) -> bool {
        self.admit(name.as_str(), name.as_str())
    }

    /// Whether a Topic Filter is within the bounds; the levels of a share name do not count.
    pub fn admit_filter(&self, filter: &TopicFilter) -> bool {
        self.admit(filter.as_str(), filter.pattern())
    }

    fn admit(&self, text: &str, levels: &str) -> bool {
        // A text has fewer slashes than bytes, so the levels of a short one need no counting.
        let has_few_levels = || {
            levels.len() < self.levels_max
                || levels.bytes().filter(|byte| *byte == b'/').count() < self.levels_max
        };
        text.len() <= self.bytes_max && has_few_levels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quota_has_a_name_and_a_bit_of_its_own() {
        let mut names: Vec<_> = Quota::ALL.iter().map(|quota| quota.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Quota::ALL.len());
        let mut reported = Reported::default();
        assert!(Quota::ALL.iter().all(|quota| reported.is_first(*quota)));
        assert!(Quota::ALL.iter().all(|quota| !reported.is_first(*quota)));
    }

    #[test]
    fn topics_are_bounded_by_bytes_and_levels() {
        let limits = TopicLimits { bytes_max: 9, levels_max: 3 };
        let admits = |name: &str| limits.admit_name(&TopicName::new(name.to_owned()).unwrap());
        for admitted in ["a", "a/b/c", "//", "123456789", "1/3/56789"] {
            assert!(admits(admitted), "{admitted}");
        }
        for refused in ["a/b/c/d", "///", "1234567890"] {
            assert!(!admits(refused), "{refused}");
        }
        let shared = TopicLimits { bytes_max: 20, levels_max: 3 };
        let admits = |filter: &str| shared.admit_filter(&TopicFilter::new(filter.to_owned()).unwrap());
        assert!(admits("$share/g/a/b/c") && !admits("$share/g/a/b/c/d") && !admits("$share/g/345678901234"));
    }
}
