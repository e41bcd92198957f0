//! How a connection to an upstream broker is looked after: when to try again, whose echoes to expect, when it counts as
//! degraded, and who stands in for it.

use std::time::Duration;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The shortest wait.
    pub floor: Duration,
    /// The longest wait.
    pub ceiling: Duration,
    /// The shortest wait after an answer that will not change by itself, such as "not authorized".
    pub denied: Duration,
    /// A connection that lasts this long was a success: the next failure starts with the shortest wait again.
    pub stable: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            floor: crate::limits::UPSTREAM_RETRY_FLOOR,
            ceiling: crate::limits::UPSTREAM_RETRY_CEILING,
            denied: crate::limits::UPSTREAM_RETRY_DENIED,
            stable: crate::limits::UPSTREAM_STABLE,
        }
    }
}

/// How our own messages are kept from coming back from a bidirectional broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoopGuardChoice {
    /// By what the broker offers: No Local (5.0), the bridge bit (3.1.1), or else echo credits.
    #[default]
    Auto,
    /// By echo credits, whatever else there is.
    Credits,
    /// By No Local or the bridge bit alone.
    Bridge,
    /// By nothing but the origin of each message.
    Off,
}

impl LoopGuardChoice {
    const ALL: [LoopGuardChoice; 4] =
        [LoopGuardChoice::Auto, LoopGuardChoice::Credits, LoopGuardChoice::Bridge, LoopGuardChoice::Off];

    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            LoopGuardChoice::Auto => "auto",
            LoopGuardChoice::Credits => "credits",
            LoopGuardChoice::Bridge => "bridge",
            LoopGuardChoice::Off => "off",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<LoopGuardChoice> {
        LoopGuardChoice::ALL.into_iter().find(|choice| choice.as_str() == text)
    }
}

/// The group of brokers that get each message once among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMembership {
    /// The group's name.
    pub name: String,
    /// The broker's place in it: the lowest is preferred.
    pub priority: u32,
}

/// What is looked at besides the connection, and when a broker counts as degraded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthOptions {
    /// How often a message of our own goes to the broker and its way is timed; `None` for never.
    pub canary_interval: Option<Duration>,
    /// The Topic Name of that message; see [`crate::Broker::canary_topic`].
    pub canary_topic: Option<String>,
    /// The broker is degraded while its oldest unsent message is older than this.
    pub degraded_unsent: Option<Duration>,
    /// The broker is degraded while it is more messages behind than this.
    pub degraded_lag: Option<u64>,
}

/// A service whose limits are known, though it may not say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// AWS IoT Core.
    AwsIot,
    /// Azure Event Grid namespaces.
    AzureEventGrid,
    /// HiveMQ Cloud.
    HiveMqCloud,
}

impl Profile {
    const ALL: [Profile; 3] = [Profile::AwsIot, Profile::AzureEventGrid, Profile::HiveMqCloud];

    /// The profile as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::AwsIot => "aws_iot",
            Profile::AzureEventGrid => "azure_event_grid",
            Profile::HiveMqCloud => "hivemq_cloud",
        }
    }

    /// The profile that users write like this.
    pub fn parse(text: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.as_str() == text)
    }
}
