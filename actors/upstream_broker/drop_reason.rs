//! Why messages do not reach a broker.

/// Why a message does not reach a broker. The text is the label in metrics and the key in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// It fell out of the log's memory before the broker could take it.
    Overflow,
    /// Its Message Expiry Interval had passed.
    Expired,
    /// It is longer than the broker's Maximum Packet Size.
    TooLarge,
    /// The broker answered with a failure.
    Refused,
    /// Its payload is longer than the broker's definition allows.
    PayloadTooLarge,
    /// The broker's definition maps its topic to none that there can be.
    Unmappable,
    /// The broker can have no message on its topic.
    Topic,
    /// The broker ended the connection twice because of it.
    Poison,
    /// It has passed as many proxies as it may.
    Hops,
}

impl DropReason {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::Overflow => "overflow",
            DropReason::Expired => "expired",
            DropReason::TooLarge => "too_large",
            DropReason::Refused => "refused",
            DropReason::PayloadTooLarge => "payload_too_large",
            DropReason::Unmappable => "unmappable",
            DropReason::Topic => "topic",
            DropReason::Poison => "poison",
            DropReason::Hops => "hops",
        }
    }

    /// All of them, in the order of their declaration.
    pub const ALL: [DropReason; 9] = [
        DropReason::Overflow,
        DropReason::Expired,
        DropReason::TooLarge,
        DropReason::Refused,
        DropReason::PayloadTooLarge,
        DropReason::Unmappable,
        DropReason::Topic,
        DropReason::Poison,
        DropReason::Hops,
    ];

    /// Whether the message becomes a dead letter: the broker can never take it.
    pub const fn is_final(self) -> bool {
        !matches!(self, DropReason::Overflow | DropReason::Expired | DropReason::Hops)
    }
}
