//! Any byte may be wrong, and any file cut, longer or gone: every whole record outside the damage is read, once and in
//! order, and what is damaged is counted.

use super::*;
use crate::message_log::segment::header::{HEADER_BYTES, Header};

const ALL: [u64; 9] = [1, 2, 7, 11, 12, 17, 21, 22, 27];

/// Three runs of three records; in one segment, or in three.
fn nine(segment_bytes: u64) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, segment_bytes);
    let runs = ALL.chunks(3).map(|offsets| run_of(offsets, 20));
    opened.writer.write(&mut queue(runs)).unwrap();
    disk
}

/// Where each record of a segment starts and ends.
fn places(offsets: &[u64]) -> Vec<(u64, usize, usize)> {
    let mut start = HEADER_BYTES as usize;
    let place = |offset: &u64| {
        let end = start + record_bytes(*offset, 20).len();
        let place = (*offset, start, end);
        start = end;
        place
    };
    offsets.iter().map(place).collect()
}

/// The same, whatever follows.
fn assert_goes_on(disk: &Arc<MemoryDisk>, wanted: &[u64], what: &str) {
    let mut opened = open_on(disk, 1_000_000);
    assert_eq!(offsets(&opened.files, 0), wanted, "{what}");
    let next = opened.next_offset;
    assert!(next >= wanted.last().map_or(0, |last| last + 1), "{what}");
    opened.writer.write(&mut queue([run_of(&[next, next + 3], 20)])).unwrap();
    let mut wanted = wanted.to_vec();
    wanted.extend([next, next + 3]);
    assert_eq!(offsets(&opened.files, 0), wanted, "{what}");
    drop(opened);
    assert_eq!(offsets(&open_on(disk, 1_000_000).files, 0), wanted, "{what}, opened again");
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let whole = nine(1_000_000);
    let length = whole.data(&path(1)).len();
    for cut in 0..=length {
        let disk = whole.copy();
        disk.change(&path(1), |data| data.truncate(cut));
        let mut good = places(&ALL).into_iter().filter(|(_, _, end)| *end <= cut);
        let wanted: Vec<u64> = good.clone().map(|(offset, ..)| offset).collect();
        let opened = open_on(&disk, 1_000_000);
        let kept = good.next_back().map_or((HEADER_BYTES as usize).min(cut), |(_, _, end)| end);
        let kept = if cut < HEADER_BYTES as usize { 0 } else { kept };
        assert_eq!(opened.recovery.cut_bytes, (cut - kept) as u64, "cut at {cut}");
        assert_eq!(opened.recovery.skipped_bytes, 0);
        drop(opened);
        assert_goes_on(&disk, &wanted, &format!("cut at {cut}"));
    }
}

#[test]
fn a_tail_of_garbage_or_zeros_is_cut() {
    let garbage: Vec<u8> =
        (0..5_000u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for tail in [vec![0; 3], vec![0; 100_000], vec![255; 5_000], garbage, record_bytes(28, 20)[..50].to_vec()]
    {
        let disk = nine(1_000_000);
        disk.change(&path(1), |data| data.extend_from_slice(&tail));
        assert_eq!(open_on(&disk, 1_000_000).recovery.cut_bytes, tail.len() as u64);
        assert_goes_on(&disk, &ALL, "a tail");
    }
}

#[test]
fn a_flipped_bit_costs_the_record_that_it_is_in_and_no_other() {
    for segment_bytes in [1_000_000, 1] {
        let whole = nine(segment_bytes);
        let mut files = vec![(1, &ALL[..])];
        if segment_bytes == 1 {
            files = vec![(1, &ALL[..3]), (11, &ALL[3..6]), (21, &ALL[6..])];
        }
        for (first, of_file) in files {
            for byte in 0..whole.data(&path(first)).len() {
                for bit in [0, 3, 7] {
                    let disk = whole.copy();
                    disk.change(&path(first), |data| data[byte] ^= 1 << bit);
                    let hit =
                        places(of_file).into_iter().find(|(_, start, end)| (*start..*end).contains(&byte));
                    let hit = hit.map(|(offset, start, end)| (offset, end - start));
                    let wanted: Vec<u64> =
                        ALL.into_iter().filter(|offset| hit.is_none_or(|(hit, _)| *offset != hit)).collect();
                    let what = format!("byte {byte} of {first}, bit {bit}");
                    let opened = open_on(&disk, segment_bytes);
                    let (found, corrupt_bytes) = read_all(&opened.files, 0);
                    let found: Vec<u64> = found.into_iter().map(|(offset, _)| offset).collect();
                    assert_eq!(found, wanted, "{what}");
                    let lost = hit.map_or(HEADER_BYTES, |(_, length)| length as u64);
                    assert_eq!(corrupt_bytes + opened.recovery.cut_bytes, lost, "{what}");
                    drop(opened);
                    assert_goes_on(&disk, &wanted, &what);
                }
            }
        }
    }
}

#[test]
fn damage_under_a_running_log_is_passed() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1_000_000);
    opened.writer.write(&mut queue([run_of(&ALL[..6], 20)])).unwrap();
    let mut cursor = opened.files.cursor_at(0).unwrap();
    let place = places(&ALL)[5];
    disk.change(&path(1), |data| data[place.1 + 40] ^= 1);
    let block = opened.files.read(&mut cursor, 10_000).unwrap();
    assert_eq!((block.first_offset, block.end_offset), (1, 13));
    let block = opened.files.read(&mut cursor, 10_000).unwrap();
    assert_eq!((block.bytes.len(), block.corrupt_bytes), (0, (place.2 - place.1) as u64));
    opened.writer.write(&mut queue([run_of(&ALL[6..], 20)])).unwrap();
    let block = opened.files.read(&mut cursor, 10_000).unwrap();
    assert_eq!((block.first_offset, block.end_offset, block.corrupt_bytes), (21, 28, 0));
    disk.change(&path(1), |data| data.truncate(100));
    assert_eq!(offsets(&opened.files, 0), [1]);
}

