//! How connections of a session come and go, and how the session ends.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::prelude::*;
use mqtt::packet::{Connect, Disconnect, Packet, Will};
use mqtt::session::{Inflow, KeepAlive, SessionEnd, SessionExpiry, WillMoment, will_moment};
use mqtt::topic::alias::InboundAliases;
use mqtt::{ClientId, ProtocolVersion, ReasonCode};

use super::ending::close;
use super::inbound::Pending;
use super::journal::will_message;
use super::outbound::{ClientLimits, Outbound};
use super::quotas::MessageRate;
use super::reauthentication::Authentication;
use super::share::GaugeShare;
use super::welcome::{Welcome, effective_keep_alive, packet_bytes_max};
use super::{Attachment, DeviceSession, Ending, Presence, SessionContext};
use crate::Origin;
use crate::acknowledgement::OnDeadline;
use crate::bridge::Neighbour;
use crate::message_log::Registration;
use crate::messages::{Attach, Route, SessionEnded, SessionId, Unsubscribe};
use crate::promise::HeldAnswers;
use crate::quota::Reported;
use crate::timestamp::unix_micros;

impl DeviceSession {
    /// A session without connection.
    pub fn new(
        id: SessionId,
        client_id: ClientId,
        shared: Arc<SessionContext>,
        ended: Recipient<SessionEnded>,
    ) -> DeviceSession {
        let withhold = shared.acknowledgements.on_deadline == OnDeadline::Withhold;
        let outbound = Outbound::new(shared.limits.queue);
        let waiting = GaugeShare::new(shared.metrics.session_messages.clone());
        DeviceSession {
            id,
            client_id,
            shared,
            ended,
            held: HeldAnswers::new(withhold),
            durable: None,
            superseded: false,
            output_gate: 0,
            gate_registration: Registration::default(),
            reported: Reported::default(),
            to_subscribe: Vec::new(),
            neighbour: None,
            attachment: None,
            is_connected: Arc::default(),
            outbound,
            waiting,
            inflow: Inflow::new(u16::MAX),
            subscriptions: HashSet::default(),
            will: None,
            is_stored: false,
            has_stored_will: false,
            may_return: false,
            expiry: SessionExpiry::from_connect(None, 0),
            will_at: None,
            ends_at: None,
            timer: None,
            is_over: false,
        }
    }

    /// Whether the session has a connection, for as long as it lives.
    pub fn is_connected(&self) -> Arc<AtomicBool> {
        self.is_connected.clone()
    }

    /// The new session with its first connection; `assigned` where the Client Identifier is ours.
    pub fn with_connection(mut self, attach: Attach, assigned: bool) -> Self {
        self.attach(attach, false, assigned);
        self
    }

