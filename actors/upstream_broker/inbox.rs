//! From the wire of one upstream broker to the Router: what a bidirectional broker publishes.

use std::task::Context;

use bytes::BytesMut;
use mqtt::packet::Publish;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::session::{Arrival, Inflow};
use mqtt::{Message, PacketId, ProtocolVersion, QoS, TopicName};

use super::connect::{Cause, Failure};
use super::incoming::{Incoming, LeftOut};
use super::loop_watch::LoopWatch;
use super::outbox::Outbox;
use super::status::UpstreamStatus;
use crate::message_log::MessageLog;
use crate::messages::{ExactlyOnce, Route, Routed};
use crate::promise::{HeldAnswers, Promise};
use crate::store::{Change, SessionKey};
use crate::timestamp::unix_micros;
use crate::{BrokerId, Origin, limits};

/// What came in and is not acknowledged yet.
pub struct Inbox {
    inflow: Inflow,
    batch: Vec<Message>,
    /// Acknowledgements of the batch, in the order of the packets `[MQTT-4.6.0-2]`.
    due: Vec<Due>,
    /// Those that wait until what they say is true.
    held: HeldAnswers<(AcknowledgementKind, PacketId)>,
    /// What becomes of what comes in; `None` for a broker that is asked for nothing.
    incoming: Option<Incoming>,
    /// The key under which QoS 2 identifiers survive the process; `None` for a Session that ends with its connection.
    durable: Option<SessionKey>,
}

/// An acknowledgement that is due.
struct Due {
    kind: AcknowledgementKind,
    packet_id: PacketId,
    /// The message of the batch that it is for, if that goes to the Router.
    message: Option<usize>,
}

impl Inbox {
    /// Nothing came yet, and nothing is asked for.
    pub fn new(durable: Option<SessionKey>) -> Inbox {
        let (inflow, held) = (Inflow::new(u16::MAX), HeldAnswers::new(true));
        Inbox { inflow, batch: Vec::new(), due: Vec::new(), held, incoming: None, durable }
    }

    /// What came before a restart at QoS 2 and was not released.
    pub fn restore(&mut self, awaiting_release: Vec<PacketId>) {
        self.inflow.restore(awaiting_release);
    }

    /// Another rule for what comes next.
    pub fn set_rule(&mut self, incoming: Option<Incoming>) {
        self.incoming = incoming;
    }

    /// A new connection: QoS 2 messages wait for their PUBREL across connections, as long as the Session lasts.
    pub fn connected(&mut self, session_present: bool, version: ProtocolVersion) {
        // 3.1.1 knows no Receive Maximum: the broker cannot break what it was not told.
        let receive_maximum = if version.is_v5() { limits::UPSTREAM_RECEIVE_MAXIMUM } else { u16::MAX };
        match session_present {
            true => self.inflow.resume(receive_maximum),
            false => self.inflow = Inflow::new(receive_maximum),
        }
        self.batch.clear();
        // What the Router was not given comes again, and is new then.
        for due in self.due.drain(..).filter(|due| due.message.is_some()) {
            self.inflow.pubrel(due.packet_id);
        }
        self.held = HeldAnswers::new(true);
    }

    /// PUBLISH arrived. `wanted` says whether messages of this broker are taken at all; others are acknowledged
    /// and forgotten (a subscription of an earlier configuration may still be in its Session).
    ///
    /// # Errors
    /// Where the broker breaks the protocol.
    pub fn publish(
        &mut self,
        mut publish: Publish,
        wanted: bool,
        outbox: &mut Outbox,
        status: &UpstreamStatus,
    ) -> Result<(), Failure> {
        let fault = |text: &str| Failure::new(Cause::Protocol, text);
        let index = self.batch.len();
        let arrival = match publish.packet_id {
            None => Arrival::New,
            Some(packet_id) => {
                let arrival = self.inflow.publish(publish.qos, packet_id);
                let kind = match publish.qos {
                    QoS::ExactlyOnce => AcknowledgementKind::PubRec,
                    _ => AcknowledgementKind::PubAck,
                };
                self.due.push(Due { kind, packet_id, message: None });
                arrival.map_err(|_| fault("the broker exceeded our receive maximum"))?
            }
        };
        let topic_name =
            publish.topic_name.take().ok_or_else(|| fault("the broker sent a topic alias unasked"))?;
        // A repeat is no second echo, so only what is new is looked at.
        if arrival == Arrival::New
            && wanted
            && let Some(incoming) = &mut self.incoming
        {
            match admit(incoming, outbox.loops().as_mut(), topic_name, &publish) {
                Ok(topic_name) => {
                    if let Some(due) = self.due.last_mut().filter(|_| publish.packet_id.is_some()) {
                        due.message = Some(index);
                    }
                    self.batch.push(incoming.message(topic_name, publish));
                }
                Err(left_out) => status.count_left_out(left_out),
            }
        }
        Ok(())
    }

