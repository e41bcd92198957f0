//! What the standards say of the flow of messages, statement by statement: PUBLISH and its acknowledgements,
//! subscriptions, delivery, order and flow control. `conformance/statements.toml` says which test stands for
//! which statement.

#[path = "conformance/acknowledgements.rs"]
mod acknowledgements;
#[path = "conformance/aliases.rs"]
mod aliases;
#[path = "conformance/combinations.rs"]
mod combinations;
#[path = "conformance/expiry.rs"]
mod expiry;
#[path = "conformance/flow_control.rs"]
mod flow_control;
#[path = "conformance/message_properties.rs"]
mod message_properties;
#[path = "conformance/order.rs"]
mod order;
#[path = "conformance/packet_size.rs"]
mod packet_size;
#[path = "conformance/publish.rs"]
mod publish;
#[path = "conformance/qos_flows.rs"]
mod qos_flows;
#[path = "conformance/redelivery.rs"]
mod redelivery;
#[path = "conformance/request_response.rs"]
mod request_response;
#[path = "conformance/retained.rs"]
mod retained;
#[path = "conformance/scene.rs"]
mod scene;
#[path = "conformance/shared.rs"]
mod shared;
#[path = "conformance/subscribe.rs"]
mod subscribe;
#[path = "conformance/unsubscribe.rs"]
mod unsubscribe;
