//! The actor of one MQTT Session, with or without a Network Connection. It owns the Session State; what comes
//! in is handled in `inbound`, what goes out in `outbound`, and how connections come and go in `lifecycle`.

mod answers;
mod context;
mod encoding;
mod ending;
mod inbound;
mod journal;
mod lifecycle;
mod outbound;
mod presence;
mod quotas;
mod reauthentication;
mod retained;
mod share;
mod shares;
mod welcome;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::packet::{Packet, SubscriptionOptions, Will};
use mqtt::session::{Inflow, KeepAlive, SessionExpiry};
use mqtt::topic::alias::InboundAliases;
use mqtt::{ClientId, ReasonCode, TopicFilter};
use tokio::time::Sleep;

use crate::bridge::Neighbour;
use crate::connection::{Connection, ConnectionError};
use crate::message_log::Registration;
use crate::messages::{Drain, Resume, Retire, SessionEnded, SessionId};
use crate::promise::HeldAnswers;
use crate::quota::Reported;
use crate::store::SessionKey;
use crate::{Quota, limits};
use answers::Answer;
pub use context::{OnMessageRate, SessionContext, SessionLimits};
use ending::Ending;
use inbound::{Pending, Progress};
use outbound::{ClientLimits, Outbound};
use presence::Presence;
use quotas::MessageRate;
use reauthentication::Authentication;
use share::GaugeShare;
pub use welcome::{CLIENT_ID, ServerOptions, Welcome, packet_bytes_max};

/// The actor.
pub struct DeviceSession {
    id: SessionId,
    client_id: ClientId,
    shared: Arc<SessionContext>,
    ended: Recipient<SessionEnded>,
    attachment: Option<Box<Attachment>>,
    /// Whether there is an attachment, for the registry to see.
    is_connected: Arc<AtomicBool>,
    outbound: Outbound,
    /// The session's part of the gauge of waiting messages.
    waiting: GaugeShare,
    inflow: Inflow,
    subscriptions: HashSet<TopicFilter, RandomState>,
    will: Option<Box<Will>>,
    /// Whether a restart would find anything of the session.
    is_stored: bool,
    /// Whether a restart would find the Will.
    has_stored_will: bool,
    /// The client lost its connection with the process that died, so its Will waits whether it comes back.
    may_return: bool,
    expiry: SessionExpiry,
    /// While there is no connection: when to publish the Will, and when to end.
    will_at: Option<Instant>,
    ends_at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    is_over: bool,
    /// Answers that wait until what they promise is true.
    held: HeldAnswers<Answer>,
    /// The key of a session that survives the process.
    durable: Option<SessionKey>,
    /// Another session has this Client Identifier now, so this one's end is none of the store's business.
    superseded: bool,
    /// What is encoded goes out once everything below this offset is stored.
    output_gate: u64,
    gate_registration: Registration,
    /// Which quotas the log heard of already.
    reported: Reported,
    /// Subscriptions of before a restart that the Router does not know yet.
    to_subscribe: Vec<(TopicFilter, SubscriptionOptions, Option<u32>)>,
    /// Set where the client is another proxy, or a bridge.
    neighbour: Option<Neighbour>,
}

/// The Network Connection with all that belongs to it alone.
struct Attachment {
    connection: Connection,
    _presence: Presence,
    client: ClientLimits,
    keep_alive: KeepAlive,
    /// How much of an unfinished packet has counted for Keep Alive.
    unfinished_bytes: usize,
    keep_alive_timer: Option<Pin<Box<Sleep>>>,
    aliases: InboundAliases,
    pending: Pending,
    rate: MessageRate,
    /// How much of what waits to be written is messages at most; the rest are answers.
    message_bytes: usize,
    /// Publishers wait for the log's room: nothing is read.
    reading_paused: bool,
    /// An upstream broker may not fall behind further: nothing is routed.
    routing_paused: bool,
    /// Whether Reason Strings may be sent (Request Problem Information).
    problem_information: bool,
    /// The method by which the client authenticated, if it did by one.
    authentication: Option<Box<Authentication>>,
}

impl Attachment {
    /// Something was read. What counts for Keep Alive is a packet `[MQTT-3.1.2-22]`; of one that takes long to arrive, as
    /// much as a client that is alive sends.
    fn note_received(&mut self, now: Instant) {
        let unfinished = self.connection.received().len();
        if self.pending.has_packets() || unfinished >= self.unfinished_bytes + limits::KEEP_ALIVE_BYTES {
            self.unfinished_bytes = unfinished;
            self.keep_alive.received(now);
        }
    }
}