    /// Takes a connection and answers its CONNECT.
    pub(super) fn attach(&mut self, attach: Attach, session_present: bool, assigned: bool) {
        let Attach { connect, connection, authenticated } = attach;
        // The one of an earlier connection is forgotten first.
        self.neighbour = None;
        let neighbour = Neighbour::of(&connect, self.id, &self.shared.bridge);
        let welcome = Welcome {
            connect: &connect,
            authenticated: authenticated.as_ref(),
            client_id: &self.client_id,
            assigned,
            limits: &self.shared.limits,
            server: &self.shared.server,
            announcement: neighbour.as_ref().and_then(Neighbour::greeting),
        };
        let connack = welcome.connack(session_present);
        let (version, limits) = (connect.protocol_version, self.shared.limits);
        let now = Instant::now();
        self.expiry = match version {
            ProtocolVersion::V5 => SessionExpiry::from_connect(
                connect.properties.session_expiry_interval(),
                limits.session_expiry_secs_max,
            ),
            ProtocolVersion::V311 => {
                SessionExpiry::from_clean_session(connect.clean_start, limits.session_expiry_secs_max)
            }
        };
        self.neighbour = neighbour;
        self.will = connect.will.clone().map(Box::new);
        self.may_return = false;
        self.record_connected(session_present);
        // Answers of an earlier connection are of no use on this one.
        self.held = HeldAnswers::new(self.shared.acknowledgements.on_deadline == OnDeadline::Withhold);
        self.inflow.resume(told_receive_maximum(connack.as_ref()));
        self.reported = Reported::default();
        let client = client_limits(&connect, limits.in_flight_max);
        self.outbound.connected(&client);
        let keep_alive_secs = effective_keep_alive(&connect, limits.keep_alive_secs_max);
        let keep_alive = KeepAlive::new(keep_alive_secs, now);
        let timer = keep_alive.expires_at().map(|at| Box::pin(tokio::time::sleep_until(at.into())));
        log::info!(
            "client {}: connected from {}, MQTT {version}{}{}{}",
            self.client_id,
            connection.peer(),
            if connection.security().is_some() { ", " } else { "" },
            connection.security().unwrap_or_default(),
            if session_present { ", session resumed" } else { "" }
        );
        let presence = Presence::new(self.shared.clone(), self.is_connected.clone());
        self.attachment = Some(Box::new(Attachment {
            connection,
            _presence: presence,
            client,
            keep_alive,
            unfinished_bytes: 0,
            keep_alive_timer: timer,
            aliases: InboundAliases::new(limits.topic_alias_maximum),
            pending: Pending::default(),
            rate: MessageRate::new(limits.messages_per_second_max, now),
            message_bytes: 0,
            reading_paused: false,
            routing_paused: false,
            problem_information: connect.properties.request_problem_information() != Some(false),
            authentication: authenticated.map(|authenticated| Authentication::by(authenticated.method)),
        }));
        (self.ends_at, self.timer) = (None, None);
        // The registry has seen to it that there is one.
        if let Some(connack) = connack {
            self.queue(&connack);
        }
        // What the client sent behind its CONNECT without waiting for the answer.
        if let Some(attachment) = &mut self.attachment {
            attachment.connection.take_received(attachment.pending.refill());
        }
    }

    /// DISCONNECT: the connection ends as the client wants it.
    pub(super) fn disconnect(&mut self, packet: &Disconnect) -> Ending {
        if let Some(interval_secs) = packet.properties.session_expiry_interval() {
            let interval_secs_max = self.shared.limits.session_expiry_secs_max;
            if self.expiry.change_at_disconnect(interval_secs, interval_secs_max).is_err() {
                return Ending::protocol_error("DISCONNECT raises a session expiry interval of 0");
            }
        }
        match packet.reason_code {
            ReasonCode::Success => Ending::by_client(SessionEnd::Normal),
            _ => Ending::by_client(SessionEnd::Abnormal),
        }
    }

    /// The connection ends; the session goes on without, or ends too.
    pub(super) fn detach(&mut self, ending: Ending) {
        let now = Instant::now();
        self.close_connection(&ending);
        let will_delay_secs =
            self.will.as_ref().and_then(|will| will.properties.will_delay_interval()).unwrap_or(0);
        match will_moment(ending.end, will_delay_secs, self.expiry, now) {
            WillMoment::Never => self.drop_will(),
            WillMoment::Now => self.publish_will(),
            WillMoment::At(at) => self.will_at = self.will.is_some().then_some(at),
        }
        if self.expiry.ends_with_connection() {
            self.end();
        } else {
            self.hand_over_to_connected();
            self.record_disconnected();
            self.ends_at = self.expiry.ends_at(now);
        }
    }

    /// The connection ends because another one takes the session over: a Will that has no delay is published
    /// `[MQTT-3.1.4-3]`.
    pub(super) fn detach_for_takeover(&mut self, ending: &Ending) {
        self.close_connection(ending);
        let will_delay_secs =
            self.will.as_ref().and_then(|will| will.properties.will_delay_interval()).unwrap_or(0);
        match will_moment(ending.end, will_delay_secs, self.expiry, Instant::now()) {
            WillMoment::Now => self.publish_will(),
            WillMoment::Never | WillMoment::At(_) => self.drop_will(),
        }
    }

    /// Another session takes the Client Identifier: this one ends.
    pub(super) fn retire(&mut self, reason_code: ReasonCode) {
        if self.attachment.is_some() {
            self.close_connection(&Ending::by_server(reason_code, reason_code.text()));
        }
        if self.may_return {
            // It came back in time, if for another session.
            self.will = None;
        }
        self.publish_will();
        self.end();
    }

