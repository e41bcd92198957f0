//! The messages of the application on their way to the server.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::BytesMut;
use foldhash::fast::RandomState;

use super::error::Violation;
use super::event::{Event, PublishToken};
use super::{ClientError, Granted, Options};
use crate::packet::acknowledgement::{AcknowledgementKind, encode_success};
use crate::packet::publish::{encode_parts, encoded_len_parts};
use crate::packet::{Acknowledgement, PublishHeader};
use crate::property::PropertyOwner;
use crate::session::{Outflow, PubRecOutcome, Resend, UnexpectedAcknowledgement};
use crate::topic::alias::OutboundAliases;
use crate::wire::VARIABLE_BYTE_INTEGER_MAX;
use crate::{EncodeError, Message, PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode};

/// Beyond this many bytes of output, messages wait until the application has taken it.
const OUTPUT_BYTES: usize = 64 * 1024;

/// The most bytes that a Topic Alias adds to a PUBLISH: the property, and a longer length before the properties and
/// before the packet.
const ALIAS_BYTES_MAX: usize = 5;

/// A message that is not done with.
#[derive(Debug)]
struct Pending {
    /// `None` once the server has it (PUBREC).
    message: Option<Message>,
    /// What PUBREC said.
    reason_code: ReasonCode,
}

/// All messages that are not done with, in the order of publishing; from `next_unsent` on those that the Session
/// has not sent yet.
#[derive(Debug)]
pub(super) struct Outgoing {
    version: ProtocolVersion,
    in_flight_max: u16,
    aliases_max: u16,
    messages: BTreeMap<PublishToken, Pending>,
    next_unsent: PublishToken,
    next_token: PublishToken,
    flow: Outflow<PublishToken>,
    by_packet_id: HashMap<PacketId, PublishToken, RandomState>,
    aliases: OutboundAliases,
}

impl Outgoing {
    pub(super) fn new(options: &Options) -> Outgoing {
        let first = options.first_packet_id.unwrap_or(PacketId::FIRST);
        Outgoing {
            version: options.version,
            in_flight_max: options.in_flight_max.max(1),
            aliases_max: options.outbound_topic_aliases_max,
            messages: BTreeMap::new(),
            next_unsent: PublishToken(0),
            next_token: PublishToken(0),
            flow: Outflow::starting_at(first, options.in_flight_max).count_released(),
            by_packet_id: HashMap::default(),
            aliases: OutboundAliases::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flow.in_flight()
    }

    pub(super) fn queue(&mut self, message: Message) -> PublishToken {
        let token = self.next_token;
        self.next_token = PublishToken(token.0 + 1);
        let pending = Pending { message: Some(message), reason_code: ReasonCode::Success };
        self.messages.insert(token, pending);
        token
    }

    /// The server goes on with the Session: what was under way is sent again.
    pub(super) fn resume(&mut self, granted: &Granted) {
        self.flow.resume(granted.receive_maximum.min(self.in_flight_max));
        self.aliases = OutboundAliases::new(granted.topic_alias_maximum.min(self.aliases_max));
    }

    /// The server has no Session: what it had not received is sent anew; what it had received is done.
    pub(super) fn restart(&mut self, granted: &Granted, events: &mut VecDeque<Event>) {
        self.flow.reset(granted.receive_maximum.min(self.in_flight_max));
        self.aliases = OutboundAliases::new(granted.topic_alias_maximum.min(self.aliases_max));
        self.by_packet_id.clear();
        self.messages.retain(|&token, pending| {
            if pending.message.is_none() {
                events.push_back(Event::Published { token, reason_code: pending.reason_code });
            }
            pending.message.is_some()
        });
        self.next_unsent = self.messages.first_key_value().map_or(self.next_token, |(token, _)| *token);
    }

    /// A Packet Identifier for SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn reserve(&mut self) -> Option<PacketId> {
        self.flow.reserve()
    }

    /// See [`Outgoing::reserve`].
    pub(super) fn release(&mut self, packet_id: PacketId) {
        self.flow.release(packet_id);
    }

    /// Writes what the window and the output have room for: first what a resumed Session sends again.
    pub(super) fn pump(&mut self, granted: &Granted, output: &mut BytesMut, events: &mut VecDeque<Event>) {
        while output.len() < OUTPUT_BYTES {
            match self.flow.next_resend() {
                Some(Resend::PubRel(packet_id)) => {
                    encode_success(output, AcknowledgementKind::PubRel, packet_id);
                }
                Some(Resend::Publish(packet_id, &token)) => {
                    if let Err(reason_code) = self.write(token, Some(packet_id), true, granted, output) {
                        self.flow.abandon(packet_id);
                        events.extend(self.finish(token, Some(packet_id), Some(reason_code)));
                    }
                }
                None => break,
            }
        }
        while output.len() < OUTPUT_BYTES && !self.flow.is_resending() {
            let Some((&token, pending)) = self.messages.range(self.next_unsent..).next() else { break };
            let qos = pending.message.as_ref().map_or(QoS::AtMostOnce, |message| message.qos);
            let packet_id = self.flow.send(qos, token);
            if packet_id.is_none() && qos != QoS::AtMostOnce {
                break;
            }
            self.next_unsent = PublishToken(token.0 + 1);
            if let Some(packet_id) = packet_id {
                self.by_packet_id.insert(packet_id, token);
            }
            match self.write(token, packet_id, false, granted, output) {
                Ok(()) if qos == QoS::AtMostOnce => drop(self.messages.remove(&token)),
                Ok(()) => {}
                Err(reason_code) => {
                    packet_id.and_then(|packet_id| self.flow.abandon(packet_id));
                    events.extend(self.finish(token, packet_id, Some(reason_code)));
                }
            }
        }
    }

