//! What people are told about the files is what is in them.

use super::*;
use crate::message_log::segment::{Damage, Finding};

fn three_files() -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1);
    let runs = [run_of(&[1, 2, 7], 20), run_of(&[11, 12], 20), run_of(&[21], 20)];
    opened.writer.write(&mut queue(runs)).unwrap();
    disk
}

fn findings(disk: &Arc<MemoryDisk>) -> Vec<Damage> {
    let segments = super::super::recovery::open_read_only_on(Path::new(DIR), disk.clone());
    let mut all = Vec::new();
    let _ = segments.unwrap_or_else(|error| panic!("{error}")).check(&mut |finding: Finding| {
        all.push(finding.damage);
        true
    });
    all
}

#[test]
fn details_name_the_records_of_each_file() {
    let disk = three_files();
    let details = open_on(&disk, 1).files.details().unwrap();
    let told: Vec<_> =
        details.iter().map(|file| (file.named, file.records, file.offsets, file.times)).collect();
    let times = |first, last| Some((time_of(first), time_of(last)));
    assert_eq!(
        told,
        [
            (1, 3, Some((1, 7)), times(1, 7)),
            (11, 2, Some((11, 12)), times(11, 12)),
            (21, 1, Some((21, 21)), times(21, 21))
        ]
    );
}

#[test]
fn what_is_damaged_is_found_and_a_write_that_goes_on_is_told_from_it() {
    let disk = three_files();
    assert_eq!(findings(&disk), []);
    let record = record_bytes(22, 20);
    let end = disk.data(&path(21)).len() as u64;
    for torn in [&record[..10], &record[..40], &[0; 5_000][..]] {
        disk.change(&path(21), |data| data.extend_from_slice(torn));
        assert_eq!(findings(&disk), [Damage::TornTail { position: end, bytes: torn.len() as u64 }]);
        disk.change(&path(21), |data| data.truncate(end as usize));
    }
    disk.change(&path(21), |data| data.truncate(7));
    assert_eq!(findings(&disk), [Damage::TornTail { position: 0, bytes: 7 }]);

    let disk = three_files();
    disk.change(&path(21), |data| data[50] ^= 1);
    disk.change(&path(1), |data| data[20] ^= 1);
    let record_length = record_bytes(21, 20).len() as u64;
    let wanted =
        [Damage::Corrupt { position: 0, bytes: 40 }, Damage::Corrupt { position: 40, bytes: record_length }];
    assert_eq!(findings(&disk), wanted);
    disk.delete(&path(11));
    assert_eq!(findings(&disk)[1], Damage::NothingBefore(11));

    let disk = three_files();
    disk.change(&path(11), Vec::clear);
    assert_eq!(findings(&disk), [Damage::Corrupt { position: 0, bytes: 0 }]);
    disk.put(&path(11), disk.data(&path(1)));
    assert!(matches!(&findings(&disk)[..], [Damage::Unreadable(_)]));
}
