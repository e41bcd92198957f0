//! An upstream broker's definition: a checked value without behaviour, and the changes that lead to one.

mod draining;
mod rule;
mod secret;
mod supervision;
mod tls;

use std::sync::Arc;

use mqtt::ProtocolVersion;
use uuid::Uuid;

pub use draining::{AfterDrain, Draining};
pub use rule::{ForwardRule, GivenMapping, RetainPolicy, UpstreamSubscription};
pub use secret::{Secret, is_reference};
pub use supervision::{GroupMembership, HealthOptions, LoopGuardChoice, Profile, Retry};
pub use tls::{KeySource, PemSource, Psk, TlsOptions, TlsVersion};

use crate::start_position::StartPosition;

/// The lasting identity of an upstream broker. Name and address may change, this does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerId(pub Uuid);

impl std::fmt::Display for BrokerId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What the log keeps for an upstream broker: where that begins, how much it may be, and how it is caught up with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Where the broker begins to read the log when it is new; of no meaning afterwards.
    pub start_at: StartPosition,
    /// How far the broker may fall behind, in bytes of the log; `None` leaves it to the log's own bound.
    pub queue_bytes_max: Option<u64>,
    /// What happens when it is as far behind as it may be.
    pub on_full: OnFull,
    /// How many messages of the backlog go out in a second at most, after an outage.
    pub max_rate_messages: Option<u32>,
    /// How many bytes of the backlog, topics and payloads, go out in a second at most, after an outage.
    pub max_rate_bytes: Option<u64>,
    /// After an outage new messages go out first and the backlog between them, so that the order between the two is
    /// not kept.
    pub live_first: bool,
}

/// What happens to new messages for an upstream broker that is as far behind as it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// They are taken, and the oldest ones that wait for the broker are dropped.
    #[default]
    DropOldest,
    /// Those of QoS 1 and 2 are refused: an MQTT 5 publisher is told Quota exceeded, a 3.1.1 publisher waits.
    Reject,
}

impl OnFull {
    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnFull::DropOldest => "drop_oldest",
            OnFull::Reject => "reject",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<OnFull> {
        match text {
            "drop_oldest" => Some(OnFull::DropOldest),
            "reject" => Some(OnFull::Reject),
            _ => None,
        }
    }
}

/// Who defined the broker, and so who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerSource {
    /// `data/brokers.json`, through the API.
    Stored,
    /// `--upstream` on the command line: read-only in the API.
    CommandLine,
}

/// What carries MQTT to the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// WebSocket over TCP.
    WebSocket {
        /// The path of the request, such as `/mqtt`.
        path: String,
    },
}

/// A checked definition of an upstream broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The lasting identity.
    pub id: BrokerId,
    /// The name that people know it by; unique.
    pub name: String,
    /// Host name or IP address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// What carries MQTT.
    pub transport: Transport,
    /// A service whose limits are known.
    pub profile: Option<Profile>,
    /// The Client Identifier towards the broker starts with this; see [`Broker::client_id`].
    pub client_id_prefix: String,
    /// The whole Client Identifier towards the broker, in the place of one with a prefix.
    pub fixed_client_id: Option<String>,
    /// User Name for CONNECT.
    pub username: Option<String>,
    /// Password for CONNECT.
    pub password: Option<Secret>,
    /// Whether messages are forwarded to the broker at all.
    pub enabled: bool,
    /// Whether an enabled broker gets nothing for the time being: what is for it waits in the log.
    pub paused: bool,
    /// What is left of a drain; `None` where there is none. No field of a definition: it is asked for.
    pub draining: Option<Draining>,
    /// The version of MQTT to speak.
    pub version: ProtocolVersion,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive_secs: u16,
    /// Ask the broker to forget the session at each connect.
    pub clean_session: bool,
    /// TLS, where the broker wants it.
    pub tls: Option<TlsOptions>,
    /// What goes to the broker.
    pub rule: ForwardRule,
    /// What is kept for the broker while it does not have it yet.
    pub backlog: Backlog,
    /// What comes from the broker; `None` for one that only receives.
    pub subscription: Option<UpstreamSubscription>,
    /// How our own messages are kept from coming back.
    pub loop_guard: LoopGuardChoice,
    /// Whether messages carry where they came from (MQTT 5.0); `None` where any broker is bidirectional.
    pub stamp_origin: Option<bool>,
    /// When to try again.
    pub retry: Retry,
    /// The brokers that stand in for one another.
    pub group: Option<GroupMembership>,
    /// When it counts as degraded.
    pub health: HealthOptions,
    /// Who defined it.
    pub source: BrokerSource,
    /// Counts the changes of the definition and of what was ordered, from 1 on.
    pub revision: u64,
}

impl Broker {
    /// The Client Identifier towards the broker: the same at every reconnect and after a restart.
    pub fn client_id(&self) -> String {
        self.fixed_client_id.clone().unwrap_or_else(|| format!("{}-{}", self.client_id_prefix, self.id))
    }

    /// Where the canary goes.
    pub fn canary_topic(&self) -> String {
        let own = || format!("mqtt-proxy/canary/{}", self.client_id());
        self.health.canary_topic.clone().unwrap_or_else(own)
    }

    /// The port that servers of this kind have where nobody says otherwise.
    pub const fn default_port(&self) -> u16 {
        match (&self.transport, self.tls.is_some()) {
            (Transport::Tcp, false) => 1883,
            (Transport::Tcp, true) => 8883,
            (Transport::WebSocket { .. }, false) => 80,
            (Transport::WebSocket { .. }, true) => 443,
        }
    }

    /// The broker gets nothing from this offset on: 0 while it is paused, the drain point while it is drained,
    /// `u64::MAX` else.
    pub fn held_from(&self) -> u64 {
        match self.draining {
            _ if self.paused => 0,
            Some(draining) => draining.to_offset,
            None => u64::MAX,
        }
    }

    /// Whether the other definition leads to the same Session at the same server, as far as names can tell.
    pub fn has_session_of(&self, other: &Broker) -> bool {
        let place = |broker: &Broker| (broker.address.clone(), broker.port, broker.transport.clone());
        place(self) == place(other) && self.client_id() == other.client_id()
    }

    /// The version of MQTT as users write it: `3.1.1` or `5`.
    pub const fn version_text(&self) -> &'static str {
        if self.version.is_v5() { "5" } else { "3.1.1" }
    }

    /// Whether the two definitions need different connections (as opposed to different forwarding only).
    pub fn connects_like(&self, other: &Broker) -> bool {
        let without_rule = |broker: &Broker| Broker {
            name: String::new(),
            paused: false,
            draining: None,
            rule: ForwardRule::default(),
            subscription: broker.subscription.as_ref().map(UpstreamSubscription::as_asked_for),
            backlog: Backlog::default(),
            retry: Retry::default(),
            health: HealthOptions {
                canary_topic: broker.health.canary_interval.map(|_| broker.canary_topic()),
                ..HealthOptions::default()
            },
            source: BrokerSource::Stored,
            revision: 0,
            ..broker.clone()
        };
        without_rule(self) == without_rule(other)
    }
}

/// A broker definition as actors hand it around.
pub type SharedBroker = Arc<Broker>;