impl DeviceSession {
    /// One turn of everything.
    fn drive(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) -> Poll<()> {
        loop {
            if self.is_over {
                context.stop();
                return Poll::Ready(());
            }
            self.look_at_queue(task);
            if self.attachment.is_none() {
                match self.drive_detached(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => continue,
                }
            }
            match self.drive_attached(context, task) {
                Poll::Pending => {
                    self.collect_retained(context);
                    return Poll::Pending;
                }
                Poll::Ready(ending) => self.detach(ending),
            }
        }
    }

    /// Accounts for what the queue had no room for, and asks to be woken when there is more in it.
    fn look_at_queue(&mut self, task: &mut Task<'_>) {
        let dropped = self.outbound.look(task.waker());
        for (quota, reason, count) in [
            (Quota::SlowSubscriber, "slow_client", dropped.slow),
            (Quota::AbsentSubscriber, "absent_client", dropped.absent),
        ] {
            if count > 0 {
                self.shared.metrics.deliveries_dropped.with_label_values(&[reason]).inc_by(count);
                self.shared.metrics.exceeded_by(quota, count);
                self.report(quota, "messages for it are dropped");
            }
        }
        if self.attachment.is_none() {
            self.record_moves();
        }
    }

    /// Reads, handles, encodes and writes what is ready; `Ready` with the way in which the connection ends.
    fn drive_attached(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) -> Poll<Ending> {
        if self.keep_alive_expired(task) {
            return Poll::Ready(Ending::by_server(ReasonCode::KeepAliveTimeout, "keep alive timeout"));
        }
        if self.outbound.is_hopeless() {
            return Poll::Ready(Ending::by_server(ReasonCode::QuotaExceeded, "took no messages"));
        }
        let was_held_up = self.is_held_up() || self.is_choked();
        if !self.rate_allows(task) {
            return self.send(task);
        }
        for _ in 0..limits::TURN_READS {
            match self.handle_pending(context) {
                // What is ready goes out meanwhile: a client that never pauses still gets its answers.
                Ok(Progress::Asked) => {
                    let sent = self.send(task);
                    return self.end_behind_answer(sent);
                }
                Ok(Progress::Waiting) => {
                    if self.is_slowed_down() && self.rate_allows(task) {
                        task.waker().wake_by_ref();
                    }
                    return self.send(task);
                }
                Ok(Progress::Done) => {}
                Err(ending) => return Poll::Ready(ending),
            }
            match self.receive(task) {
                Ok(true) => {}
                Ok(false) => {
                    let sent = self.send(task);
                    if was_held_up && sent.is_pending() && !(self.is_held_up() || self.is_choked()) {
                        // Nobody asked the socket to wake us while it was not read.
                        task.waker().wake_by_ref();
                    }
                    return sent;
                }
                Err(ending) => return Poll::Ready(ending),
            }
        }
        // There may be more to read: the others have their turn first.
        task.waker().wake_by_ref();
        self.send(task)
    }

    /// Reads once; `false` where there is nothing to read now.
    fn receive(&mut self, task: &mut Task<'_>) -> Result<bool, Ending> {
        let is_held_up = self.is_held_up() || self.is_choked();
        let Some(attachment) = &mut self.attachment else { return Ok(false) };
        if is_held_up {
            return Ok(false);
        }
        let received = attachment.connection.poll_receive(task, attachment.pending.refill());
        match received {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => {
                attachment.note_received(Instant::now());
                Ok(true)
            }
            Poll::Ready(Err(ConnectionError::Decode(error))) => Err(self.undecodable(&error)),
            Poll::Ready(Err(ConnectionError::TooMuchUnfinished)) => {
                self.exceeded(Quota::ReceivingBytes, "too much has arrived in part only");
                Err(Ending::by_server(ReasonCode::QuotaExceeded, "an unfinished packet"))
            }
            Poll::Ready(Err(error)) => Err(Ending::lost(&error.to_string())),
        }
    }

    /// Whether nothing is read from the client because of others: the log, the disk or the upstream brokers.
    fn is_held_up(&self) -> bool {
        let paused = |attachment: &Attachment| {
            attachment.reading_paused || attachment.routing_paused || attachment.rate.is_waiting()
        };
        self.held.len() >= limits::HELD_ANSWERS_MAX
            || self.outbound.retained.held_answers() >= limits::HELD_SUBACKS_MAX
            || self.attachment.as_deref().is_some_and(paused)
    }

