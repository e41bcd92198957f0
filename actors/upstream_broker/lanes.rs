//! The ways by which messages come from the log to one broker: the main one at the broker's cursor; live messages that
//! overtake a backlog, where the broker's definition says so; and a replay of history on request.

mod hold;

use std::task::{Context, Poll};
use std::time::Instant;

use mqtt::{QoS, TopicFilter};

use super::filter::RecordFilter;
use super::forwarding::Forwarding;
use super::pacer::{Pacer, Rate};
use crate::broker::{Backlog, ForwardRule};
use crate::message_log::LogReader;
use crate::store::LiveCursor;

/// Which way a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// At the cursor.
    Main,
    /// Past a backlog.
    Live,
    /// History, once more.
    Replay,
}

/// All of them.
pub struct Lanes {
    /// The main lane.
    pub reader: LogReader,
    forwarding: Forwarding,
    max_qos: QoS,
    /// What lay behind when the connection was made ends here, and goes out at this pace.
    backlog_end: u64,
    pacer: Pacer,
    /// New messages may overtake the backlog of an outage.
    live_first: bool,
    live: Option<LiveLane>,
    replay: Option<ReplayLane>,
    /// Nothing goes out from this offset on; 0 for nothing at all.
    held_from: u64,
    is_connected: bool,
}

/// One lane, with all that decides about its messages.
pub struct LaneView<'a> {
    /// Reads it.
    pub reader: &'a mut LogReader,
    /// What of it the broker gets.
    pub forwarding: &'a mut Forwarding,
    /// At which QoS at most.
    pub max_qos: QoS,
    /// Where it ends.
    pub end: u64,
    /// The pace, and the offset where that ends.
    pub pacer: Option<&'a mut Pacer>,
    /// See `pacer`.
    pub paced_to: u64,
}

/// Live messages that overtake a backlog.
pub struct LiveLane {
    /// The backlog ends here.
    pub from: u64,
    /// Reads what comes behind it.
    pub reader: LogReader,
}

/// History that goes out once more.
pub struct ReplayLane {
    /// Reads it.
    pub reader: LogReader,
    /// What of it goes out.
    pub forwarding: Forwarding,
    topics: Vec<TopicFilter>,
    /// How fast.
    pub pacer: Pacer,
    /// How far it is.
    pub progress: ReplayProgress,
}

/// What is asked of a replay, its places in the log found.
#[derive(Clone, Debug)]
pub struct ReplayOrder {
    /// The first offset.
    pub from: u64,
    /// The offset behind the last one.
    pub to: u64,
    /// Messages that one of these matches; none at all means what the broker's own filters want.
    pub topics: Vec<TopicFilter>,
    /// How many messages go out in a second at most.
    pub max_rate_messages: Option<u32>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The first offset.
    pub from: u64,
    /// The offset behind the last one.
    pub to: u64,
    /// The offset that is looked at next.
    pub position: u64,
    /// Messages sent.
    pub sent: u64,
    /// Whether it goes on.
    pub is_running: bool,
}

impl ReplayLane {
    /// A replay that begins at `now`. Messages that came from the broker do not return to it, whatever is asked.
    pub fn new(
        order: ReplayOrder,
        reader: LogReader,
        own: &RecordFilter,
        rule: &ForwardRule,
        now: Instant,
    ) -> ReplayLane {
        let progress = ReplayProgress {
            from: order.from,
            to: order.to,
            position: order.from,
            sent: 0,
            is_running: true,
        };
        ReplayLane {
            reader,
            forwarding: replayed(&order.topics, own, rule),
            topics: order.topics,
            pacer: Pacer::new(Rate { messages: order.max_rate_messages, bytes: None }, now),
            progress,
        }
    }
}

/// What of history goes to a broker: of what is asked for, or else of what its filters want, nothing that they exclude.
fn replayed(topics: &[TopicFilter], own: &RecordFilter, rule: &ForwardRule) -> Forwarding {
    let broker = own.broker();
    let forwarding = match topics.is_empty() {
        true => Forwarding::new(broker, rule),
        false => Forwarding::new(broker, &ForwardRule { topics: topics.to_vec(), ..rule.clone() }),
    };
    forwarding.within(own.scope())
}

impl ReplayLane {
    /// Messages went out, and the reader is where it is.
    pub fn count(&mut self, sent: u64) {
        self.progress.sent += sent;
        self.progress.position = self.reader.position().clamp(self.progress.from, self.progress.to);
        if self.progress.position >= self.progress.to {
            self.progress.is_running = false;
        }
    }
}

impl Lanes {
    /// The main lane alone.
    pub fn new(reader: LogReader, forwarding: Forwarding, max_qos: Option<QoS>) -> Lanes {
        Lanes {
            reader,
            forwarding,
            max_qos: max_qos.unwrap_or(QoS::ExactlyOnce),
            backlog_end: 0,
            pacer: Pacer::new(Rate::default(), Instant::now()),
            live_first: false,
            live: None,
            replay: None,
            held_from: u64::MAX,
            is_connected: false,
        }
    }

