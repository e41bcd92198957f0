//! One connection to an upstream broker while it is up: one turn reads, encodes and writes what is ready.

mod canaries;
mod introductions;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use mqtt::PacketId;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::packet::{Disconnect, Packet};
use tokio::time::{Interval, MissedTickBehavior, Sleep};
use uuid::Uuid;

use super::canary::Canary;
use super::connect::{Capabilities, Cause, Failure, explained};
use super::encoding::Wire;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::pinging::Pinging;
use super::status::UpstreamStatus;
use super::subscribing::Asked;
use crate::bridge::Stamper;
use crate::connection::{Connection, ConnectionError};
use crate::metrics::Traffic;
use crate::timestamp::unix_micros;
use crate::{Broker, BrokerId, Metrics, limits};

/// A connection that CONNACK opened.
pub struct Link {
    connection: Connection,
    wire: Wire,
    pinging: Pinging,
    ticks: Pin<Box<Interval>>,
    packets: Vec<Packet>,
    reading_paused: bool,
    canary: Option<Canary>,
    pace_timer: Option<Pin<Box<Sleep>>>,
    /// Subscriptions that the broker has not answered yet.
    pub(super) asked: Asked,
    /// When a message that went out in this turn had come in, in microseconds since the Unix epoch.
    sample: Option<u64>,
    /// Says that the broker can be reached.
    reached: Arc<()>,
    /// Whether the broker took us for a bridge of 3.1.1, and whether we have told it which proxy we are.
    pub(super) is_bridge: bool,
    is_introduced: bool,
    /// The connection has failed; this is told when what came before is with the Router.
    pub(super) ending: Option<Failure>,
}

impl Link {
    /// The link begins at `now`.
    pub fn new(
        broker: BrokerId,
        mut connection: Connection,
        capabilities: Capabilities,
        (stamper, proxy): (Stamper, Option<Uuid>),
        canary: Option<Canary>,
        now: Instant,
    ) -> Link {
        // What came in one piece with CONNACK is handled with the first turn, and not when more comes.
        let mut packets = Vec::new();
        connection.take_received(&mut packets);
        let reached = stamper.bridge.reached(broker, proxy);
        let mut ticks = tokio::time::interval(limits::UPSTREAM_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Link {
            wire: Wire {
                version: connection.version(),
                capabilities,
                stamper: Some(stamper),
                proxy: proxy.map(BrokerId),
            },
            reached,
            is_bridge: false,
            is_introduced: false,
            ending: None,
            connection,
            pinging: Pinging::new(capabilities.keep_alive_secs, now),
            ticks: Box::pin(ticks),
            packets,
            reading_paused: false,
            canary,
            pace_timer: None,
            asked: Asked::default(),
            sample: None,
        }
    }

    /// Counts its bytes there from now on: the broker has another name.
    pub fn count_in(&mut self, traffic: Arc<Traffic>) {
        self.connection.count_in(traffic);
    }

    /// The version that the broker speaks, and what it lets us do.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Who is at the other end, for the log.
    pub fn peer(&self) -> &str {
        self.connection.peer()
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

    /// Lets the broker go of QoS 2 messages that will not be sent again under these Packet Identifiers.
    pub fn release(&mut self, packet_ids: &[PacketId]) {
        for packet_id in packet_ids {
            acknowledgement::encode_success(self.output(), AcknowledgementKind::PubRel, *packet_id);
        }
    }

    /// Queues a packet of ours, which can always be encoded.
    pub(super) fn queue(&mut self, packet: Packet) {
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
        // Before any message that could go round.
        self.introduce(broker);
        if let Err(failure) = self.tick(task, broker, outbox, status) {
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
                self.pinging.received(Instant::now());
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
                Packet::PubAck(packet) if self.is_of_canary(&packet, broker, outbox, status) => {}
                Packet::PubAck(packet) => {
                    acknowledged += outbox.puback(&packet, status).map_err(unexpected)?
                }
                Packet::PubRec(packet) => {
                    outbox.pubrec(&packet, self.connection.output(), status).map_err(unexpected)?;
                }
                Packet::PubComp(packet) => acknowledged += outbox.pubcomp(&packet).map_err(unexpected)?,
                Packet::Publish(publish) if self.is_introduced && self.is_introduction(&publish, broker) => {}
                Packet::Publish(publish) => {
                    let wanted = broker.subscription.is_some() && !self.is_canary(&publish, status);
                    inbox.publish(publish, wanted, outbox, status)?;
                }
                Packet::PubRel(packet) => inbox.pubrel(packet.packet_id, outbox.log()),
                Packet::SubAck(suback) => self.subscribed(&suback, outbox, status),
                Packet::UnsubAck(unsuback) => {
                    outbox.release(unsuback.packet_id);
                }
                Packet::PingResp => {}
                Packet::Disconnect(disconnect) => {
                    let explanation = explained(&disconnect.properties);
                    let text = format!("the broker disconnected: {}{explanation}", disconnect.reason_code);
                    let reason_code = Some(disconnect.reason_code).filter(|code| code.is_error());
                    return Err(Failure { reason_code, ..Failure::new(Cause::Lost, text) });
                }
                other => {
                    let text = format!("the broker sent {:?}, which only a client may", other.packet_type());
                    return Err(Failure::new(Cause::Protocol, text));
                }
            }
        }
        if acknowledged > 0 {
            status.count_forwarded(acknowledged);
            status.set_acknowledged(unix_micros());
        }
        Ok(())
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
                self.pinging.sent(Instant::now());
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(Failure::new(Cause::Lost, error.to_string())),
        }
    }

    /// Twice a second: is a PINGREQ due, is the broker still there?
    fn tick(
        &mut self,
        task: &mut Context<'_>,
        broker: &Broker,
        outbox: &mut Outbox,
        status: &UpstreamStatus,
    ) -> Result<(), Failure> {
        while self.ticks.as_mut().poll_tick(task).is_ready() {
            let now = Instant::now();
            outbox.publish_progress(status);
            self.send_canary(broker, outbox, status, now);
            self.pinging.tick(now, self.connection.output())?;
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
