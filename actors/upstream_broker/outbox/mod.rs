//! From the log to the wire of one upstream broker: what goes out next, what is in flight, and what must go out
//! again. It outlives connections; the log keeps the bytes.

mod acknowledged;
mod again;
mod buried;
mod hold;
mod progress;
mod sessions;

pub use sessions::StoredFlow;

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use mqtt::session::Outflow;
use mqtt::{PacketId, QoS};

use again::encode_again;

use super::connect::Capabilities;
use super::dead_letters::DeadLetters;
use super::drop_reason::DropReason;
use super::encoding::{Sending, Verdict, Wire, compromises, encode_first, verdict};
use super::forwarding::Forwarding;
use super::journal::{Earlier, Journal};
use super::lanes::{Lane, Lanes, ReplayOrder};
use super::loop_watch::{self, LoopWatch, Obstacle};
use super::status::UpstreamStatus;
use super::suspects::Suspects;
use super::topic_aliases::TopicAliases;
use crate::BrokerId;
use crate::broker::{Backlog, ForwardRule};
use crate::limits;
use crate::message_log::{LogReader, MessageLog};
use crate::store::StoredUpstream;

/// A message that the broker has not acknowledged to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight {
    lane: Lane,
    offset: u64,
    qos: QoS,
    received_at_micros: u64,
    /// The message went to another member of the group: only its Packet Identifier is still to be released.
    is_elsewhere: bool,
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
    /// For a broker that may send our own messages back, or bring them round.
    loops: Option<LoopWatch>,
    journal: Journal,
    dead_letters: DeadLetters,
    /// While the broker ends its connections for something that we send.
    suspects: Suspects,
    /// Of the connection that there is, where the broker accepts any.
    aliases: Option<TopicAliases>,
    /// Sessions at other members of a group that may remember Packet Identifiers.
    resting: Vec<(BrokerId, Outflow<InFlight>)>,
    /// Nothing new goes out.
    is_held: bool,
}

/// What one turn of a lane came to.
#[derive(Default)]
struct Tally {
    sent: u64,
    sent_at_qos_0: u64,
    /// What the broker will not get, by the place of the reason in [`DropReason::ALL`].
    dropped: [u64; DropReason::ALL.len()],
    downgraded: u64,
    retain_stripped: u64,
    /// When one of the messages was received.
    sample: Option<u64>,
}

impl Tally {
    /// A message went out, perhaps at a lower QoS, or without RETAIN.
    fn count_sent(&mut self, received_at_micros: u64, (downgraded, retain_stripped): (bool, bool)) {
        self.sent += 1;
        self.sample = Some(received_at_micros);
        self.downgraded += u64::from(downgraded);
        self.retain_stripped += u64::from(retain_stripped);
    }
}

