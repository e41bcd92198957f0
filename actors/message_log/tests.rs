//! The log against a plain list of messages.

use bytes::Bytes;
use mqtt::{Properties, QoS, TopicName};

use super::*;

fn message(text: &str) -> Message {
    Message {
        topic_name: TopicName::new("t").unwrap(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn append(log: &MessageLog, texts: impl IntoIterator<Item = String>) -> Appended {
    let messages: Vec<Message> = texts.into_iter().map(|text| message(&text)).collect();
    log.append_plain(messages.iter(), Origin::Device, 0)
}

fn read_all(reader: &mut LogReader) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Some((offset, record)) = reader.peek() {
        all.push((offset, String::from_utf8(record.payload.to_vec()).unwrap()));
        reader.advance();
    }
    all
}

fn numbers(from: u64, to: u64) -> Vec<(u64, String)> {
    (from..to).map(|number| (number, number.to_string())).collect()
}

fn texts(from: u64, to: u64) -> impl Iterator<Item = String> {
    (from..to).map(|number| number.to_string())
}

#[test]
fn every_reader_sees_every_message_in_order_at_its_own_pace() {
    let log = MessageLog::new(1 << 20);
    let (mut quick, mut slow) = (log.place(None).reader(), log.place(None).reader());
    append(&log, texts(0, 10));
    assert_eq!(read_all(&mut quick), numbers(0, 10));
    append(&log, texts(10, 20));
    assert_eq!(read_all(&mut quick), numbers(10, 20));
    assert_eq!(read_all(&mut slow), numbers(0, 20));
}

#[test]
fn a_new_reader_starts_at_the_end() {
    let log = MessageLog::new(1 << 20);
    let _keeper = log.place(None).reader();
    append(&log, texts(0, 3));
    let mut late = log.place(None).reader();
    assert_eq!(late.peek(), None);
    append(&log, texts(3, 5));
    assert_eq!(read_all(&mut late), numbers(3, 5));
}

#[test]
fn a_place_outlives_its_reader_and_the_next_one_goes_on_at_the_cursor() {
    let log = MessageLog::new(1 << 20);
    let place = log.place(None);
    let mut first = place.reader();
    append(&log, texts(0, 10));
    read_all(&mut first);
    first.publish(4, None);
    drop(first);
    append(&log, texts(10, 12));
    assert_eq!(read_all(&mut place.reader()), numbers(4, 12));
    drop(place);
    assert_eq!(log.head_bytes(), 0);
}

#[test]
fn memory_is_given_back_when_all_cursors_have_passed() {
    let log = MessageLog::new(1 << 24);
    let (mut one, mut other) = (log.place(None).reader(), log.place(None).reader());
    append(&log, (0..2_000).map(|_| "x".repeat(1_000)));
    read_all(&mut one);
    one.publish(2_000, None);
    assert!(log.head_bytes() > 2_000_000, "the other reader still needs them");
    read_all(&mut other);
    other.publish(2_000, None);
    assert_eq!(log.head_bytes(), 0);
}

#[test]
fn what_is_in_flight_stays_readable_until_the_cursor_passes() {
    let log = MessageLog::new(1 << 20);
    let mut reader = log.place(None).reader();
    append(&log, texts(0, 100));
    read_all(&mut reader);
    reader.publish(40, None);
    let mut text = |offset| reader.visit(offset, |record| record.payload.to_vec());
    assert_eq!(text(40), Some(b"40".to_vec()));
    assert_eq!(text(99), Some(b"99".to_vec()));
    assert_eq!(text(100), None);
}

#[test]
fn an_absent_reader_loses_the_oldest_and_the_loss_is_counted() {
    let log = MessageLog::new(limits::LOG_CHUNK_BYTES * 4);
    let (absent_place, present_place) = (log.place(None), log.place(None));
    let (mut absent, mut present) = (absent_place.reader(), present_place.reader());
    let total = 20_000_u64;
    let mut seen = 0;
    for number in 0..total {
        append(&log, [format!("{number:0>200}")]);
        seen += read_all(&mut present).len() as u64;
        present.publish(present.position(), None);
    }
    assert_eq!(seen, total);
    assert_eq!(present_place.take_overflowed(), 0);
    assert!(absent_place.lag().messages > present_place.lag().messages);
    assert!(log.head_bytes() <= limits::LOG_CHUNK_BYTES * 4);
    let left = read_all(&mut absent);
    let lost = absent_place.take_overflowed();
    assert!(lost > 0);
    assert_eq!(lost + left.len() as u64, total);
    assert_eq!(left.first().map(|(offset, _)| *offset), Some(lost));
    assert_eq!(absent_place.take_overflowed(), 0, "reported once");
}

#[test]
fn what_a_reader_holds_already_is_not_lost() {
    let log = MessageLog::new(limits::LOG_CHUNK_BYTES * 2);
    let place = log.place(None);
    let mut reader = place.reader();
    append(&log, texts(0, 100));
    assert_eq!(reader.peek().map(|(offset, _)| offset), Some(0));
    let mut appended = 100;
    while place.lag().messages < 10_000 && log.head_bytes() < limits::LOG_CHUNK_BYTES * 3 / 2 {
        append(&log, [format!("{appended:0>200}")]);
        appended += 1;
    }
    for _ in 0..10_000 {
        append(&log, [format!("{appended:0>200}")]);
        appended += 1;
    }
    let read = read_all(&mut reader).len() as u64;
    assert_eq!(read + place.take_overflowed(), appended);
}

#[test]
fn only_wanted_messages_count_as_lost() {
    let log = MessageLog::new(limits::LOG_CHUNK_BYTES);
    let wants: Wants = Box::new(|record| record.payload.ends_with(b"7"));
    let place = log.place(Some(wants));
    let mut picky = place.reader();
    for number in 0..10_000 {
        append(&log, [format!("{number:0>100}")]);
    }
    let left = read_all(&mut picky).iter().filter(|(_, text)| text.ends_with('7')).count() as u64;
    assert_eq!(place.take_overflowed() + left, 1_000);
}

#[test]
fn a_message_larger_than_a_chunk_passes() {
    let log = MessageLog::new(1 << 24);
    let mut reader = log.place(None).reader();
    let large = "y".repeat(limits::LOG_CHUNK_BYTES * 3);
    append(&log, ["a".to_owned(), large.clone(), "b".to_owned()]);
    let texts: Vec<String> = read_all(&mut reader).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["a".to_owned(), large, "b".to_owned()]);
}

#[test]
fn publishers_wait_for_a_connected_reader_only() {
    let log = MessageLog::new(limits::LOG_CHUNK_BYTES * 4);
    let mut reader = log.place(None).reader();
    let half = || (0..2_600).map(|_| "z".repeat(200));
    assert!(append(&log, half()).wait_for.is_none(), "nobody waits for an absent broker");
    read_all(&mut reader);
    reader.publish(reader.position(), None);
    reader.set_connected(true);
    reader.publish(reader.position(), None);
    assert!(append(&log, half()).wait_for.is_some());
    read_all(&mut reader);
    reader.publish(reader.position(), None);
    assert!(append(&log, ["more".to_owned()]).wait_for.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_move_is_waited_for_once_and_no_longer() {
    let log = MessageLog::new(limits::LOG_CHUNK_BYTES * 4);
    let mut reader = log.place(None).reader();
    reader.set_connected(true);
    reader.publish(0, None);
    let half = || (0..2_600).map(|_| "z".repeat(200));
    assert!(append(&log, half()).wait_for.is_some());
    log.room(Laggard::Readers).await;
    assert!(append(&log, half()).wait_for.is_none(), "it lost the others' patience");
    read_all(&mut reader);
    reader.publish(reader.position(), None);
    assert!(append(&log, half()).wait_for.is_some(), "it caught up");
}

/// A log whose disk takes nothing.
fn log_without_a_disk(head_bytes_max: usize) -> Head {
    let policy = HeadPolicy { has_files: true, persist_qos0: false };
    let mut head = Head::new(0, policy);
    let mut append = |text: String, qos: QoS| {
        let message = Message { qos, ..message(&text) };
        head.append(Entry { message: &message, annex: &[] }, Origin::Device, 1);
        head.evict(head_bytes_max, 0);
    };
    append("kept".to_owned(), QoS::AtLeastOnce);
    for number in 0..20_000 {
        append(format!("{number:0>200}"), QoS::AtMostOnce);
    }
    append("kept too".to_owned(), QoS::AtLeastOnce);
    head
}

#[test]
fn while_the_disk_fails_memory_stays_bounded_and_what_has_to_be_stored_is_kept() {
    let head_bytes_max = limits::LOG_CHUNK_BYTES * 4;
    let mut head = log_without_a_disk(head_bytes_max);
    assert!(head.bytes() <= head_bytes_max + limits::LOG_CHUNK_BYTES, "{}", head.bytes());
    let chunks = head.chunks_from(0, usize::MAX);
    let records = chunks.iter().flat_map(|chunk| record::each(&chunk.bytes));
    let kept: Vec<_> =
        records.filter(|record| record.qos > QoS::AtMostOnce).map(|record| record.payload).collect();
    assert_eq!(kept, [&b"kept"[..], b"kept too"]);
    assert_eq!(head.bytes(), chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>());
}