    /// Encodes and writes until nothing is left or the socket takes no more.
    fn send(&mut self, task: &mut Task<'_>) -> Poll<Ending> {
        self.release_answers(task);
        loop {
            if !self.may_send(task) {
                return Poll::Pending;
            }
            let Some(attachment) = &mut self.attachment else { return Poll::Pending };
            self.outbound.retained.set_stuck(self.shared.log.watermarks().is_failing());
            let answered_bytes = attachment.connection.unsent_bytes();
            let output = attachment.connection.output();
            let filled = self.outbound.fill(output, &attachment.client, Instant::now());
            attachment.message_bytes += attachment.connection.unsent_bytes() - answered_bytes;
            let metrics = &self.shared.metrics;
            if filled.packets > 0 {
                attachment.connection.encoded(filled.packets);
                metrics.messages_delivered.inc_by(filled.delivered);
                metrics.payload_bytes_sent.inc_by(filled.payload_bytes);
            }
            for (reason, count) in [("expired", filled.expired), ("too_large", filled.too_large)] {
                if count > 0 {
                    metrics.deliveries_dropped.with_label_values(&[reason]).inc_by(count);
                }
            }
            self.record_moves();
            let may_send = self.may_send(task);
            let Some(attachment) = &mut self.attachment else { return Poll::Pending };
            let unsent_bytes = attachment.connection.unsent_bytes();
            if !may_send || unsent_bytes == 0 {
                return Poll::Pending;
            }
            let flushed = attachment.connection.poll_flush(task);
            let left_bytes = attachment.connection.unsent_bytes();
            attachment.message_bytes = attachment.message_bytes.min(left_bytes);
            if left_bytes < unsent_bytes && left_bytes >= limits::UNSENT_ANSWERS_BYTES {
                // Nothing may be read from it meanwhile, but it is there.
                attachment.keep_alive.received(Instant::now());
            }
            match flushed {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Ending::lost(&error.to_string())),
            }
        }
    }

    /// Looks at the clock when the timer of Keep Alive runs out, and sets it again.
    fn keep_alive_expired(&mut self, task: &mut Task<'_>) -> bool {
        let is_held_up = self.is_held_up();
        let Some(attachment) = &mut self.attachment else { return false };
        let Some(timer) = &mut attachment.keep_alive_timer else { return false };
        while timer.as_mut().poll(task).is_ready() {
            if is_held_up {
                // What the client says meanwhile is not read.
                attachment.keep_alive.received(Instant::now());
            }
            if attachment.keep_alive.is_expired(Instant::now()) {
                return true;
            }
            let Some(expires_at) = attachment.keep_alive.expires_at() else { return false };
            timer.as_mut().reset(expires_at.into());
        }
        false
    }

    /// Queues a packet of ours for the client. It can always be encoded: its fields were checked.
    fn queue(&mut self, packet: &Packet) {
        if let Some(attachment) = &mut self.attachment
            && let Err(error) = attachment.connection.queue(packet)
        {
            log::error!("client {}: {error}", self.client_id);
        }
    }
}

impl Actor for DeviceSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        self.subscribe_again(context);
        context.spawn(Driver);
    }
}

/// Polls the session whenever it has something to do.
struct Driver;

impl ActorFuture<DeviceSession> for Driver {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut DeviceSession,
        context: &mut Context<DeviceSession>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        session.drive(context, task)
    }
}

impl Handler<Resume> for DeviceSession {
    type Result = ();

    fn handle(&mut self, Resume(offer): Resume, _: &mut Context<Self>) {
        if self.expiry.ends_with_connection() {
            // This Session ends with its connection, taken over or lost with the process that died, so it cannot be
            // resumed `[MQTT-3.1.2-6]`.
            self.retire(ReasonCode::SessionTakenOver);
        }
        if self.is_over {
            return;
        }
        let Some(attach) = offer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if self.attachment.is_some() {
            let reason_code = ReasonCode::SessionTakenOver;
            self.detach_for_takeover(&Ending::by_server(reason_code, reason_code.text()));
        }
        self.drop_will();
        self.attach(attach, true, false);
    }
}

impl Handler<Retire> for DeviceSession {
    type Result = ();

    fn handle(&mut self, Retire(reason_code): Retire, _: &mut Context<Self>) {
        self.superseded = true;
        self.retire(reason_code);
    }
}

impl Handler<Drain> for DeviceSession {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.drain())
    }
}