/// The earlier one of two times.
fn earlier_of(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

/// Lets go of what was sent before a restart and is not in the log any more, where that goes on at `offset`. Answers
/// with how many they were.
fn abandon_lost(journal: &mut Journal, outflow: &mut Outflow<InFlight>, offset: u64) -> u64 {
    let mut count = 0;
    while let Some((lost, packet_id)) = journal.passed_over(offset) {
        give_up(journal, outflow, packet_id, lost);
        count += 1;
    }
    count
}

/// A QoS 2 message that was sent before a restart will not go out again: without this it would take up its place in the
/// window until the next connection.
fn give_up(journal: &mut Journal, outflow: &mut Outflow<InFlight>, packet_id: PacketId, offset: u64) {
    outflow.abandon(packet_id);
    journal.done(QoS::ExactlyOnce, offset);
}

impl Outbox {
    /// Nothing in flight. The first Packet Identifier is any: the broker may remember some of an earlier life.
    pub fn new(reader: LogReader, forwarding: Forwarding, max_qos: Option<QoS>) -> Outbox {
        let journal = Journal::new(forwarding.filter.broker(), reader.log().clone());
        Outbox {
            lanes: Lanes::new(reader, forwarding, max_qos),
            outflow: sessions::fresh(),
            anew: VecDeque::new(),
            is_mixed: false,
            paced_until: None,
            loops: None,
            journal,
            dead_letters: DeadLetters::default(),
            suspects: Suspects::default(),
            aliases: None,
            resting: Vec::new(),
            is_held: false,
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
            let qos = QoS::ExactlyOnce;
            let in_flight = InFlight { lane, offset, qos, received_at_micros: 0, is_elsewhere: false };
            (packet_id, QoS::ExactlyOnce, is_received, in_flight)
        };
        self.outflow.restore(in_flight.into_iter().map(entry).collect());
    }

    /// Another rule or pace for what comes next.
    pub fn set_rule(&mut self, forwarding: Forwarding, rule: &ForwardRule, backlog: &Backlog) {
        self.lanes.set_rule(forwarding, rule, backlog);
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
        let aliases = Some(capabilities.topic_alias_maximum).filter(|maximum| *maximum > 0);
        self.aliases = aliases.map(TopicAliases::new);
        let receive_maximum = self.first_window(capabilities);
        let is_first = self.journal.begin_connection(session_present);
        if session_present && is_first {
            // What was not received before the restart goes out again where the log has it, in order with the rest.
            self.outflow.resume_released(receive_maximum);
        } else if session_present {
            self.outflow.resume(receive_maximum);
        } else if is_first {
            self.outflow.reset(receive_maximum);
        } else {
            let lost = self.outflow.reset(receive_maximum);
            self.send_anew(lost);
        }
        self.is_mixed |= self.lanes.begin_backlog();
        self.lanes.set_connected(true);
    }

    /// What keeps messages from coming round; `None` for a broker that is asked for nothing.
    pub fn loops(&mut self) -> &mut Option<LoopWatch> {
        &mut self.loops
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.lanes.set_connected(false);
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
        if self.is_held && !self.outflow.is_resending() {
            return None;
        }
        self.fill_again(output, wire, status, now_micros);
        if self.outflow.is_resending() || !self.anew.is_empty() || self.is_searching(wire) {
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
            let next = view.reader.peek().filter(|(offset, _)| *offset < view.end);
            let Some((offset, record)) = next else { break };
            if lane == Lane::Main {
                tally.dropped[DropReason::Overflow as usize] +=
                    abandon_lost(&mut self.journal, &mut self.outflow, offset);
            }
            let verdict = match self.journal.earlier(lane, offset) {
                Earlier::Unknown => Some(verdict(view.forwarding, view.max_qos, &record, wire, now_micros)),
                Earlier::Finished => None,
                Earlier::Sent(packet_id) => {
                    let flow = (QoS::ExactlyOnce, packet_id);
                    let encoded = encode_again(output, wire, view.forwarding, &record, flow, now_micros);
                    if let Err(reason) = encoded {
                        give_up(&mut self.journal, &mut self.outflow, packet_id, offset);
                        self.dead_letters.push(&record, reason, None);
                        tally.dropped[reason as usize] += 1;
                    }
                    None
                }
            };
            match verdict {
                None | Some(Verdict::Skip(_)) => {}
                // It waits until the Router has taken some.
                Some(Verdict::Drop(reason)) if reason.is_final() && self.dead_letters.is_full() => break,
                Some(Verdict::Drop(reason)) => {
                    self.dead_letters.push(&record, reason, None);
                    tally.dropped[reason as usize] += 1;
                }
                Some(Verdict::Send { qos, topic_there }) => {
                    // A replay was asked for: it goes out in any case.
                    let looked = loop_watch::look(self.loops.as_ref(), &record, lane != Lane::Replay);
                    if let Err(Obstacle::Wait(until)) = looked {
                        self.paced_until = earlier_of(self.paced_until, until);
                        break;
                    }
                    let Ok(digest) = looked else {
                        view.reader.advance();
                        continue;
                    };
                    let mut pacer = view.pacer.as_deref_mut().filter(|_| offset < view.paced_to);
                    if let Some(at) = pacer.as_ref().and_then(|pacer| pacer.wait_until(Instant::now())) {
                        self.paced_until = earlier_of(self.paced_until, at);
                        break;
                    }
                    let received_at_micros = record.received_at_micros;
                    let in_flight = InFlight { lane, offset, qos, received_at_micros, is_elsewhere: false };
                    let packet_id = self.outflow.send(qos, in_flight);
                    match packet_id {
                        None if qos > QoS::AtMostOnce => break,
                        None => tally.sent_at_qos_0 += 1,
                        Some(packet_id) => self.journal.sent(qos, packet_id, offset),
                    }
                    let sending = Sending { qos, packet_id, dup: false, topic_there: topic_there.as_deref() };
                    let forwarding = &*view.forwarding;
                    encode_first(output, &mut self.aliases, wire, forwarding, &record, sending, now_micros);
                    if let Some(pacer) = &mut pacer {
                        pacer.sent(record.topic_name.len() + record.payload.len(), Instant::now());
                    }
                    if let Some(loops) = &mut self.loops {
                        loops.note(sending.topic_there, &record, digest);
                    }
                    tally
                        .count_sent(received_at_micros, compromises(forwarding, &record, view.max_qos, wire));
                }
            }
            view.reader.advance();
        }
        tally
    }

    fn count(&mut self, lane: Lane, tally: &Tally, status: &UpstreamStatus) {
        let dropped = DropReason::ALL.into_iter().zip(tally.dropped);
        for (reason, count) in dropped.filter(|(_, count)| *count > 0) {
            status.count_dropped(reason, count);
        }
        if tally.downgraded + tally.retain_stripped > 0 {
            status.count_changed(tally.downgraded, tally.retain_stripped);
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
}
