//! From the log to the wire of one upstream broker: what goes out next, what is in flight, and what must go out
//! again. It outlives connections; the log keeps the bytes.

mod acknowledged;
mod again;
mod progress;

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use mqtt::session::Outflow;
use mqtt::{PacketId, QoS};

use super::connect::Capabilities;
use super::encoding::{Verdict, Wire, encode, verdict};
use super::filter::RecordFilter;
use super::journal::{Earlier, Journal};
use super::lanes::{Lane, Lanes, ReplayOrder};
use super::loop_guard::LoopGuard;
use super::status::{DropReason, UpstreamStatus};
use crate::broker::{Backlog, ForwardRule};
use crate::limits;
use crate::message_log::{LogReader, MessageLog, Record};
use crate::store::StoredUpstream;

/// A message that the broker has not acknowledged to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight {
    lane: Lane,
    offset: u64,
    qos: QoS,
    received_at_micros: u64,
}

/// What goes out to one broker.
pub struct Outbox {
    lanes: Lanes,
    outflow: Outflow<InFlight>,
    /// In flight in a Session that the broker lost: to be sent anew, before anything newer.
    anew: VecDeque<(Lane, u64)>,
    /// Offsets in flight need not be in the order of sending: lanes, or a restart, have mixed them.
    is_mixed: bool,
    /// A pace allows the next message then.
    paced_until: Option<Instant>,
    /// For a broker that sends our own messages back.
    echoes: Option<Echoes>,
    journal: Journal,
}

/// Which of our messages come back, and how they are recognised.
struct Echoes {
    subscribed: RecordFilter,
    guard: LoopGuard,
}

/// What one turn of a lane came to.
#[derive(Default)]
struct Tally {
    sent: u64,
    sent_at_qos_0: u64,
    expired: u64,
    too_large: u64,
    /// Not in the log any more.
    lost: u64,
    /// When one of the messages was received.
    sample: Option<u64>,
}

impl Echoes {
    /// A message goes out that may come back.
    fn note(&mut self, record: &Record<'_>) {
        if self.subscribed.wants_topic(record.topic_name) {
            self.guard.sent(record.topic_name, record.payload, Instant::now());
        }
    }
}

impl Outbox {
    /// Nothing in flight. The first Packet Identifier is any: the broker may remember some of an earlier life.
    pub fn new(reader: LogReader, filter: RecordFilter, max_qos: Option<QoS>) -> Outbox {
        let journal = Journal::new(filter.broker(), reader.log().clone());
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        let first = PacketId::new((random >> 48) as u16).unwrap_or(PacketId::FIRST);
        Outbox {
            lanes: Lanes::new(reader, filter, max_qos),
            outflow: Outflow::starting_at(first, limits::UPSTREAM_IN_FLIGHT_MAX).count_released(),
            anew: VecDeque::new(),
            is_mixed: false,
            paced_until: None,
            echoes: None,
            journal,
        }
    }

    /// Takes over what the broker had in flight before a restart.
    pub fn restore(&mut self, stored: StoredUpstream) {
        let live_from = stored.live.map_or(u64::MAX, |live| live.from);
        if let Some(live) = stored.live {
            self.lanes.restore_live(live);
        }
        let in_flight = self.journal.restore(stored);
        self.is_mixed = !in_flight.is_empty() || live_from < u64::MAX;
        let entry = |(packet_id, offset, is_received)| {
            let lane = if offset < live_from { Lane::Main } else { Lane::Live };
            let in_flight = InFlight { lane, offset, qos: QoS::ExactlyOnce, received_at_micros: 0 };
            (packet_id, QoS::ExactlyOnce, is_received, in_flight)
        };
        self.outflow.restore(in_flight.into_iter().map(entry).collect());
    }

    /// Another filter, QoS or pace for what comes next.
    pub fn set_rule(&mut self, filter: RecordFilter, max_qos: Option<QoS>, backlog: &Backlog) {
        self.lanes.set_rule(filter, max_qos, backlog);
    }

