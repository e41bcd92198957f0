//! Whatever happens to the files in whatever order, reading finds what a map of offsets to records says.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;

use super::memory_disk::Fault;
use super::*;
use crate::message_log::segment::ReadCursor;

#[derive(Clone, Debug)]
enum Step {
    /// Writes a run for each list of (gap before, payload length).
    Write(Vec<Vec<(u64, usize)>>),
    /// The same, with a disk that takes so much and then is full.
    WriteToFullDisk(Vec<Vec<(u64, usize)>>, usize, bool),
    Sync,
    FailSync,
    Reopen,
    /// Flips a bit: which file, which byte, which bit.
    Flip(prop::sample::Index, prop::sample::Index, u8),
    /// While the log is closed, cuts a file or makes it longer.
    Cut(prop::sample::Index, prop::sample::Index),
    Extend(prop::sample::Index, Vec<u8>),
    Read(usize),
    RemoveOldest,
}

fn runs_of() -> impl Strategy<Value = Vec<Vec<(u64, usize)>>> {
    let payload = prop_oneof![9 => 0usize..80, 1 => 300usize..2_000];
    prop::collection::vec(prop::collection::vec((0u64..5, payload), 1..5), 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    let any_index = any::<prop::sample::Index>;
    prop_oneof![
        6 => runs_of().prop_map(Step::Write),
        2 => (runs_of(), 0usize..600, any::<bool>())
            .prop_map(|(runs, taken, cut)| Step::WriteToFullDisk(runs, taken, cut)),
        2 => Just(Step::Sync),
        1 => Just(Step::FailSync),
        2 => Just(Step::Reopen),
        2 => (any_index(), any_index(), 0u8..8).prop_map(|(file, byte, bit)| Step::Flip(file, byte, bit)),
        1 => (any_index(), any_index()).prop_map(|(file, byte)| Step::Cut(file, byte)),
        1 => (any_index(), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(file, bytes)| Step::Extend(file, bytes)),
        4 => (1usize..500).prop_map(Step::Read),
        1 => Just(Step::RemoveOldest),
    ]
}

struct Model {
    disk: Arc<MemoryDisk>,
    segment_bytes: u64,
    opened: Opened,
    next_offset: u64,
    records: BTreeMap<u64, Bytes>,
    cursor: ReadCursor,
    /// Records before this offset are removed; a cursor may still find them in the file that it has open.
    removed_below: u64,
    /// What was damaged. A write that failed may have left another copy, which may come to light again.
    damaged: BTreeMap<u64, Bytes>,
}

impl Model {
    fn new(segment_bytes: u64) -> Model {
        let disk = MemoryDisk::new();
        let opened = open_on(&disk, segment_bytes);
        let cursor = opened.files.cursor_at(0).unwrap();
        Model {
            disk,
            segment_bytes,
            opened,
            next_offset: 0,
            records: BTreeMap::new(),
            cursor,
            removed_below: 0,
            damaged: BTreeMap::new(),
        }
    }

    fn runs(&mut self, shape: &[Vec<(u64, usize)>]) -> VecDeque<Run> {
        let mut runs = VecDeque::new();
        for of_run in shape {
            let mut bytes = BytesMut::new();
            let mut first_offset = None;
            for (gap, payload_bytes) in of_run {
                let offset = self.next_offset + gap;
                let record = record_bytes(offset, *payload_bytes);
                bytes.extend_from_slice(&record);
                self.records.insert(offset, record);
                first_offset.get_or_insert(offset);
                self.next_offset = offset + 1;
            }
            let first_offset = first_offset.unwrap();
            runs.push_back(Run {
                first_offset,
                end_offset: self.next_offset,
                first_received_at_micros: time_of(first_offset),
                bytes: bytes.freeze(),
            });
        }
        runs
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(shape) => {
                let mut runs = self.runs(shape);
                self.opened.writer.write(&mut runs).unwrap();
            }
            Step::WriteToFullDisk(shape, taken, cut_fails) => {
                self.write_to_full_disk(shape, *taken, *cut_fails)
            }
            Step::Sync => assert_eq!(sync(&mut self.opened).unwrap(), self.opened.files.end_offset()),
            Step::FailSync => {
                self.disk.plan.lock().unwrap().syncs.push_back(Fault::Fail(ErrorKind::Other));
                let _ = sync(&mut self.opened);
                self.disk.plan.lock().unwrap().syncs.clear();
                let end = self.opened.writer.rewrite_unsynced().unwrap();
                assert!(end <= self.opened.files.end_offset());
                assert_eq!(sync(&mut self.opened).unwrap(), self.opened.files.end_offset());
            }
            Step::Reopen => self.reopen(|_| ()),
            Step::Flip(file, byte, bit) => {
                let Some(path) = self.pick(file) else { return };
                let length = self.disk.data(&path).len();
                if length > 0 {
                    let byte = byte.index(length);
                    self.lose(&path, byte..byte + 1);
                    self.disk.change(&path, |data| data[byte] ^= 1 << bit);
                }
            }
            Step::Cut(file, byte) => {
                let Some(path) = self.pick(file) else { return };
                let length = self.disk.data(&path).len();
                let kept = byte.index(length + 1);
                self.lose(&path, kept..length);
                self.reopen(|disk| disk.change(&path, |data| data.truncate(kept)));
            }
            Step::Extend(file, bytes) => {
                let Some(path) = self.pick(file) else { return };
                self.reopen(|disk| disk.change(&path, |data| data.extend_from_slice(bytes)));
            }
            Step::Read(bytes_max) => self.read(*bytes_max),
            Step::RemoveOldest => {
                if let Some(removed) = self.opened.files.remove_oldest().unwrap() {
                    self.records.retain(|offset, _| *offset >= removed.end_offset);
                    self.removed_below = removed.end_offset;
                }
            }
        }
    }

    fn write_to_full_disk(&mut self, shape: &[Vec<(u64, usize)>], taken: usize, cut_fails: bool) {
        let mut plan = self.disk.plan.lock().unwrap();
        plan.appends.extend([Fault::Short(taken), Fault::Fail(ErrorKind::StorageFull)]);
        if cut_fails {
            plan.set_lens.push_back(Fault::Fail(ErrorKind::Other));
        }
        drop(plan);
        let mut runs = self.runs(shape);
        while self.opened.writer.write(&mut runs).is_err() {}
        assert!(runs.is_empty());
        let mut plan = self.disk.plan.lock().unwrap();
        plan.appends.clear();
        plan.set_lens.clear();
    }

    /// A file, log or index.
    fn pick(&self, index: &prop::sample::Index) -> Option<PathBuf> {
        let names = self.disk.names();
        if names.is_empty() { None } else { Some(Path::new(DIR).join(index.get(&names))) }
    }

    /// Forgets the records that have a byte in a part of a file.
    fn lose(&mut self, path: &Path, part: std::ops::Range<usize>) {
        let data = self.disk.data(path);
        let summaries = self.opened.files.summaries();
        let Some(summary) = summaries.iter().find(|summary| summary.path == path) else { return };
        self.records.retain(|offset, bytes| {
            let is_here = *offset >= summary.first_offset && *offset < summary.end_offset;
            let place =
                if is_here { data.windows(bytes.len()).position(|window| window == bytes) } else { None };
            let is_whole = place.is_none_or(|start| start >= part.end || start + bytes.len() <= part.start);
            if !is_whole {
                self.damaged.insert(*offset, bytes.clone());
            }
            is_whole
        });
    }

    /// Closes the log, changes something, opens it.
    fn reopen(&mut self, change: impl FnOnce(&MemoryDisk)) {
        let old = open_on(&MemoryDisk::new(), 1);
        drop(std::mem::replace(&mut self.opened, old));
        change(&self.disk);
        self.opened = open_on(&self.disk, self.segment_bytes);
        self.next_offset = self.opened.next_offset;
        let last = self.records.last_key_value().map_or(0, |(offset, _)| offset + 1);
        assert!(self.next_offset >= last);
        self.cursor = self.opened.files.cursor_at(self.cursor.next_offset()).unwrap();
    }

    /// Reads on with the cursor that stays: no record that is there is passed by.
    fn read(&mut self, bytes_max: usize) {
        let from = self.cursor.next_offset();
        let block = self.opened.files.read(&mut self.cursor, bytes_max).unwrap();
        let mut rest = block.bytes.clone();
        let mut expected = self.records.range(from..);
        while let Some((record, length)) = record::decode(&rest) {
            let is_back = self.damaged.get(&record.offset).is_some_and(|bytes| bytes[..] == rest[..length]);
            let is_known = self.records.contains_key(&record.offset);
            if record.offset >= self.removed_below && (is_known || !is_back) {
                assert_eq!(expected.next().map(|(offset, _)| *offset), Some(record.offset));
            }
            rest = rest.slice(length..);
        }
        assert!(rest.is_empty());
        if block.bytes.is_empty() {
            assert_eq!(expected.next(), None);
        }
    }

    fn check(&self, from: u64) {
        let (mut found, _) = read_all(&self.opened.files, from);
        assert!(found.is_sorted_by(|left, right| left.0 < right.0));
        let first = found.first().map(|(offset, _)| *offset);
        found.retain(|(offset, bytes)| {
            self.records.contains_key(offset) || self.damaged.get(offset) != Some(bytes)
        });
        let wanted: Vec<(u64, Bytes)> =
            self.records.range(from..).map(|(offset, bytes)| (*offset, bytes.clone())).collect();
        let offsets =
            |records: &[(u64, Bytes)]| records.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
        assert_eq!(offsets(&found), offsets(&wanted));
        assert_eq!(found, wanted);
        let at_time = self.opened.files.offset_at_time(time_of(from)).unwrap();
        assert_eq!(at_time, first.unwrap_or(self.opened.files.end_offset()));
        assert!(self.opened.files.bytes_from(from) <= self.opened.files.bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn reading_finds_what_the_model_says(
        segment_bytes in prop::sample::select(vec![1, 400, 2_000, 100_000]),
        steps in prop::collection::vec((step(), 0u64..60), 1..25),
    ) {
        let mut model = Model::new(segment_bytes);
        for (step, from) in &steps {
            model.apply(step);
            model.check(*from);
        }
        model.check(0);
    }
}
