//! MQTT 3.1.1 and 5.0, statement by statement: dialogues in bytes that were written from the standard alone.
//! `conformance/statements.toml` says which statement is held by which test, and `tests/tidy.rs` holds that list.

mod auth;
mod connack;
mod connect;
mod data;
mod disconnect;
mod errors;
mod keep_alive;
mod maximum_packet_size;
mod properties;
mod sessions;
mod takeover;
mod topics;
mod will;

use crate::support::Version;

/// A name that no other test has, and neither has the same test in the other version.
fn named(version: Version, name: &str) -> String {
    format!("{name}-{}", version.name())
}
