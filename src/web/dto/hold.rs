//! What was ordered of a broker and keeps messages from it.

use actors::Broker;
use actors::broker::{AfterDrain, Draining};
use actors::snapshots::DrainProgress;
use actors::timestamp::format_rfc3339;
use serde::Serialize;

/// A drain that is under way.
#[derive(Serialize)]
pub struct DrainJson {
    to_offset: u64,
    /// Messages before it that the broker has not acknowledged; `null` while the Router does not say.
    remaining: Option<u64>,
    then: &'static str,
    deadline: Option<String>,
}

impl DrainJson {
    /// The drain, as far as the Router knows it.
    pub fn new(draining: &Draining, progress: Option<DrainProgress>) -> DrainJson {
        let progress = progress.filter(|progress| progress.to_offset == draining.to_offset);
        DrainJson {
            to_offset: draining.to_offset,
            remaining: progress.map(|progress| progress.remaining),
            then: draining.then.as_str(),
            deadline: draining.deadline_micros.map(format_rfc3339),
        }
    }
}

/// What keeps messages from an enabled broker.
pub fn held(broker: &Broker) -> Option<&'static str> {
    match broker.draining {
        _ if !broker.enabled => None,
        _ if broker.paused => Some("paused"),
        Some(draining) if draining.then == AfterDrain::Remove => Some("removing"),
        Some(_) => Some("draining"),
        None => None,
    }
}