    /// Another rule or pace for what comes next.
    pub fn set_rule(&mut self, forwarding: Forwarding, rule: &ForwardRule, backlog: &Backlog) {
        if let Some(replay) = &mut self.replay {
            replay.forwarding = replayed(&replay.topics, &forwarding.filter, rule);
        }
        self.forwarding = forwarding;
        self.max_qos = rule.max_qos.unwrap_or(QoS::ExactlyOnce);
        self.live_first = backlog.live_first;
        let rate = Rate { messages: backlog.max_rate_messages, bytes: backlog.max_rate_bytes };
        if rate != self.pacer.rate() {
            self.pacer = Pacer::new(rate, Instant::now());
        }
    }

    /// A backlog was being drained behind live messages before a restart.
    pub fn restore_live(&mut self, live: LiveCursor) {
        self.live = Some(LiveLane { from: live.from, reader: self.reader.beside(live.cursor) });
    }

    /// What lies behind now is the backlog of an outage: it is paced, and new messages may overtake it. Answers
    /// whether they do.
    pub fn begin_backlog(&mut self) -> bool {
        self.backlog_end = self.reader.log().next_offset();
        // Changes of state alone are no backlog.
        let _ = self.reader.peek_message();
        if self.live_first
            && !self.is_held()
            && self.live.is_none()
            && self.reader.position() < self.backlog_end
        {
            let reader = self.reader.beside(self.backlog_end);
            self.live = Some(LiveLane { from: self.backlog_end, reader });
        }
        self.live.is_some()
    }

    /// The backlog has gone out: what overtook it is the main lane now.
    pub fn join(&mut self) {
        let is_done = self.live.as_ref().is_some_and(|live| self.reader.position() >= live.from);
        if is_done && let Some(live) = self.live.take() {
            self.reader.follow(live.reader);
            self.backlog_end = 0;
        }
    }

    /// Where live messages began, while they overtake a backlog.
    pub fn live_from(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.from)
    }

    /// The offset that is read next past the backlog.
    pub fn live_position(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.reader.position())
    }

    /// Sends a part of history once more; an earlier replay that still runs gives way.
    pub fn begin_replay(&mut self, order: ReplayOrder, rule: &ForwardRule) {
        let reader = self.reader.beside(order.from);
        self.replay = Some(ReplayLane::new(order, reader, &self.forwarding.filter, rule, Instant::now()));
    }

    /// The replay, if there is or was one.
    pub fn replay(&mut self) -> Option<&mut ReplayLane> {
        self.replay.as_mut()
    }

    /// The lanes in the order in which they are served; none at all in a pause.
    pub fn active(&self) -> impl Iterator<Item = Lane> + use<> {
        let is_paused = self.held_from == 0;
        let is_replaying = self.replay.as_ref().is_some_and(|replay| replay.progress.is_running);
        let live = self.live.is_some().then_some(Lane::Live);
        let replay = is_replaying.then_some(Lane::Replay);
        [live, Some(Lane::Main), replay].into_iter().flatten().filter(move |_| !is_paused)
    }

    /// One of the lanes, if it is there.
    pub fn view(&mut self, lane: Lane) -> Option<LaneView<'_>> {
        let live_from = self.live_from();
        let (reader, forwarding, max_qos) = match lane {
            Lane::Main => (&mut self.reader, &mut self.forwarding, self.max_qos),
            Lane::Live => (&mut self.live.as_mut()?.reader, &mut self.forwarding, self.max_qos),
            Lane::Replay => {
                let replay = self.replay.as_mut()?;
                // The store knows nothing of replays, so their QoS 2 would not survive a restart.
                let max_qos = self.max_qos.min(QoS::AtLeastOnce);
                let end = replay.progress.to;
                let ReplayLane { reader, forwarding, pacer, .. } = replay;
                let pacer = Some(pacer);
                return Some(LaneView { reader, forwarding, max_qos, end, pacer, paced_to: end });
            }
        };
        let end = match lane {
            Lane::Main => live_from.unwrap_or(u64::MAX).min(self.held_from),
            _ => self.held_from,
        };
        let is_paced = lane == Lane::Main && self.pacer.rate() != Rate::default();
        let paced_to = if is_paced { self.backlog_end } else { 0 };
        Some(LaneView { reader, forwarding, max_qos, end, pacer: Some(&mut self.pacer), paced_to })
    }

    /// What decides about messages that are sent anew.
    pub fn rule(&mut self) -> (&mut LogReader, &mut Forwarding, QoS) {
        (&mut self.reader, &mut self.forwarding, self.max_qos)
    }

    /// Polls every lane's disk reads; ready when one of them has more.
    pub fn poll_backlog(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let live = self.live.as_mut().map(|live| &mut live.reader);
        let replay = self.replay.as_mut().map(|replay| &mut replay.reader);
        let readers = [Some(&mut self.reader), live, replay].into_iter().flatten();
        // Each is polled, so that each is registered.
        let ready = readers.filter_map(|reader| reader.poll_backlog(task).is_ready().then_some(())).count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}
