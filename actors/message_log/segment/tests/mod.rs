//! Tests of the log's files, most of them on a disk in memory that fails on demand.

mod basics;
mod damage;
mod faults;
mod inspect;
mod memory_disk;
mod model;
mod startup;
mod threads;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mqtt::{Message, Properties, QoS, TopicName};

use self::memory_disk::MemoryDisk;
use super::{Disk, Opened, Run, SegmentFiles, SegmentOptions, open};
use crate::Origin;
use crate::message_log::record;

const DIR: &str = "log";

/// The time of the record at an offset.
fn time_of(offset: u64) -> u64 {
    1_000_000 + 10 * offset
}

/// A record as it stands in memory and in a file.
fn record_bytes(offset: u64, payload_bytes: usize) -> Bytes {
    let mut buffer = BytesMut::new();
    if offset % 5 == 4 {
        record::encode_state(&vec![offset as u8; payload_bytes], offset, time_of(offset), &mut buffer);
        return buffer.freeze();
    }
    let message = Message {
        topic_name: TopicName::new(format!("t/{offset}")).unwrap(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::from(vec![offset as u8; payload_bytes]),
    };
    let envelope = record::Envelope {
        offset,
        origin: Origin::Device,
        received_at_micros: time_of(offset),
        annex: &[],
        durable: true,
    };
    record::encode(&message, &envelope, &mut buffer);
    buffer.freeze()
}

/// A run of one record for each offset.
fn run_of(offsets: &[u64], payload_bytes: usize) -> Run {
    let mut bytes = BytesMut::new();
    for offset in offsets {
        bytes.extend_from_slice(&record_bytes(*offset, payload_bytes));
    }
    Run {
        first_offset: offsets[0],
        end_offset: offsets[offsets.len() - 1] + 1,
        first_received_at_micros: time_of(offsets[0]),
        bytes: bytes.freeze(),
    }
}

fn queue(runs: impl IntoIterator<Item = Run>) -> VecDeque<Run> {
    runs.into_iter().collect()
}

fn options(segment_bytes: u64) -> SegmentOptions {
    SegmentOptions { dir: PathBuf::from(DIR), segment_bytes }
}

fn open_on(disk: &Arc<MemoryDisk>, segment_bytes: u64) -> Opened {
    open(options(segment_bytes), disk.clone() as Arc<dyn Disk>).unwrap_or_else(|error| panic!("{error}"))
}

/// The path of the segment named by an offset.
fn path(first_offset: u64) -> PathBuf {
    Path::new(DIR).join(super::header::log_name(first_offset))
}

/// All records from an offset on, and the damaged bytes that were passed. Each one is checked to be whole.
fn read_all(files: &SegmentFiles, from: u64) -> (Vec<(u64, Bytes)>, u64) {
    let mut cursor = files.cursor_at(from).unwrap();
    let mut found = Vec::new();
    let mut corrupt_bytes = 0;
    for _ in 0..1_000_000 {
        let block = files.read(&mut cursor, 700).unwrap();
        corrupt_bytes += block.corrupt_bytes;
        if block.bytes.is_empty() {
            assert_eq!(block.end_offset, cursor.next_offset());
            return (found, corrupt_bytes);
        }
        let before = found.len();
        let mut rest = block.bytes.clone();
        while let Some((offset, length)) =
            record::decode(&rest).map(|(record, length)| (record.offset, length))
        {
            let whole = rest.split_to(length);
            assert!(record::is_intact(&whole));
            found.push((offset, whole));
        }
        assert!(rest.is_empty());
        assert_eq!(found[before].0, block.first_offset);
        assert_eq!(found[found.len() - 1].0 + 1, block.end_offset);
    }
    panic!("reading does not end");
}

fn offsets(files: &SegmentFiles, from: u64) -> Vec<u64> {
    read_all(files, from).0.into_iter().map(|(offset, _)| offset).collect()
}

/// Syncs everything here and now.
fn sync(opened: &mut Opened) -> std::io::Result<u64> {
    let outcome = opened.writer.files_to_sync().run();
    opened.writer.finish_sync(outcome)
}
