//! The whole log on a real disk against a plain list: appends, readers at their own pace, restarts, retention.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt::{Message, Properties, QoS, TopicName};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::message_log::{Bound, LogPlace, LogReader, Mark};
use crate::storage::Storage;
use crate::store::StoredState;
use crate::{BrokerId, Metrics, Origin};

/// A directory that is gone with the test.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        let path = std::env::temp_dir().join(format!("log-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        TestDir(path)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(dir: &Path, retention_bytes_max: u64) -> DiskOptions {
    DiskOptions {
        dir: dir.join("log"),
        segment_bytes: 128 * 1024,
        retention_bytes_max,
        retention: None,
        history_bytes_max: 0,
        sync_interval: Duration::from_millis(20),
        persist_qos0: false,
        head_bytes_max: 512 * 1024,
    }
}

fn open(dir: &Path, retention_bytes_max: u64) -> (Storage, StoredState) {
    let metrics = Arc::new(Metrics::new().unwrap());
    Storage::open(dir, options(dir, retention_bytes_max), &metrics).unwrap()
}

fn message(number: u64, qos: QoS, bytes: usize) -> Message {
    Message {
        topic_name: TopicName::new("t").unwrap(),
        qos,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::from(format!("{number:0>bytes$}")),
    }
}

fn broker(index: usize) -> BrokerId {
    BrokerId(Uuid::from_u128(index as u128 + 1))
}

fn place(storage: &Storage, stored: &StoredState, index: usize) -> Arc<LogPlace> {
    let cursor = stored.upstreams.get(&broker(index)).and_then(|upstream| upstream.cursor);
    let log = storage.log();
    let cursor = cursor.unwrap_or_else(|| log.next_offset());
    log.place_of(broker(index), cursor, None, None)
}

/// The next message and its offset; `None` at the end of the log.
async fn next(reader: &mut LogReader) -> Option<(u64, u64)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some((offset, record)) = reader.peek_message() {
            let number = std::str::from_utf8(record.payload).unwrap().parse().unwrap();
            reader.advance();
            return Some((offset, number));
        }
        if reader.is_at_end() {
            return None;
        }
        assert!(Instant::now() < deadline, "the files are not read");
        let more = poll_fn(|task| reader.poll_backlog(task));
        let _ = tokio::time::timeout(Duration::from_millis(5), more).await;
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many messages, every third one at QoS 0, of so many bytes.
    Append(u64, usize),
    /// The reader reads so many messages and acknowledges all of them.
    Read(usize, usize),
    /// The process ends in order, and the next one begins.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..60, 10usize..20_000).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        4 => (0usize..3, 1usize..80).prop_map(|(reader, count)| Step::Read(reader, count)),
        1 => Just(Step::Restart),
    ]
}

/// What a reader should see, and has.
#[derive(Default)]
struct Model {
    /// Number and QoS of every message since the reader began.
    appended: Vec<(u64, QoS)>,
    seen: BTreeSet<u64>,
    last: Option<u64>,
}

impl Model {
    fn saw(&mut self, number: u64) {
        assert!(self.last.is_none_or(|last| number > last), "{number} after {:?}", self.last);
        self.last = Some(number);
        self.seen.insert(number);
    }

    /// After a restart a reader may see again what it had not acknowledged.
    fn restarted(&mut self) {
        self.last = None;
    }
}

