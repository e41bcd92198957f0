//! An upstream broker's definition: a checked value without behaviour, and the changes that lead to one.

use std::path::PathBuf;
use std::sync::Arc;

use mqtt::{ProtocolVersion, QoS, TopicFilter};

use uuid::Uuid;

use crate::start_position::StartPosition;

/// The lasting identity of an upstream broker. Name and address may change, this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerId(pub Uuid);

impl std::fmt::Display for BrokerId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A password or another secret: never shown by `Debug`, never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Which messages go to an upstream broker, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardRule {
    /// A message goes to the broker where one of these matches; none at all means every message.
    pub topics: Vec<TopicFilter>,
    /// The highest QoS towards the broker; messages above it are sent at this one.
    pub max_qos: Option<QoS>,
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

/// What a bidirectional upstream broker is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSubscription {
    /// The filters to subscribe to at the broker.
    pub topics: Vec<TopicFilter>,
    /// The QoS to ask for.
    pub qos: QoS,
}

impl Default for UpstreamSubscription {
    /// Everything but `$`-topics, at QoS 1.
    fn default() -> UpstreamSubscription {
        let everything = TopicFilter::new("#").expect("# alone is a Topic Filter");
        UpstreamSubscription { topics: vec![everything], qos: QoS::AtLeastOnce }
    }
}

/// How the connection to an upstream broker is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Accept any certificate, whoever signed it and whatever name it carries.
    pub insecure_skip_verify: bool,
    /// A PEM file with the certificates to trust instead of the system's.
    pub ca_cert_path: Option<PathBuf>,
}

/// Who defined the broker, and so who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerSource {
    /// `data/brokers.json`, through the API.
    Stored,
    /// `--upstream` on the command line: read-only in the API.
    CommandLine,
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
    /// The Client Identifier towards the broker starts with this; see [`Broker::client_id`].
    pub client_id_prefix: String,
    /// User Name for CONNECT.
    pub username: Option<String>,
    /// Password for CONNECT.
    pub password: Option<Secret>,
    /// Whether messages are forwarded to the broker at all.
    pub enabled: bool,
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
    /// Who defined it.
    pub source: BrokerSource,
}

impl Broker {
    /// The Client Identifier towards the broker: the same at every reconnect and after a restart.
    pub fn client_id(&self) -> String {
        format!("{}-{}", self.client_id_prefix, self.id)
    }

    /// The version of MQTT as users write it: `3.1.1` or `5`.
    pub const fn version_text(&self) -> &'static str {
        if self.version.is_v5() { "5" } else { "3.1.1" }
    }

    /// Whether the two definitions need different connections (as opposed to different forwarding only).
    pub fn connects_like(&self, other: &Broker) -> bool {
        let without_rule = |broker: &Broker| Broker {
            name: String::new(),
            rule: ForwardRule::default(),
            backlog: Backlog::default(),
            source: BrokerSource::Stored,
            ..broker.clone()
        };
        without_rule(self) == without_rule(other)
    }
}

/// A broker definition as actors hand it around.
pub type SharedBroker = Arc<Broker>;
