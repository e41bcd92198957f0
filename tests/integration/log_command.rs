//! `mqtt-proxy log` on files that are whole, damaged, or being written: what it prints, how it ends, and that it
//! changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use actors::Origin;
use actors::message_log::record;
use actors::message_log::segment::{RealDisk, Run, SegmentOptions, open};
use bytes::{Bytes, BytesMut};
use mqtt::{Message, Properties, QoS, TopicName};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::proxy::command;

/// 2026-01-01T00:00:00Z.
const START_MICROS: u64 = 1_767_225_600_000_000;
const SECOND_MICROS: u64 = 1_000_000;
/// A file's header, and a record's.
const FILE_HEADER: usize = 40;

/// A record; every fifth is a change of state.
fn push_record(offset: u64, buffer: &mut BytesMut) {
    let at_micros = START_MICROS + offset * SECOND_MICROS;
    if offset % 5 == 4 {
        return record::encode_state(b"change", offset, at_micros, buffer);
    }
    let topic = if offset.is_multiple_of(2) { "even" } else { "odd" };
    let message = Message {
        topic_name: TopicName::new(format!("{topic}/{offset}")).expect("a Topic Name"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::from(format!("payload {offset}")),
    };
    let origin = Origin::Device;
    let envelope =
        record::Envelope { offset, origin, received_at_micros: at_micros, annex: &[], durable: true };
    record::encode(&message, &envelope, buffer);
}

/// A data directory with the records 0, 3, 6, ... in files of four each.
fn data(records: u64) -> TempDir {
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let options = SegmentOptions { dir: data.path().join("log"), segment_bytes: 1 };
    let mut opened = open(options, Arc::new(RealDisk)).unwrap_or_else(|error| panic!("{error}"));
    let offsets: Vec<u64> = (0..records).map(|place| 3 * place).collect();
    for of_run in offsets.chunks(4) {
        let mut buffer = BytesMut::new();
        of_run.iter().for_each(|offset| push_record(*offset, &mut buffer));
        let run = Run {
            first_offset: of_run[0],
            end_offset: of_run[of_run.len() - 1] + 1,
            first_received_at_micros: START_MICROS + of_run[0] * SECOND_MICROS,
            bytes: buffer.freeze(),
        };
        opened.writer.write(&mut VecDeque::from([run])).expect("the disk takes it");
    }
    data
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = command(data);
    command.arg("log").args(arguments).arg("--data").arg(data);
    command.output().expect("the command runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs it, and sees to it that it succeeds.
fn printed(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    stdout(&output)
}

fn dumped(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = printed(data, &[&["dump"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn offsets(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["offset"].as_u64().expect("an offset")).collect()
}

fn file(data: &Path, first_offset: u64) -> PathBuf {
    data.join("log").join(format!("{first_offset:020}.log"))
}

/// Everything in the directory.
fn contents(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(data.join("log")).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

#[test]
fn segments_shows_what_each_file_holds() {
    let data = data(10);
    let text = printed(data.path(), &["segments"]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 4, "{text}");
    let second = &lines[2];
    assert_eq!((second[0], second[1], second[2], second[3]), ("00000000000000000012.log", "12", "21", "4"));
    assert_eq!((second[5], second[6]), ("2026-01-01T00:00:12.000000Z", "2026-01-01T00:00:21.000000Z"));
    let bytes = fs::metadata(file(data.path(), 12)).expect("a file").len();
    assert_eq!(second[4], bytes.to_string());
}

#[test]
fn dump_prints_what_is_asked_for() {
    let data = data(10);
    let all = dumped(data.path(), &[]);
    assert_eq!(offsets(&all), (0..10).map(|place| 3 * place).collect::<Vec<_>>());
    assert_eq!(all[1]["topic"], "odd/3");
    assert_eq!(all[1]["payload"], "payload 3");
    assert_eq!(all[1]["time"], "2026-01-01T00:00:03.000000Z");
    assert_eq!(all[3], serde_json::json!({"offset": 9, "state": true}));
    for (arguments, wanted) in [
        (&["--from", "13"][..], &[15, 18, 21, 24, 27][..]),
        (&["--from", "4", "--to", "15"], &[6, 9, 12]),
        (&["--from", "2026-01-01T00:00:17.5Z"], &[18, 21, 24, 27]),
        (&["--from", "2026-01-01T01:00:12+01:00", "--to", "2026-01-01T00:00:18Z"], &[12, 15]),
        (&["--from", "2027-01-01T00:00:00Z"], &[]),
        (&["--topic", "odd/+"], &[3, 15, 21, 27]),
        (&["--topic", "odd/+", "--limit", "2"], &[3, 15]),
        (&["--limit", "0"], &[]),
    ] {
        assert_eq!(offsets(&dumped(data.path(), arguments)), wanted, "{arguments:?}");
    }
}

#[test]
fn verify_tells_damage_from_a_write_that_is_not_done() {
    let data = data(10);
    let text = printed(data.path(), &["verify"]);
    assert!(text.contains("3 files") && text.contains("10 whole records: nothing is damaged"), "{text}");

    let last = file(data.path(), 24);
    let mut torn = fs::read(&last).expect("a file");
    let mut next = BytesMut::new();
    push_record(30, &mut next);
    torn.extend_from_slice(&next[..40]);
    fs::write(&last, &torn).expect("it can be written");
    let text = printed(data.path(), &["verify"]);
    assert!(text.contains("unfinished write, 40 bytes") && text.contains("nothing is damaged"), "{text}");

    let middle = file(data.path(), 12);
    let mut damaged = fs::read(&middle).expect("a file");
    damaged[FILE_HEADER + 33] ^= 1;
    fs::write(&middle, &damaged).expect("it can be written");
    let before = contents(data.path());
    let output = run(data.path(), &["verify"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = format!("{}: damaged, ", middle.display());
    assert!(
        text.contains(&line) && text.contains("from 40 on") && text.contains("1 damaged places"),
        "{text}"
    );

    let output = run(data.path(), &["dump"]);
    assert_eq!(stdout(&output).lines().count(), 9);
    assert!(String::from_utf8_lossy(&output.stderr).contains("hold no whole record"), "{output:?}");
    printed(data.path(), &["segments"]);
    assert_eq!(contents(data.path()), before, "nothing is changed");
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let data = data(3_000);
    let mut child = command(data.path())
        .args(["log", "dump", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut first = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    lines.read_line(&mut first).expect("a line");
    assert!(first.contains("\"offset\":0"), "{first}");
    drop(lines);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_log_that_is_not_there_is_named_and_not_made() {
    let empty = tempfile::tempdir().expect("a temporary directory can be made");
    for arguments in [&["segments"][..], &["verify"], &["dump"]] {
        let output = run(empty.path(), arguments);
        assert_eq!(output.status.code(), Some(1));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.contains("cannot be read") && complaint.lines().count() == 1, "{complaint}");
    }
    assert!(!empty.path().join("log").exists());
}