async fn run(steps: Vec<Step>) {
    let dir = TestDir::new();
    let (mut storage, mut stored) = open(&dir.0, u64::MAX);
    let mut places: Vec<_> = (0..3).map(|index| place(&storage, &stored, index)).collect();
    storage.log().begin_retention();
    let mut readers: Vec<_> = places.iter().map(LogPlace::reader).collect();
    let mut models: [Model; 3] = std::array::from_fn(|_| Model::default());
    let mut number = 0;
    for step in steps {
        match step {
            Step::Append(count, bytes) => {
                let qos =
                    |number: u64| if number.is_multiple_of(3) { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                let batch: Vec<Message> =
                    (number..number + count).map(|number| message(number, qos(number), bytes)).collect();
                for model in &mut models {
                    model.appended.extend((number..number + count).map(|number| (number, qos(number))));
                }
                let appended = storage.log().append_plain(batch.iter(), Origin::Device, 1);
                number += count;
                let marks = storage.log().watermarks();
                until("stored", || marks.get(Mark::Stored) >= appended.durable_end).await;
            }
            Step::Read(index, count) => {
                for _ in 0..count {
                    let Some((_, number)) = next(&mut readers[index]).await else { break };
                    models[index].saw(number);
                }
                let position = readers[index].position();
                readers[index].publish(position, None);
            }
            Step::Restart => {
                drop((readers, places));
                storage.close();
                (storage, stored) = open(&dir.0, u64::MAX);
                places = (0..3).map(|index| place(&storage, &stored, index)).collect();
                storage.log().begin_retention();
                readers = places.iter().map(LogPlace::reader).collect();
                models.iter_mut().for_each(Model::restarted);
            }
        }
    }
    for (reader, model) in readers.iter_mut().zip(&mut models) {
        while let Some((_, number)) = next(reader).await {
            model.saw(number);
        }
        let missing: Vec<u64> = model
            .appended
            .iter()
            .filter(|(number, qos)| *qos > QoS::AtMostOnce && !model.seen.contains(number))
            .map(|(number, _)| *number)
            .collect();
        assert!(missing.is_empty(), "never seen: {missing:?}");
    }
    drop((readers, places));
    storage.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_reader_gets_every_durable_message_in_order_whatever_comes_between(
        steps in proptest::collection::vec(step(), 1..30)
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}

#[tokio::test]
async fn the_files_stay_within_their_bound_and_what_a_reader_loses_is_counted() {
    let dir = TestDir::new();
    let bound = 1024 * 1024;
    let (storage, stored) = open(&dir.0, bound);
    let absent = place(&storage, &stored, 0);
    storage.log().begin_retention();
    let total = 4_000;
    for number in 0..total {
        let batch = [message(number, QoS::AtLeastOnce, 2_000)];
        let end = storage.log().append_plain(batch.iter(), Origin::Device, 1).durable_end;
        let marks = storage.log().watermarks();
        until("stored", || marks.get(Mark::Stored) >= end).await;
        let bytes = storage.log().snapshot().file_bytes;
        assert!(bytes <= bound + 2 * 128 * 1024, "{bytes}");
    }
    until("old segments go", || storage.log().snapshot().file_bytes <= bound).await;
    let mut reader = absent.reader();
    let mut left = 0;
    while next(&mut reader).await.is_some() {
        left += 1;
    }
    assert!(left > 100, "{left} are still there");
    assert_eq!(left + absent.take_overflowed(), total);
    drop((reader, absent));
    storage.close();
}

#[tokio::test]
async fn the_backlog_of_a_broker_that_was_drained_stays_until_the_process_ends() {
    let dir = TestDir::new();
    let (storage, stored) = open(&dir.0, u64::MAX);
    let [away, marker] = [0, 1].map(|index| place(&storage, &stored, index));
    storage.log().begin_retention();
    let batch: Vec<Message> = (0..1_000).map(|number| message(number, QoS::AtLeastOnce, 2_000)).collect();
    storage.log().append_plain(batch.iter(), Origin::Device, 1);
    drop(away);
    // Each bound is kept in a round of its own, and in each round old segments may go.
    for bytes_max in [1024 * 1024, 512 * 1024, 256 * 1024] {
        marker.set_bound(Bound { bytes_max: Some(bytes_max), may_lose: true });
        until("the files were looked after", || marker.lag().bytes <= bytes_max).await;
    }
    drop(marker);
    storage.close();

    let (storage, stored) = open(&dir.0, u64::MAX);
    let away = place(&storage, &stored, 0);
    storage.log().begin_retention();
    let mut reader = away.reader();
    let mut seen = 0;
    while next(&mut reader).await.is_some() {
        seen += 1;
    }
    assert_eq!((seen, away.take_overflowed()), (1_000, 0));
    drop((reader, away));
    storage.close();
}

#[tokio::test]
async fn a_reader_with_a_bound_of_its_own_loses_its_oldest_and_others_nothing() {
    let dir = TestDir::new();
    let (storage, stored) = open(&dir.0, u64::MAX);
    let (bounded, other) = (place(&storage, &stored, 0), place(&storage, &stored, 1));
    bounded.set_bound(Bound { bytes_max: Some(512 * 1024), may_lose: true });
    storage.log().begin_retention();
    let batch: Vec<Message> = (0..2_000).map(|number| message(number, QoS::AtLeastOnce, 2_000)).collect();
    storage.log().append_plain(batch.iter(), Origin::Device, 1);
    until("it gives up its oldest", || bounded.lag().bytes <= 512 * 1024).await;
    let (mut bounded_reader, mut other_reader) = (bounded.reader(), other.reader());
    let (mut at_bounded, mut at_other) = (0, 0);
    while next(&mut bounded_reader).await.is_some() {
        at_bounded += 1;
    }
    while next(&mut other_reader).await.is_some() {
        at_other += 1;
    }
    assert_eq!((at_other, other.take_overflowed()), (2_000, 0));
    assert!(at_bounded > 50, "{at_bounded} are still there");
    assert_eq!(at_bounded + bounded.take_overflowed(), 2_000);
    drop((bounded_reader, other_reader, bounded, other));
    storage.close();
}

#[tokio::test]
async fn a_reader_that_may_lose_nothing_fills_the_log_until_it_has_caught_up() {
    let dir = TestDir::new();
    let (storage, stored) = open(&dir.0, 512 * 1024);
    let strict = place(&storage, &stored, 0);
    strict.set_bound(Bound { bytes_max: None, may_lose: false });
    storage.log().begin_retention();
    let batch: Vec<Message> = (0..600).map(|number| message(number, QoS::AtLeastOnce, 2_000)).collect();
    storage.log().append_plain(batch.iter(), Origin::Device, 1);
    until("the log is full", || storage.log().is_full()).await;
    let mut reader = strict.reader();
    let mut seen = 0;
    while next(&mut reader).await.is_some() {
        seen += 1;
    }
    assert_eq!((seen, strict.take_overflowed()), (600, 0));
    let position = reader.position();
    reader.publish(position, None);
    until("there is room again", || !storage.log().is_full()).await;
    drop((reader, strict));
    storage.close();
}
