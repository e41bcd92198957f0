//! What the packets of the server do to a client session.

use std::time::Instant;

use bytes::BytesMut;

use super::error::Violation;
use super::liveness::Liveness;
use super::{ClientSession, DisconnectCause, Disconnected, Event, Granted, Phase};
use crate::codec::{DecodeLimits, decode, encode};
use crate::packet::{ConnAck, Disconnect};
use crate::{DecodeError, Packet, Properties, ReasonCode};

impl ClientSession {
    /// Takes packets off the front of what was read until one of them is an event; `None` when more bytes are
    /// needed. Call it until then, also after calls that may have brought events by themselves.
    ///
    /// All that it adds to the output is at most a quarter longer than what was read.
    pub fn receive(&mut self, buffer: &mut BytesMut, now: Instant) -> Option<Event> {
        let packet_bytes_max = self.options.packet_bytes_max.max(1) as usize;
        let limits = DecodeLimits { packet_bytes_max, control_bytes_max: packet_bytes_max };
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if matches!(self.phase, Phase::Offline) {
                buffer.clear();
                return None;
            }
            let result = match decode(buffer, self.options.version, &limits) {
                Ok(Some(packet)) => self.handle(packet, now),
                Ok(None) => {
                    self.pump();
                    return self.events.pop_front();
                }
                Err(error) => Err(Violation::new(disconnect_reason(&error), error.to_string())),
            };
            match result {
                Ok(event) => self.events.extend(event),
                Err(violation) => return Some(self.give_up(violation)),
            }
        }
    }

    fn handle(&mut self, packet: Packet, now: Instant) -> Result<Option<Event>, Violation> {
        let liveness = match &mut self.phase {
            Phase::Online(liveness) => liveness,
            Phase::Connecting { clean_start, .. } => {
                let clean_start = *clean_start;
                return match packet {
                    Packet::ConnAck(connack) => self.connack(&connack, clean_start, now).map(|()| None),
                    // `[MQTT-3.2.0-1]`.
                    other => Err(not_expected(&other, "before CONNACK")),
                };
            }
            Phase::Offline => return Ok(None),
        };
        liveness.received(now);
        let output = &mut self.output;
        match packet {
            Packet::Publish(publish) => {
                self.incoming.publish(publish, output).map(|delivery| delivery.map(Event::Message))
            }
            Packet::PubAck(packet) => self.outgoing.puback(&packet),
            Packet::PubRec(packet) => self.outgoing.pubrec(&packet, output),
            Packet::PubComp(packet) => self.outgoing.pubcomp(&packet),
            Packet::PubRel(packet) => {
                self.incoming.pubrel(packet.packet_id, output);
                Ok(None)
            }
            Packet::SubAck(suback) => {
                let packet_id = suback.packet_id;
                let event = self.requests.subscribed(suback)?;
                self.outgoing.release(packet_id);
                Ok(Some(event))
            }
            Packet::UnsubAck(unsuback) => {
                let packet_id = unsuback.packet_id;
                let event = self.requests.unsubscribed(unsuback, self.options.version.is_v5())?;
                self.outgoing.release(packet_id);
                Ok(Some(event))
            }
            Packet::PingResp => Ok(None),
            // In 3.1.1 only the client sends it.
            Packet::Disconnect(disconnect) if self.options.version.is_v5() => {
                self.connection_lost();
                Ok(Some(Event::Disconnected(Disconnected {
                    cause: DisconnectCause::Server,
                    reason_code: disconnect.reason_code,
                    properties: disconnect.properties.detached(),
                })))
            }
            other => Err(not_expected(&other, "here")),
        }
    }

    fn connack(&mut self, connack: &ConnAck, clean_start: bool, now: Instant) -> Result<(), Violation> {
        if connack.reason_code != ReasonCode::Success {
            self.connection_lost();
            self.events.push_back(Event::Disconnected(Disconnected {
                cause: DisconnectCause::Refused,
                reason_code: connack.reason_code,
                properties: connack.properties.detached(),
            }));
            return Ok(());
        }
        if connack.session_present && clean_start {
            // `[MQTT-3.2.2-2]`.
            return Err(Violation::protocol("a session is present after a clean start"));
        }
        let granted = Granted::from_connack(connack, self.options.version, self.options.keep_alive_secs);
        let assigned = granted.properties.assigned_client_identifier();
        if let Some(assigned) = assigned.filter(|_| self.client_id.is_empty()) {
            self.client_id = assigned; // [MQTT-3.2.2-16]
        }
        let timeout = self.options.response_timeout;
        self.phase = Phase::Online(Liveness::new(granted.keep_alive_secs, timeout, now));
        self.was_online = true;
        let session_present = connack.session_present;
        self.events.push_back(Event::Connected { session_present, granted: Box::new(granted.clone()) });
        if session_present {
            self.outgoing.resume(&granted);
            self.incoming.resume();
        } else {
            self.outgoing.restart(&granted, &mut self.events);
            self.incoming.restart();
        }
        self.granted = granted;
        self.pump();
        Ok(())
    }

    /// Ends a connection whose server broke the protocol `[MQTT-4.13.1-1]`.
    fn give_up(&mut self, violation: Violation) -> Event {
        let Violation { reason_code, text } = violation;
        // Only after CONNACK is there a connection to end with DISCONNECT; 3.1.1 has no reasons to tell.
        if self.options.version.is_v5() && self.is_connected() {
            let packet = Packet::Disconnect(Disconnect { reason_code, properties: Properties::default() });
            let written = encode(&packet, self.options.version, &mut self.output);
            debug_assert!(written.is_ok(), "{reason_code}");
        }
        self.go_offline();
        Event::Disconnected(Disconnected {
            cause: DisconnectCause::ProtocolViolation(text),
            reason_code,
            properties: Properties::default(),
        })
    }
}

/// The Reason Code of the DISCONNECT for bytes that are no packet; what DISCONNECT cannot have is a Protocol Error.
fn disconnect_reason(error: &DecodeError) -> ReasonCode {
    let reason_code = error.reason_code();
    if Disconnect::allows(reason_code) { reason_code } else { ReasonCode::ProtocolError }
}

fn not_expected(packet: &Packet, place: &str) -> Violation {
    Violation::protocol(format!("{:?} is not expected {place}", packet.packet_type()))
}
