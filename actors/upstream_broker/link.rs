//! One connection to an upstream broker while it is up: one turn reads, encodes and writes what is ready.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mqtt::packet::{
    Disconnect, Packet, RetainHandling, SubAck, Subscribe, SubscriptionOptions, Unsubscribe, ping,
};
use mqtt::session::KeepAlive;
use mqtt::{Properties, TopicFilter};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use super::connect::{Capabilities, Cause, Failure};
use super::encoding::Wire;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::status::UpstreamStatus;
use crate::connection::{Connection, ConnectionError};
use crate::timestamp::unix_micros;
use crate::{Broker, Metrics, limits};

/// A connection that CONNACK opened.
pub struct Link {
    connection: Connection,
    wire: Wire,
    keep_alive: KeepAlive,
    keep_alive_secs: u16,
    ticks: Pin<Box<Interval>>,
    since: Instant,
    last_received: Instant,
    ping_sent: Option<Instant>,
    packets: Vec<Packet>,
    reading_paused: bool,
    /// Whether the broker has acknowledged a message.
    made_progress: bool,
    pace_timer: Option<Pin<Box<Sleep>>>,
    /// When a message that went out in this turn had come in, in microseconds since the Unix epoch.
    sample: Option<u64>,
}

impl Link {
    /// The link begins at `now`.
    pub fn new(connection: Connection, capabilities: Capabilities, now: Instant) -> Link {
        let mut ticks = tokio::time::interval(limits::UPSTREAM_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Link {
            wire: Wire { version: connection.version(), capabilities },
            connection,
            keep_alive: KeepAlive::new(capabilities.keep_alive_secs, now),
            keep_alive_secs: capabilities.keep_alive_secs,
            ticks: Box::pin(ticks),
            since: now,
            last_received: now,
            ping_sent: None,
            packets: Vec::new(),
            reading_paused: false,
            made_progress: false,
            pace_timer: None,
            sample: None,
        }
    }

    /// Whether the link was worth its while: then the next attempt need not wait longer than the first one.
    pub fn was_a_success(&self) -> bool {
        self.made_progress || self.since.elapsed() >= limits::UPSTREAM_STABLE
    }

    /// Where packets go that are written with the next flush.
    pub fn output(&mut self) -> &mut BytesMut {
        self.connection.output()
    }

    /// Whether all that was encoded is written.
    pub fn is_flushed(&self) -> bool {
        self.connection.unsent_bytes() == 0
    }

    /// Reads nothing more until [`Link::resume_reading`]: publishers wait for the log's room.
    pub fn pause_reading(&mut self) {
        self.reading_paused = true;
    }

    /// Whether [`Link::pause_reading`] is in force.
    pub fn is_reading_paused(&self) -> bool {
        self.reading_paused
    }

    /// See [`Link::pause_reading`].
    pub fn resume_reading(&mut self) {
        self.reading_paused = false;
    }

    /// Asks a bidirectional broker for its messages, and takes back what an earlier definition asked for.
    pub fn subscribe(&mut self, broker: &Broker, outbox: &mut Outbox, unsubscribe: Vec<TopicFilter>) {
        if !unsubscribe.is_empty()
            && let Some(packet_id) = outbox.reserve()
        {
            let properties = Properties::default();
            self.queue(Packet::Unsubscribe(Unsubscribe {
                packet_id,
                properties,
                topic_filters: unsubscribe,
            }));
        }
        let Some(subscription) = &broker.subscription else { return };
        // No Local spares us our own messages; RETAIN stays as the publisher set it.
        let v5 = self.wire.version.is_v5();
        let options = SubscriptionOptions {
            qos: subscription.qos,
            no_local: v5,
            retain_as_published: v5,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        for filters in subscription.topics.chunks(limits::SUBSCRIBE_FILTERS_MAX) {
            let Some(packet_id) = outbox.reserve() else { return };
            let subscriptions = filters.iter().map(|filter| (filter.clone(), options)).collect();
            self.queue(Packet::Subscribe(Subscribe {
                packet_id,
                properties: Properties::default(),
                subscriptions,
            }));
        }
    }

    /// Queues a packet of ours, which can always be encoded.
    fn queue(&mut self, packet: Packet) {
        if let Err(error) = self.connection.queue(&packet) {
            log::error!("{}: {error}", self.connection.peer());
        }
    }

    /// Reads, handles, encodes and writes what is ready; `Ready` with the failure that ended the link.
    pub fn turn(
        &mut self,
        task: &mut Context<'_>,
        broker: &Broker,
        outbox: &mut Outbox,
        inbox: &mut Inbox,
        status: &UpstreamStatus,
    ) -> Poll<Failure> {
        if let Err(failure) = self.tick(task, outbox, status) {
            return Poll::Ready(failure);
        }
        if let Err(failure) = self.read(task, broker, outbox, inbox, status) {
            return Poll::Ready(failure);
        }
        if let Err(failure) = self.write(task, outbox, status) {
            return Poll::Ready(failure);
        }
        Poll::Pending
    }

    /// Reads until nothing is there, a few times at most.
    fn read(
        &mut self,
        task: &mut Context<'_>,
        broker: &Broker,
        outbox: &mut Outbox,
        inbox: &mut Inbox,
        status: &UpstreamStatus,
    ) -> Result<(), Failure> {
        for _ in 0..limits::TURN_READS {
            if self.reading_paused {
                return Ok(());
            }
            let mut packets = std::mem::take(&mut self.packets);
            let received = self.connection.poll_receive(task, &mut packets);
            if !packets.is_empty() {
                self.last_received = Instant::now();
                self.keep_alive.received(self.last_received);
                self.ping_sent = None;
            }
            let handled = self.handle(&mut packets, broker, outbox, inbox, status);
            packets.clear();
            self.packets = packets;
            handled?;
            match received {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(ConnectionError::Decode(error))) => {
                    return Err(Failure::new(
                        Cause::Protocol,
                        format!("the broker sent a bad packet: {error}"),
                    ));
                }
                Poll::Ready(Err(error)) => return Err(Failure::new(Cause::Lost, error.to_string())),
            }
        }
        task.waker().wake_by_ref();
        Ok(())
    }

    fn handle(
        &mut self,
        packets: &mut Vec<Packet>,
        broker: &Broker,
        outbox: &mut Outbox,
        inbox: &mut Inbox,
        status: &UpstreamStatus,
    ) -> Result<(), Failure> {
        let unexpected = |_| Failure::new(Cause::Protocol, "the broker acknowledged what was not sent so");
        let mut acknowledged = 0;
        for packet in packets.drain(..) {
            match packet {
                Packet::PubAck(packet) => {
                    acknowledged += outbox.puback(&packet, status).map_err(unexpected)?
                }
                Packet::PubRec(packet) => {
                    outbox.pubrec(&packet, self.connection.output(), status).map_err(unexpected)?;
                }
                Packet::PubComp(packet) => acknowledged += outbox.pubcomp(&packet).map_err(unexpected)?,
                Packet::Publish(publish) => {
                    inbox.publish(publish, broker.subscription.is_some(), outbox)?;
                }
                Packet::PubRel(packet) => inbox.pubrel(packet.packet_id, outbox.log()),
                Packet::SubAck(suback) => self.subscribed(&suback, outbox, status),
                Packet::UnsubAck(unsuback) => {
                    outbox.release(unsuback.packet_id);
                }
                Packet::PingResp => {}
                Packet::Disconnect(disconnect) => {
                    let reason = disconnect.properties.reason_string();
                    let reason = reason.map(|text| format!(": {text}")).unwrap_or_default();
                    let text = format!("the broker disconnected: {}{reason}", disconnect.reason_code);
                    return Err(Failure::new(Cause::Lost, text));
                }
                other => {
                    let text = format!("the broker sent {:?}, which only a client may", other.packet_type());
                    return Err(Failure::new(Cause::Protocol, text));
                }
            }
        }
        if acknowledged > 0 {
            self.made_progress = true;
            status.count_forwarded(acknowledged);
            status.set_acknowledged(unix_micros());
        }
        Ok(())
    }

    fn subscribed(&mut self, suback: &SubAck, outbox: &mut Outbox, status: &UpstreamStatus) {
        outbox.release(suback.packet_id);
        let refused = suback.reason_codes.iter().filter(|code| code.is_error()).count();
        if refused > 0 {
            let text = format!("the broker refused {refused} of {} subscriptions", suback.reason_codes.len());
            log::warn!("{}: {text}", self.connection.peer());
            status.set_error(text);
        }
    }

    /// Encodes and writes until the log or the socket has no more.
    fn write(
        &mut self,
        task: &mut Context<'_>,
        outbox: &mut Outbox,
        status: &UpstreamStatus,
    ) -> Result<(), Failure> {
        let now_micros = unix_micros();
        let mut written = 0;
        outbox.record_moves();
        while outbox.may_send(task) {
            let sample = outbox.fill(self.connection.output(), &self.wire, status, now_micros);
            self.sample = sample.or(self.sample);
            outbox.record_moves();
            let pending = self.connection.unsent_bytes();
            if pending == 0 {
                if outbox.poll_backlog(task).is_ready()
                    || self.poll_pace(task, outbox.paced_until()).is_ready()
                {
                    continue;
                }
                break;
            }
            if !outbox.may_send(task) {
                break;
            }
            let flushed = self.flush(task)?;
            written += pending;
            if !flushed {
                break;
            }
            if written >= limits::TURN_BYTES {
                task.waker().wake_by_ref();
                break;
            }
        }
        outbox.publish_progress(status);
        Ok(())
    }

    /// Ready when the pace of a backlog allows the next message.
    fn poll_pace(&mut self, task: &mut Context<'_>, paced_until: Option<Instant>) -> Poll<()> {
        let Some(at) = paced_until else { return Poll::Pending };
        let timer = self.pace_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        if timer.deadline() != at.into() {
            timer.as_mut().reset(at.into());
        }
        timer.as_mut().poll(task)
    }

    /// Writes what is encoded; `false` where the socket takes no more now.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub fn flush(&mut self, task: &mut Context<'_>) -> Result<bool, Failure> {
        if self.connection.unsent_bytes() == 0 {
            return Ok(true);
        }
        match self.connection.poll_flush(task) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => {
                self.keep_alive.sent(Instant::now());
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(Failure::new(Cause::Lost, error.to_string())),
        }
    }