    /// Appends one PUBLISH, or says why this server does not get it.
    fn write(
        &mut self,
        token: PublishToken,
        packet_id: Option<PacketId>,
        dup: bool,
        granted: &Granted,
        output: &mut BytesMut,
    ) -> Result<(), ReasonCode> {
        let message = self.messages.get(&token).and_then(|pending| pending.message.as_ref());
        let message = message.ok_or(ReasonCode::UnspecifiedError)?;
        let packet_bytes = packet_bytes(self.version, message);
        if let Some(reason_code) = granted.refusal(message.qos, message.retain, packet_bytes) {
            return Err(reason_code);
        }
        let has_room = packet_bytes.saturating_add(ALIAS_BYTES_MAX) <= granted.packet_bytes_max;
        let alias = if has_room { self.aliases.assign(&message.topic_name) } else { None };
        let header = PublishHeader { dup, qos: message.qos, retain: message.retain, packet_id };
        let topic_name = match &alias {
            Some(alias) if !alias.send_topic => "",
            _ => message.topic_name.as_str(),
        };
        let properties = match &alias {
            Some(alias) => message.properties.with(Property::TopicAlias(alias.alias)),
            None => message.properties.clone(),
        };
        encode_parts(output, self.version, header, topic_name, properties.as_bytes(), &message.payload)
            .map_err(|_| ReasonCode::PacketTooLarge)
    }

    pub(super) fn puback(&mut self, packet: &Acknowledgement) -> Result<Option<Event>, Violation> {
        match self.flow.puback(packet.packet_id) {
            Ok(token) => Ok(self.finish(token, Some(packet.packet_id), Some(packet.reason_code))),
            Err(error) => unexpected(error, "PUBACK"),
        }
    }

    /// Answers with PUBREL unless the server refused the message.
    pub(super) fn pubrec(
        &mut self,
        packet: &Acknowledgement,
        output: &mut BytesMut,
    ) -> Result<Option<Event>, Violation> {
        let packet_id = packet.packet_id;
        match self.flow.pubrec(packet_id, packet.reason_code.is_error()) {
            Ok(PubRecOutcome::Release) => {
                let token = self.by_packet_id.get(&packet_id);
                if let Some(pending) = token.and_then(|token| self.messages.get_mut(token))
                    && pending.message.take().is_some()
                {
                    pending.reason_code = packet.reason_code;
                }
                encode_success(output, AcknowledgementKind::PubRel, packet_id);
                Ok(None)
            }
            Ok(PubRecOutcome::Refused(token)) => {
                Ok(self.finish(token, Some(packet_id), Some(packet.reason_code)))
            }
            Ok(PubRecOutcome::NotFound) => {
                super::incoming::answer(
                    AcknowledgementKind::PubRel,
                    packet_id,
                    ReasonCode::PacketIdentifierNotFound,
                    self.version,
                    output,
                );
                Ok(None)
            }
            Err(error) => unexpected(error, "PUBREC"),
        }
    }

    pub(super) fn pubcomp(&mut self, packet: &Acknowledgement) -> Result<Option<Event>, Violation> {
        match self.flow.pubcomp(packet.packet_id) {
            Ok(token) => Ok(self.finish(token, Some(packet.packet_id), None)),
            Err(error) => unexpected(error, "PUBCOMP"),
        }
    }

    /// Forgets a message, with the given Reason Code or the one of its PUBREC.
    fn finish(
        &mut self,
        token: PublishToken,
        packet_id: Option<PacketId>,
        reason_code: Option<ReasonCode>,
    ) -> Option<Event> {
        if let Some(packet_id) = packet_id {
            self.by_packet_id.remove(&packet_id);
        }
        let pending = self.messages.remove(&token)?;
        Some(Event::Published { token, reason_code: reason_code.unwrap_or(pending.reason_code) })
    }
}

/// The length of the PUBLISH of this message, without a Topic Alias.
pub(super) fn packet_bytes(version: ProtocolVersion, message: &Message) -> usize {
    let topic_len = message.topic_name.as_str().len();
    let properties_len = message.properties.as_bytes().len();
    encoded_len_parts(version, message.qos, topic_len, properties_len, message.payload.len())
}

/// What no server may be sent: Topic Alias and Subscription Identifier belong to a connection, not to a message.
pub(super) fn check_message(message: &Message) -> Result<(), ClientError> {
    let properties = &message.properties;
    if Properties::parse(properties.as_bytes().clone(), PropertyOwner::Publish).is_err() {
        return Err(EncodeError::Inconsistent("a property is not allowed in this packet").into());
    }
    if properties.topic_alias().is_some() || properties.subscription_identifiers().next().is_some() {
        return Err(EncodeError::Inconsistent("a topic alias or subscription identifier in a message").into());
    }
    if packet_bytes(ProtocolVersion::V5, message) > VARIABLE_BYTE_INTEGER_MAX {
        return Err(EncodeError::PacketTooLong.into());
    }
    Ok(())
}

/// A late or repeated acknowledgement is harmless, one of the wrong kind is not.
fn unexpected(error: UnexpectedAcknowledgement, packet: &str) -> Result<Option<Event>, Violation> {
    match error {
        UnexpectedAcknowledgement::NotFound => Ok(None),
        UnexpectedAcknowledgement::WrongPacket => {
            Err(Violation::protocol(format!("{packet} for a packet that does not wait for it")))
        }
    }
}
