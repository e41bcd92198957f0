//! What the log's files cost for a batch of 512 messages of 64 bytes: encoding it with checksums, writing it, flushing
//! it to the disk itself, and reading a backlog back with everything checked.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use actors::Origin;
use actors::message_log::record::{self, Envelope};
use actors::message_log::segment::{self, Opened, RealDisk, Run, SegmentOptions};
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt::{Message, Properties, QoS, TopicName};
use tempfile::TempDir;

const BATCH_MESSAGES: u64 = 512;
const PAYLOAD_BYTES: usize = 64;
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The backlog that is read back.
const BACKLOG_BATCHES: u64 = 200;
/// What one read takes.
const BLOCK_BYTES: usize = 256 * 1024;
/// Written segments go when there is more than this, so that a long run does not fill the disk.
const KEPT_BYTES: u64 = 512 * 1024 * 1024;

fn message() -> Message {
    Message {
        topic_name: TopicName::new("site/7/device/0042/temperature").expect("a topic"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
    }
}

/// A batch as the log's head hands it to the writer.
fn run_at(message: &Message, first_offset: u64) -> Run {
    let mut bytes = BytesMut::new();
    let end_offset = first_offset + BATCH_MESSAGES;
    for offset in first_offset..end_offset {
        let envelope = Envelope {
            offset,
            origin: Origin::Device,
            received_at_micros: offset,
            annex: &[],
            durable: true,
        };
        record::encode(message, &envelope, &mut bytes);
    }
    Run { first_offset, end_offset, first_received_at_micros: first_offset, bytes: bytes.freeze() }
}

fn open(directory: &TempDir) -> Opened {
    let options = SegmentOptions { dir: directory.path().to_owned(), segment_bytes: SEGMENT_BYTES };
    segment::open(options, Arc::new(RealDisk)).expect("the log can be opened")
}

/// Writes one more batch behind the last one.
fn write_one(opened: &mut Opened, message: &Message) {
    let run = run_at(message, opened.writer.end_offset());
    opened.writer.write(&mut VecDeque::from([run])).expect("the disk takes it");
    if opened.files.bytes() > KEPT_BYTES {
        opened.files.remove_oldest().expect("a file can be removed");
    }
}

fn sync(opened: &mut Opened) {
    let outcome = opened.writer.files_to_sync().run();
    opened.writer.finish_sync(outcome).expect("the disk takes it");
}

fn read_all(opened: &Opened) -> usize {
    let mut cursor = opened.files.cursor_at(0).expect("the log can be read");
    let mut bytes = 0;
    loop {
        let block = opened.files.read(&mut cursor, BLOCK_BYTES).expect("the log can be read");
        if block.bytes.is_empty() {
            return bytes;
        }
        bytes += black_box(&block.bytes).len();
    }
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a batch of 512 messages to the log's files");
    group.throughput(Throughput::Elements(BATCH_MESSAGES));
    let message = message();
    group.bench_function("encode with checksums", |bencher| {
        bencher.iter(|| black_box(run_at(&message, 1)));
    });
    for (name, is_synced) in [("encode and write", false), ("encode, write and sync", true)] {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut opened = open(&directory);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                write_one(&mut opened, &message);
                if is_synced {
                    sync(&mut opened);
                }
            });
        });
    }
    group.finish();
}

fn read_back(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a backlog of 102,400 messages from the log's files");
    group.throughput(Throughput::Elements(BACKLOG_BATCHES * BATCH_MESSAGES));
    group.sample_size(20);
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut opened = open(&directory);
    let message = message();
    for _ in 0..BACKLOG_BATCHES {
        write_one(&mut opened, &message);
    }
    group.bench_function("read back and check", |bencher| bencher.iter(|| read_all(&opened)));
    group.finish();
}

criterion_group!(benches, write, read_back);
criterion_main!(benches);
