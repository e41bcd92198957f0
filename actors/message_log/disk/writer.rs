//! The thread that writes: it drains the head in order, moves the watermarks, and writes cursors down. The flushing
//! itself is a thread of its own, so that what is stored need not wait for what is synced.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use prometheus::Histogram;

use super::{Alarm, DiskOptions, spawn};
use crate::limits;
use crate::message_log::head::Chunk;
use crate::message_log::segment::{Run, SegmentWriter, SyncJob, SyncOutcome};
use crate::message_log::{Mark, MessageLog, record};
use crate::timestamp::unix_micros;

pub(super) struct Writer {
    log: Arc<MessageLog>,
    segments: SegmentWriter,
    /// Taken from the head and not yet written.
    runs: VecDeque<Run>,
    /// The offset up to which the head was taken, and the bytes of the last piece that go to disk.
    taken_to: u64,
    taken_bytes: u64,
    flusher: Flusher,
    /// The time of the last flush's beginning, and the stored watermark that the running one covers.
    flushed_at: Instant,
    flushing_to: Option<u64>,
    /// A flush failed, and what it was to cover has not been written again yet.
    needs_rewrite: bool,
    sync_interval: Duration,
    cursors_saved_at: Instant,
    segment_bytes: u64,
    retention_bytes_max: u64,
    stopping: Arc<AtomicBool>,
    alarms: Alarms,
    sync_seconds: Histogram,
}

/// Who wakes whom.
pub(super) struct Alarms {
    /// Wakes the writer.
    pub own: Arc<Alarm>,
    /// Wakes who keeps the files within bounds.
    pub housekeeper: Arc<Alarm>,
    /// Wakes who reads what was written.
    pub written: Arc<Alarm>,
}

/// The thread that flushes, one job at a time.
struct Flusher {
    jobs: Sender<SyncJob>,
    outcomes: Receiver<SyncOutcome>,
}

impl Flusher {
    fn start(alarm: Arc<Alarm>) -> Flusher {
        let (jobs, todo) = channel::<SyncJob>();
        let (done, outcomes) = channel();
        // It ends when the writer does, which drops the sender.
        spawn("log-flusher", move || {
            for job in todo {
                if done.send(job.run()).is_err() {
                    return;
                }
                alarm.ring();
            }
        });
        Flusher { jobs, outcomes }
    }
}

impl Writer {
    pub fn new(
        log: Arc<MessageLog>,
        segments: SegmentWriter,
        options: &DiskOptions,
        stopping: Arc<AtomicBool>,
        alarms: Alarms,
        sync_seconds: Histogram,
    ) -> Writer {
        let now = Instant::now();
        Writer {
            taken_to: log.next_offset(),
            log,
            segments,
            runs: VecDeque::new(),
            taken_bytes: 0,
            flusher: Flusher::start(alarms.own.clone()),
            flushed_at: now,
            flushing_to: None,
            needs_rewrite: false,
            sync_interval: options.sync_interval,
            cursors_saved_at: now,
            segment_bytes: options.segment_bytes,
            retention_bytes_max: options.retention_bytes_max,
            stopping,
            alarms,
            sync_seconds,
        }
    }