    /// Sends a part of history once more; an earlier replay that still runs gives way.
    pub fn begin_replay(&mut self, order: ReplayOrder, rule: &ForwardRule) {
        self.is_mixed = true;
        self.lanes.begin_replay(order, rule);
    }

    /// Ends a replay; answers whether one ran.
    pub fn stop_replay(&mut self, status: &UpstreamStatus) -> bool {
        let Some(replay) = self.lanes.replay() else { return false };
        let ran = std::mem::take(&mut replay.progress.is_running);
        status.set_replay(replay.progress);
        ran
    }

    /// The broker accepted a connection. With its Session present, what was in flight goes out again as it was
    /// `[MQTT-4.4.0-1]`; without, it goes out as new: nothing is lost, and what the broker had taken just before
    /// it forgot may come twice.
    pub fn connected(&mut self, session_present: bool, capabilities: &Capabilities) {
        self.outflow.set_qos_2_maximum(capabilities.qos_2_maximum);
        let is_first = self.journal.begin_connection(session_present);
        if session_present && is_first {
            // What was not received before the restart goes out again where the log has it, in order with the rest.
            self.outflow.resume_released(capabilities.receive_maximum);
        } else if session_present {
            self.outflow.resume(capabilities.receive_maximum);
        } else if is_first {
            self.outflow.reset(capabilities.receive_maximum);
        } else {
            for in_flight in self.outflow.reset(capabilities.receive_maximum).into_iter().rev() {
                self.anew.push_front((in_flight.lane, in_flight.offset));
            }
        }
        self.is_mixed |= self.lanes.begin_backlog();
        self.lanes.reader.set_connected(true);
    }

    /// Whether the broker will send back what matches these subscriptions of ours; `None` where it will not.
    pub fn expect_echoes(&mut self, subscribed: Option<RecordFilter>) {
        let earlier = self.echoes.take().map(|echoes| echoes.guard);
        let guard = || LoopGuard::new(limits::ECHO_PATIENCE, limits::ECHO_CREDITS_MAX);
        self.echoes =
            subscribed.map(|subscribed| Echoes { subscribed, guard: earlier.unwrap_or_else(guard) });
    }

    /// Whether a message of the broker is one of ours that it sends back.
    pub fn is_echo(&mut self, topic_name: &[u8], payload: &[u8]) -> bool {
        let Some(echoes) = &mut self.echoes else { return false };
        echoes.guard.is_echo(topic_name, payload, Instant::now())
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.lanes.reader.set_connected(false);
    }

    /// Encodes what may go out now, until `output` is full, the window is, or nothing is left. `now_micros` is
    /// the time since the Unix epoch. Returns the time of receipt of one of the messages, as a sample.
    pub fn fill(
        &mut self,
        output: &mut BytesMut,
        wire: &Wire,
        status: &UpstreamStatus,
        now_micros: u64,
    ) -> Option<u64> {
        self.paced_until = None;
        self.fill_again(output, wire, status, now_micros);
        if self.outflow.is_resending() || !self.anew.is_empty() {
            return None;
        }
        let mut sample = None;
        for lane in self.lanes.active() {
            let tally = self.fill_from(lane, output, wire, now_micros);
            sample = sample.or(tally.sample);
            self.count(lane, &tally, status);
        }
        self.lanes.join();
        sample
    }