    /// The proxy stops: says so to the client. Done when the client has it.
    pub(super) fn drain(&mut self) -> impl Future<Output = ()> + use<> {
        self.record_moves();
        let goodbye = self
            .attachment
            .take()
            .map(|attachment| close(attachment, &Ending::shutdown(&self.shared.server)));
        let will = self.send_will();
        if goodbye.is_some() {
            self.outbound.disconnected();
            if self.expiry.ends_with_connection() {
                self.hand_over_everything();
            }
            self.record_disconnected();
        }
        self.is_over = true;
        async move {
            if let Some(will) = will {
                will.await;
            }
            if let Some(goodbye) = goodbye {
                goodbye.await;
            }
        }
    }

    /// Without a connection, only time can bring something: the moment of the Will, or the session's end.
    pub(super) fn drive_detached(&mut self, task: &mut Task<'_>) -> Poll<()> {
        let Some(next) = [self.will_at, self.ends_at].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next.into())));
        if timer.as_mut().poll(task).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        let now = Instant::now();
        if self.will_at.is_some_and(|at| now >= at) {
            self.publish_will();
        }
        if self.ends_at.is_some_and(|at| now >= at) {
            log::info!("client {}: session expired", self.client_id);
            self.shared.metrics.sessions_expired.inc();
            self.publish_will();
            self.end();
        }
        Poll::Ready(())
    }

    fn close_connection(&mut self, ending: &Ending) {
        // What is encoded and not sent goes out while the connection is being closed.
        self.record_moves();
        let Some(attachment) = self.attachment.take() else { return };
        self.outbound.disconnected();
        match ending.reason_code {
            Some(reason_code) => {
                log::info!("client {}: disconnected by us: {} ({reason_code})", self.client_id, ending.text);
            }
            None => log::info!("client {}: {}", self.client_id, ending.text),
        }
        actix::spawn(close(attachment, ending));
    }

    fn will_route(&self, will: Will) -> Route {
        Route { publisher: Some(self.id), ..Route::new(Origin::Will, vec![will_message(will)]) }
    }

    fn publish_will(&mut self) {
        if let Some(sent) = self.send_will() {
            actix::spawn(sent);
        }
    }

    /// Gives the Will to the Router; a restart publishes it again unless the Router had it.
    fn send_will(&mut self) -> Option<impl Future<Output = ()> + use<>> {
        self.will_at = None;
        let will = self.will.take()?;
        let routed = self.shared.router.send(self.will_route(*will));
        let (done, log) = (self.will_done(), self.shared.log.clone());
        Some(async move {
            // A Router that is gone takes no Will.
            if routed.await.is_ok()
                && let Some(done) = done
            {
                log.append_changes(&[done], unix_micros());
            }
        })
    }

    /// The session is over: its subscriptions end, and the registry forgets it.
    fn end(&mut self) {
        self.is_over = true;
        self.hand_over_everything();
        self.record_ended();
        let topic_filters: Vec<_> = std::mem::take(&mut self.subscriptions).into_iter().collect();
        self.shared.metrics.subscriptions.sub(topic_filters.len() as i64);
        let ended = self.ended.send(SessionEnded { client_id: self.client_id.clone(), session_id: self.id });
        let unsubscribed = (!topic_filters.is_empty())
            .then(|| self.shared.unsubscribe.send(Unsubscribe { session_id: self.id, topic_filters }));
        actix::spawn(async move {
            // Who is gone needs no telling.
            if let Some(unsubscribed) = unsubscribed {
                let _ = unsubscribed.await;
            }
            let _ = ended.await;
        });
    }
}

/// How many messages the client may have unacknowledged, for all that it knows.
fn told_receive_maximum(connack: Option<&Packet>) -> u16 {
    match connack {
        Some(Packet::ConnAck(connack)) => connack.properties.receive_maximum().unwrap_or(u16::MAX),
        _ => u16::MAX,
    }
}

/// What the client accepts, as its CONNECT says.
fn client_limits(connect: &Connect, in_flight_max: u16) -> ClientLimits {
    let receive_maximum = connect.properties.receive_maximum().unwrap_or(u16::MAX);
    ClientLimits {
        version: connect.protocol_version,
        receive_maximum: receive_maximum.min(in_flight_max),
        packet_bytes_max: packet_bytes_max(connect),
        topic_alias_maximum: connect.properties.topic_alias_maximum().unwrap_or(0),
    }
}
