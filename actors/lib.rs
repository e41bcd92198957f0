//! The rooms of mqtt-proxy: its actors and what they keep. They know the protocol from `mqtt` and nothing
//! of listeners, HTTP or the command line, which plug in from above through [`connection`] and [`messages`].

pub mod acknowledgement;
pub mod alerts;
pub mod authenticator;
pub mod bridge;
pub mod broker;
pub mod broker_group;
pub mod config_store;
pub mod connection;
pub mod connection_tester;
pub mod definition;
pub mod delivery_queue;
pub mod device_session;
pub mod health;
pub mod limits;
pub mod message_log;
pub mod messages;
pub mod metrics;
pub mod origin;
pub mod preview;
pub mod promise;
pub mod quota;
pub mod receiving_budget;
pub mod router;
pub mod secret_source;
pub mod session_registry;
pub mod share_group;
pub mod snapshots;
pub mod start;
pub mod start_position;
pub mod storage;
pub mod store;
pub mod sys_topics;
pub mod timestamp;
pub mod token_bucket;
pub mod topic_mapping;
pub mod upstream_broker;

pub use broker::{Broker, BrokerId};
pub use broker_group::{BrokerGroup, GroupMode, GroupSettings, SharedGroup};
pub use definition::{BrokerChanges, FieldError};
pub use metrics::Metrics;
pub use origin::Origin;
pub use quota::Quota;
pub use topic_mapping::TopicMapping;