    /// Encodes what one lane has, until `output` is full, the window or the pace is, or nothing is left.
    fn fill_from(&mut self, lane: Lane, output: &mut BytesMut, wire: &Wire, now_micros: u64) -> Tally {
        let mut tally = Tally::default();
        let Some(mut view) = self.lanes.view(lane) else { return tally };
        while output.len() < limits::UPSTREAM_OUTPUT_BYTES {
            let Some((offset, record)) = view.reader.peek() else { break };
            if offset >= view.end {
                break;
            }
            while lane == Lane::Main
                && let Some((lost, packet_id)) = self.journal.passed_over(offset)
            {
                // It would take up its place in the window until the next connection.
                self.outflow.abandon(packet_id);
                self.journal.done(QoS::ExactlyOnce, lost);
                tally.lost += 1;
            }
            let verdict = match self.journal.earlier(lane, offset) {
                Earlier::Unknown => verdict(view.filter, view.max_qos, &record, wire, now_micros),
                Earlier::Finished => Verdict::Skip,
                Earlier::Sent(packet_id) => {
                    encode(output, wire, &record, QoS::ExactlyOnce, Some(packet_id), true, now_micros);
                    Verdict::Skip
                }
            };
            match verdict {
                Verdict::Skip => {}
                Verdict::Drop(DropReason::Expired) => tally.expired += 1,
                Verdict::Drop(_) => tally.too_large += 1,
                Verdict::Send(qos) => {
                    let pacer = view.pacer.as_deref_mut().filter(|_| offset < view.paced_to);
                    let now = pacer.is_some().then(Instant::now);
                    if let (Some(pacer), Some(now)) = (&pacer, now)
                        && let Some(at) = pacer.wait_until(now)
                    {
                        self.paced_until = Some(self.paced_until.map_or(at, |earlier| earlier.min(at)));
                        break;
                    }
                    let received_at_micros = record.received_at_micros;
                    let in_flight = InFlight { lane, offset, qos, received_at_micros };
                    let packet_id = self.outflow.send(qos, in_flight);
                    match packet_id {
                        None if qos > QoS::AtMostOnce => break,
                        None => tally.sent_at_qos_0 += 1,
                        Some(packet_id) => self.journal.sent(qos, packet_id, offset),
                    }
                    encode(output, wire, &record, qos, packet_id, false, now_micros);
                    if let (Some(pacer), Some(now)) = (pacer, now) {
                        pacer.sent(record.topic_name.len() + record.payload.len(), now);
                    }
                    if let Some(echoes) = &mut self.echoes {
                        echoes.note(&record);
                    }
                    tally.sent += 1;
                    tally.sample = Some(received_at_micros);
                }
            }
            view.reader.advance();
        }
        tally
    }

    fn count(&mut self, lane: Lane, tally: &Tally, status: &UpstreamStatus) {
        let dropped = [
            (DropReason::Expired, tally.expired),
            (DropReason::TooLarge, tally.too_large),
            (DropReason::Overflow, tally.lost),
        ];
        for (reason, count) in dropped.into_iter().filter(|(_, count)| *count > 0) {
            status.count_dropped(reason, count);
        }
        if tally.sent_at_qos_0 > 0 {
            status.count_forwarded(tally.sent_at_qos_0);
        }
        if lane == Lane::Replay
            && let Some(replay) = self.lanes.replay()
        {
            replay.count(tally.sent);
            status.set_replay(replay.progress);
        }
    }

    /// When a pace allows the next message, where it is that what holds up.
    pub fn paced_until(&self) -> Option<Instant> {
        self.paced_until
    }

    /// Writes down what must be known after a restart. Then [`Outbox::may_send`] says when the output may go out.
    pub fn record_moves(&mut self) {
        self.journal.write();
    }

    /// Whether what is encoded may go out; if not, the task is woken when it may.
    pub fn may_send(&mut self, task: &Context<'_>) -> bool {
        self.journal.may_send(task)
    }

    /// The log that is read.
    pub fn log(&self) -> &MessageLog {
        self.lanes.reader.log()
    }

    /// Ready when more of a backlog has come from the disk.
    pub fn poll_backlog(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.lanes.poll_backlog(task)
    }

    /// Messages that wait for an acknowledgement, or for the connection on which they can be sent again.
    pub fn in_flight(&self) -> usize {
        self.outflow.in_flight() + self.anew.len()
    }

    /// Whether the broker has everything that the log has.
    pub fn is_drained(&mut self) -> bool {
        self.in_flight() == 0 && self.lanes.are_at_end()
    }
}