    /// PUBREL arrived: PUBCOMP goes out, also for an identifier that nobody knows `[MQTT-4.3.3-11]`.
    pub fn pubrel(&mut self, packet_id: PacketId, log: &MessageLog) {
        let mut promise = Promise::Nothing;
        if self.inflow.pubrel(packet_id)
            && let Some(session) = self.durable.filter(|_| log.is_durable())
        {
            let released = Change::Released { session, packet_ids: vec![packet_id] };
            promise = Promise::Stored(log.append_changes(&[released], unix_micros()));
        }
        self.held.push(promise, (AcknowledgementKind::PubComp, packet_id));
    }

    /// The messages for the Router, in order; `None` while there are none.
    pub fn take_route(&mut self, broker: BrokerId) -> Option<Route> {
        if self.batch.is_empty() {
            return None;
        }
        let exactly_once = self.durable.and_then(|session| {
            let qos_2 = self.due.iter().filter(|due| due.kind == AcknowledgementKind::PubRec);
            let packet_ids: Vec<_> =
                qos_2.filter_map(|due| due.message.map(|index| (index, due.packet_id))).collect();
            (!packet_ids.is_empty()).then_some(ExactlyOnce { session, packet_ids })
        });
        let batch = std::mem::take(&mut self.batch);
        // A refused message would be lost: the broker does not send it again.
        Some(Route { exactly_once, may_refuse: false, ..Route::new(Origin::Upstream(broker), batch) })
    }

    /// Puts back what there was no room for, and lets the rest be acknowledged when its promises are kept.
    /// `count` is how many messages the Router was given.
    pub fn routed(&mut self, mut routed: Routed, count: usize, log: &MessageLog) {
        let returned = std::mem::take(&mut routed.returned);
        let routed_count = count - returned.len();
        let behind = self.due.iter().position(|due| due.message.is_some_and(|index| index >= routed_count));
        let later = self.due.split_off(behind.unwrap_or(self.due.len()));
        for due in std::mem::replace(&mut self.due, later) {
            let promise = match due.message {
                // A repeat is acknowledged when what it repeats is safe.
                None => Promise::Stored(log.next_offset()),
                Some(index) => match routed.outcomes.get(index) {
                    None => routed.promise.clone(),
                    Some(outcome) => outcome.promise.clone(),
                },
            };
            self.held.push(promise, (due.kind, due.packet_id));
        }
        for due in &mut self.due {
            due.message = due.message.map(|index| index - routed_count);
        }
        self.batch = returned;
    }

    /// Encodes every acknowledgement whose promise is kept.
    pub fn acknowledge(&mut self, output: &mut BytesMut, log: &MessageLog, task: &mut Context<'_>) {
        if self.batch.is_empty() && !self.due.is_empty() {
            // What does not go to the Router waits for nobody there.
            self.routed(Routed::default(), 0, log);
        }
        while let Some((kind, packet_id)) = self.held.take_ready(log.watermarks(), task) {
            if kind == AcknowledgementKind::PubAck {
                self.inflow.puback_sent();
            }
            acknowledgement::encode_success(output, kind, packet_id);
        }
    }
}

/// The topic here of a new message with this topic there, or why it is not taken.
fn admit(
    incoming: &mut Incoming,
    mut loops: Option<&mut LoopWatch>,
    topic_there: TopicName,
    publish: &Publish,
) -> Result<TopicName, LeftOut> {
    let topic = topic_there.as_str().as_bytes();
    if loops.as_mut().is_some_and(|loops| loops.is_echo(topic, &publish.payload, &publish.properties)) {
        return Err(LeftOut::Echo);
    }
    let topic_here = incoming.admit(topic_there, publish.payload.len())?;
    let topic = topic_here.as_str().as_bytes();
    let came_round = |loops: &mut LoopWatch| loops.came_round(topic, &publish.payload, &publish.properties);
    match loops.is_some_and(came_round) {
        true => Err(LeftOut::Loop),
        false => Ok(topic_here),
    }
}