#[test]
fn files_in_the_middle_may_be_missing_empty_short_or_foreign() {
    let whole = nine(1);
    let without_middle: Vec<u64> = ALL.into_iter().filter(|offset| *offset < 10 || *offset > 20).collect();
    let changes: [fn(&mut Vec<u8>); 5] = [
        |data| data.clear(),
        |data| data.truncate(1),
        |data| data.truncate(HEADER_BYTES as usize - 1),
        |data| data.truncate(HEADER_BYTES as usize),
        |data| data.fill(0xA5),
    ];
    for change in changes {
        let disk = whole.copy();
        disk.change(&path(11), change);
        assert_eq!(offsets(&open_on(&disk, 1).files, 12), [21, 22, 27]);
        assert_goes_on(&disk, &without_middle, "the middle");
    }
    let disk = whole.copy();
    let opened = open_on(&disk, 1);
    disk.delete(&path(11));
    assert_eq!(offsets(&opened.files, 0), without_middle);
    drop(opened);
    assert_goes_on(&disk, &without_middle, "no middle");
    let disk = whole.copy();
    disk.change(&path(11), |data| data.extend_from_slice(&[0; 1_000]));
    assert_goes_on(&disk, &ALL, "a longer middle");
    for odd in ["lock", "7.log", "00000000000000000003.log.bak", "unfinished.new"] {
        disk.put(&Path::new(DIR).join(odd), vec![1, 2, 3]);
    }
    assert_goes_on(&disk, &[&ALL[..], &[28, 31]].concat(), "odd files");
    assert!(!disk.names().contains(&"unfinished.new".to_owned()));
}

#[test]
fn what_the_next_segment_has_too_is_read_once() {
    let disk = nine(1);
    let again = record_bytes(11, 20);
    disk.change(&path(1), |data| data.extend_from_slice(&again));
    assert_goes_on(&disk, &ALL, "overtaken");
    assert_eq!(read_all(&open_on(&disk, 1).files, 0).1, 0);
}

#[test]
fn records_in_a_damaged_payload_that_cannot_stand_there_are_not_taken_for_records() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1);
    let inner: Vec<u8> = [1, 30, 1 << 60].into_iter().flat_map(|offset| record_bytes(offset, 4)).collect();
    let mut bytes = BytesMut::new();
    record::encode_state(&inner, 3, time_of(3), &mut bytes);
    let bytes = bytes.freeze();
    let run = Run { first_offset: 3, end_offset: 4, first_received_at_micros: 0, bytes };
    opened.writer.write(&mut queue([run_of(&[2], 20), run, run_of(&[5], 20)])).unwrap();
    disk.change(&path(3), |data| data[HEADER_BYTES as usize + 5] ^= 1);
    assert_eq!(offsets(&opened.files, 0), [2, 5]);
}

#[test]
fn a_file_of_another_version_or_under_a_wrong_name_is_refused_by_its_name() {
    let disk = nine(1);
    let mut header = Header { created_at_micros: 1, first_offset: 21, previous: None }.encode();
    header[8] = 9;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..]);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.change(&path(21), |data| data[..header.len()].copy_from_slice(&header));
    let error = open(options(1), disk.clone()).err().unwrap().to_string();
    assert!(error.contains("00000000000000000021.log has version 9") && !error.contains('\n'), "{error}");
    let disk = nine(1);
    disk.change(&path(11), |data| data[..header.len()].copy_from_slice(&header));
    let opened = open_on(&disk, 1);
    assert!(opened.files.cursor_at(11).is_err());
    let disk = nine(1);
    disk.put(&path(50), disk.data(&path(21)));
    let error = open(options(1), disk.clone()).err().unwrap().to_string();
    assert!(error.contains("was named 00000000000000000021.log"), "{error}");
}

#[test]
fn a_tail_that_cannot_be_cut_is_left_behind() {
    let disk = nine(1_000_000);
    disk.change(&path(1), |data| data.extend_from_slice(&[9; 50]));
    disk.plan.lock().unwrap().set_lens.push_back(memory_disk::Fault::Fail(std::io::ErrorKind::Other));
    let mut opened = open_on(&disk, 1_000_000);
    opened.writer.write(&mut queue([run_of(&[30], 20)])).unwrap();
    assert_eq!(opened.files.summaries().len(), 2);
    assert_eq!(offsets(&opened.files, 0), [&ALL[..], &[30]].concat());
    drop(opened);
    let (found, corrupt_bytes) = read_all(&open_on(&disk, 1_000_000).files, 0);
    assert_eq!((found.len(), corrupt_bytes), (10, 50));
}