    /// Twice a second: is a PINGREQ due, is the broker still there?
    fn tick(
        &mut self,
        task: &mut Context<'_>,
        outbox: &mut Outbox,
        status: &UpstreamStatus,
    ) -> Result<(), Failure> {
        while self.ticks.as_mut().poll_tick(task).is_ready() {
            let now = Instant::now();
            outbox.publish_progress(status);
            if self.keep_alive_secs == 0 {
                continue;
            }
            let interval = Duration::from_secs(self.keep_alive_secs.into());
            // A broker that takes our messages but says nothing may hang: asking is cheap.
            let silent_for = now.duration_since(self.last_received);
            let due = self.keep_alive.ping_due_at().is_some_and(|at| now >= at) || silent_for >= interval;
            match self.ping_sent {
                Some(sent) if now.duration_since(sent) >= interval => {
                    let text = format!("no answer to PINGREQ within {} s", interval.as_secs());
                    return Err(Failure::new(Cause::Timeout, text));
                }
                None if due => {
                    ping::encode_request(self.connection.output());
                    self.keep_alive.sent(now);
                    self.ping_sent = Some(now);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the sample of this turn into the latency histogram.
    pub fn observe_latency(&mut self, metrics: &Metrics) {
        if let Some(received_at_micros) = self.sample.take() {
            let micros = unix_micros().saturating_sub(received_at_micros);
            metrics.message_latency.observe(micros as f64 / 1e6);
        }
    }

    /// DISCONNECT, and the end of the connection.
    pub async fn close(mut self) {
        self.queue(Packet::Disconnect(Disconnect::normal()));
        self.connection.close().await;
    }
}
