//! SUBSCRIBE and UNSUBSCRIBE packets that wait for their answers.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::error::Violation;
use super::event::{Event, RequestToken};
use crate::packet::{SubAck, UnsubAck};
use crate::{PacketId, ReasonCode};

/// How many requests may wait for an answer; each takes a Packet Identifier from the publishing side.
pub(super) const REQUESTS_MAX: usize = 1_000;

/// Which of the two packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Subscribe,
    Unsubscribe,
}

#[derive(Debug)]
struct Request {
    kind: RequestKind,
    token: RequestToken,
    filters: usize,
}

/// The requests of one connection by their Packet Identifiers.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: HashMap<PacketId, Request, RandomState>,
    next_token: u64,
}

impl Requests {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= REQUESTS_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Notes a request that goes out.
    pub(super) fn add(&mut self, kind: RequestKind, packet_id: PacketId, filters: usize) -> RequestToken {
        let token = RequestToken(self.next_token);
        self.next_token += 1;
        self.waiting.insert(packet_id, Request { kind, token, filters });
        token
    }

    pub(super) fn subscribed(&mut self, suback: SubAck) -> Result<Event, Violation> {
        let request = self.take(RequestKind::Subscribe, suback.packet_id)?;
        let SubAck { reason_codes, .. } = suback;
        if reason_codes.len() != request.filters {
            // `[MQTT-3.9.3-1]`.
            return Err(Violation::protocol("SUBACK has not one reason code for each topic filter"));
        }
        Ok(Event::Subscribed { token: request.token, reason_codes })
    }

    /// `has_codes` is false in 3.1.1, whose UNSUBACK says nothing but success.
    pub(super) fn unsubscribed(&mut self, unsuback: UnsubAck, has_codes: bool) -> Result<Event, Violation> {
        let request = self.take(RequestKind::Unsubscribe, unsuback.packet_id)?;
        let reason_codes = match has_codes {
            true => unsuback.reason_codes,
            false => vec![ReasonCode::Success; request.filters],
        };
        if reason_codes.len() != request.filters {
            return Err(Violation::protocol("UNSUBACK has not one reason code for each topic filter"));
        }
        Ok(Event::Unsubscribed { token: request.token, reason_codes })
    }

    /// The connection is over, and with it the answers.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    fn take(&mut self, kind: RequestKind, packet_id: PacketId) -> Result<Request, Violation> {
        if self.waiting.get(&packet_id).is_none_or(|request| request.kind != kind) {
            return Err(Violation::protocol(format!("{kind:?} {packet_id} is answered and was never asked")));
        }
        self.waiting.remove(&packet_id).ok_or_else(|| Violation::protocol("nothing was asked"))
    }
}