    pub fn run(mut self) {
        let mut retry = limits::DISK_RETRY_FLOOR;
        loop {
            let stopping = self.stopping.load(Ordering::Acquire);
            self.save_cursors(stopping);
            self.wait_for_retention(stopping);
            match self.write().and_then(|wrote| self.flush().map(|()| wrote)) {
                Ok(wrote) => {
                    retry = limits::DISK_RETRY_FLOOR;
                    self.recovered();
                    if stopping && !wrote {
                        return self.finish();
                    }
                    if !wrote {
                        self.alarms.own.wait(self.next_deadline());
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    if stopping {
                        return;
                    }
                    // Waits to the end: who appends meanwhile need not wake it.
                    std::thread::sleep(retry);
                    retry = (retry * 2).min(limits::DISK_RETRY_CEILING);
                }
            }
        }
    }

    /// Writes what the head has; answers whether there was anything.
    fn write(&mut self) -> io::Result<bool> {
        if self.runs.is_empty() && !self.take() {
            return Ok(false);
        }
        self.segments.write(&mut self.runs)?;
        self.log.note_stored(self.taken_to, self.taken_bytes);
        self.alarms.written.ring();
        if self.segments.files().bytes() > self.retention_bytes_max {
            self.alarms.housekeeper.ring();
        }
        Ok(true)
    }

    /// Takes the next piece from the head; answers whether there was one.
    fn take(&mut self) -> bool {
        let chunks = self.log.head().chunks_from(self.taken_to, limits::WRITE_BYTES);
        let Some(last) = chunks.last() else { return false };
        self.taken_to = last.end_offset();
        self.taken_bytes = chunks.iter().map(|chunk| chunk.info.durable_bytes).sum();
        for chunk in &chunks {
            push_runs(chunk, &mut self.runs);
        }
        true
    }

    /// Writes the cursors down that have moved, a few dozen times a second at most.
    fn save_cursors(&mut self, now: bool) {
        if !self.log.have_cursors_moved() || !(now || self.cursors_are_due()) {
            return;
        }
        self.cursors_saved_at = Instant::now();
        let changes = self.log.take_moved_cursors();
        if !changes.is_empty() {
            self.log.append_changes(&changes, unix_micros());
        }
    }

    fn cursors_are_due(&self) -> bool {
        self.cursors_saved_at.elapsed() >= limits::CURSOR_INTERVAL
    }

    /// The files are as long as they may be: what is not needed goes first. Not for ever, because what cannot be
    /// removed must not keep messages from being stored.
    fn wait_for_retention(&self, stopping: bool) {
        for _ in 0..limits::RETENTION_PAUSES_MAX {
            let is_too_long = self.segments.files().bytes()
                > self.retention_bytes_max.saturating_add(self.segment_bytes / 2);
            let is_worth_waiting =
                !self.log.is_full() && !stopping && self.log.are_places_known() && !self.has_stopped();
            if !is_too_long || !is_worth_waiting {
                return;
            }
            self.alarms.housekeeper.ring();
            self.alarms.written.ring();
            std::thread::sleep(limits::RETENTION_PAUSE);
        }
    }

    fn has_stopped(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes back a flush that is done, and begins one that is due.
    fn flush(&mut self) -> io::Result<()> {
        match self.flusher.outcomes.try_recv() {
            Ok(outcome) => {
                let flushed_to = self.flushing_to.take();
                self.sync_seconds.observe(self.flushed_at.elapsed().as_secs_f64());
                match self.segments.finish_sync(outcome) {
                    Ok(_) => self.log.note_synced(flushed_to.unwrap_or(0)),
                    Err(error) => {
                        log::error!(
                            "the log could not be flushed: {error}; its newest part is written again"
                        );
                        self.needs_rewrite = true;
                    }
                }
            }
            Err(TryRecvError::Disconnected) => return Err(io::Error::other("the flushing thread is gone")),
            Err(TryRecvError::Empty) => {}
        }
        if self.needs_rewrite {
            self.segments.rewrite_unsynced()?;
            self.needs_rewrite = false;
        }
        let is_due = self.flushed_at.elapsed() >= self.sync_interval;
        let watermarks = self.log.watermarks();
        let is_behind = watermarks.get(Mark::Synced) < watermarks.get(Mark::Stored);
        if self.flushing_to.is_none() && is_behind && (is_due || watermarks.take_sync_wanted()) {
            self.flushed_at = Instant::now();
            self.flushing_to = Some(watermarks.get(Mark::Stored));
            let sent = self.flusher.jobs.send(self.segments.files_to_sync());
            sent.map_err(|_| io::Error::other("the flushing thread is gone"))?;
        }
        Ok(())
    }

    /// When there may be something to do without anybody ringing.
    fn next_deadline(&self) -> Option<Duration> {
        let watermarks = self.log.watermarks();
        let is_behind = watermarks.get(Mark::Synced) < watermarks.get(Mark::Stored);
        let flush = (is_behind && self.flushing_to.is_none())
            .then(|| self.sync_interval.saturating_sub(self.flushed_at.elapsed()));
        let cursors = self
            .log
            .have_cursors_moved()
            .then(|| limits::CURSOR_INTERVAL.saturating_sub(self.cursors_saved_at.elapsed()));
        [flush, cursors].into_iter().flatten().min()
    }

    /// The proxy stops: everything is flushed.
    fn finish(mut self) {
        if self.flushing_to.take().is_some()
            && let Ok(outcome) = self.flusher.outcomes.recv()
            && let Err(error) = self.segments.finish_sync(outcome)
        {
            log::error!("the log could not be flushed: {error}");
        }
        let outcome = self.segments.files_to_sync().run();
        let synced = self.segments.finish_sync(outcome).or_else(|_| self.segments.rewrite_unsynced());
        match synced {
            Ok(_) => self.log.note_synced(self.taken_to),
            Err(error) => log::error!("the log could not be flushed: {error}"),
        }
    }

    fn failed(&self, error: &io::Error) {
        if self.log.watermarks().set_failure(Some(error.to_string())) {
            log::error!("the log cannot be written: {error}; acknowledgements wait until it can");
        }
    }

    fn recovered(&self) {
        let watermarks = self.log.watermarks();
        if watermarks.is_failing() && watermarks.set_failure(None) {
            log::info!("the log is written again");
        }
    }
}

/// The stretches of a chunk that go to disk.
fn push_runs(chunk: &Chunk, runs: &mut VecDeque<Run>) {
    if chunk.info.durable_records == 0 {
        return;
    }
    if chunk.info.durable_records == chunk.info.records {
        runs.push_back(run(chunk, 0..chunk.bytes.len(), chunk.first_offset, chunk.end_offset()));
        return;
    }
    let (mut start, mut position, mut first_offset) = (0, 0, chunk.first_offset);
    for offset in chunk.first_offset..chunk.end_offset() {
        let rest = &chunk.bytes[position..];
        let record_bytes = record::claimed_len(rest).unwrap_or(rest.len());
        if !record::is_durable(rest) {
            if position > start {
                runs.push_back(run(chunk, start..position, first_offset, offset));
            }
            (start, first_offset) = (position + record_bytes, offset + 1);
        }
        position += record_bytes;
    }
    if position > start {
        runs.push_back(run(chunk, start..position, first_offset, chunk.end_offset()));
    }
}

fn run(chunk: &Chunk, range: std::ops::Range<usize>, first_offset: u64, end_offset: u64) -> Run {
    let bytes = chunk.bytes.slice(range);
    let first_received_at_micros = record::decode(&bytes).map_or(0, |(record, _)| record.received_at_micros);
    Run { first_offset, end_offset, first_received_at_micros, bytes }
}
