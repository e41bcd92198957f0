//! Dialogues with the real proxy: it runs as its own process on ports of the system's choice, between real
//! mosquitto brokers or a scripted one and clients that are not ours. `tests/run` installs what is needed;
//! one area runs alone with `cargo test --test integration devices::`.

#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod alerts;
mod bridging;
mod circuit;
mod clients;
mod conformance;
mod conformance_flow;
mod crowd;
mod demo;
mod device_tls;
mod devices;
mod durability;
mod example_client;
mod fan_out;
mod groups;
mod handshake;
mod harness;
mod health;
mod import;
mod inbound;
mod large_packets;
mod lifecycle;
mod log_command;
mod loops;
mod malformed;
mod mapping;
mod outages;
mod quotas;
mod reconnect_flows;
mod respect;
mod rest;
mod session_fuzz;
mod shared_subscriptions;
mod slow_subscribers;
mod start_stop;
mod sys_topics;
mod upstream_tls;
