//! Files of the log that were damaged while the proxy was not running: what lies outside the damage arrives, and the
//! log of the proxy says what happened.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{add_keeper, device, publish};
use crate::support::keeper::{Keeper, Mood};
use crate::support::log_files::{append, cut_at, flip_byte, log_files, place_of};
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered};

const COUNT: usize = 300;

/// Messages that wait for a broker, a proxy that ended, and what came of it after the damage.
fn damaged(setup: Setup, is_orderly: bool, damage: impl FnOnce(&Path) -> PathBuf) -> (Vec<String>, String) {
    let keeper = Keeper::away();
    let mut proxy = setup.start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V5, &json!({}));
    publish(&mut device(&proxy, Version::V5), "t", &numbered("m", COUNT), 1);
    if is_orderly {
        proxy.stop()
    } else {
        proxy.kill()
    }
    let file = damage(&proxy.data());
    proxy.start_again();
    let log = proxy.log();
    keeper.set_mood(Mood::Prompt);
    goes_on(&proxy, &id, &keeper);
    let mut arrived = keeper.texts_on("t");
    assert_eq!(arrived.pop().as_deref(), Some("new"), "what is published afterwards comes last");
    let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let warnings = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
    let about_file: Vec<&str> = warnings.filter(|line| line.contains(&name)).collect();
    (arrived, about_file.join("\n"))
}

/// New messages are taken and arrive, also after one more death.
fn goes_on(proxy: &Proxy, id: &str, keeper: &Keeper) {
    device(proxy, Version::V5).say("t", "new", 1);
    keeper.wait_text("new");
    proxy.rest().wait_caught_up(id);
}

fn without(missing: &str) -> Vec<String> {
    numbered("m", COUNT).into_iter().filter(|text| text != missing).collect()
}

#[test]
fn a_flipped_byte_costs_the_message_that_it_is_in() {
    for is_orderly in [true, false] {
        let (arrived, warning) = damaged(Setup::new(), is_orderly, |data| {
            let (file, place) = place_of(data, "m-00150");
            flip_byte(&file, place + 3);
            file
        });
        assert_same(&arrived, &without("m-00150"), "all but the one that was damaged");
        assert!(!warning.is_empty(), "a line of the log names the file");
    }
}

#[test]
fn a_damaged_message_in_an_older_file_costs_nothing_of_the_newer_ones() {
    let keeper = Keeper::away();
    let mut proxy = Setup::new().settings("[log]\nsegment_bytes = 65536").start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V4, &json!({}));
    let texts = numbered(&"x".repeat(1_000), COUNT);
    publish(&mut device(&proxy, Version::V4), "t", &texts, 1);
    proxy.kill();
    assert!(log_files(&proxy.data()).len() >= 4, "the log has several files");
    let (file, place) = place_of(&proxy.data(), &texts[100]);
    assert_ne!(log_files(&proxy.data()).last(), Some(&file), "it is not the last one");
    flip_byte(&file, place);
    proxy.start_again();
    keeper.set_mood(Mood::Prompt);
    goes_on(&proxy, &id, &keeper);
    let mut wanted = texts;
    wanted.remove(100);
    wanted.push("new".to_owned());
    assert_same(&keeper.texts_on("t"), &wanted, "all but the one that was damaged");
}

#[test]
fn a_file_that_was_cut_off_costs_what_was_cut_off() {
    for is_orderly in [true, false] {
        let (arrived, _) = damaged(Setup::new(), is_orderly, |data| {
            let (file, place) = place_of(data, "m-00290");
            cut_at(&file, place + 3);
            file
        });
        assert_same(&arrived, &numbered("m", COUNT)[..290], "all before the cut");
    }
}

#[test]
fn garbage_behind_the_end_costs_nothing() {
    for garbage in [vec![0xA5; 1_000], vec![0; 4_096], vec![0xFF; 3], b"m-00001".repeat(100)] {
        let (arrived, _) = damaged(Setup::new(), false, |data| {
            let file = log_files(data).pop().expect("the log has a file");
            append(&file, &garbage);
            file
        });
        assert_same(&arrived, &numbered("m", COUNT), "everything");
    }
}

#[test]
fn damage_does_not_let_devices_lose_their_sessions() {
    use crate::support::device::Device;
    use crate::support::packets::Connect;
    let mut proxy = Proxy::start();
    let lasting = Connect::new(Version::V4, "lasting").persistent();
    let mut subscriber = Device::connect_with(proxy.mqtt(), &lasting);
    subscriber.subscribe("t", 1);
    subscriber.disconnect();
    publish(&mut device(&proxy, Version::V4), "t", &numbered("m", COUNT), 1);
    proxy.kill();
    let (file, place) = place_of(&proxy.data(), "m-00150");
    flip_byte(&file, place + 3);
    proxy.start_again();
    let mut subscriber = Device::connect_with(proxy.mqtt(), &lasting);
    assert!(subscriber.connack.session_present, "the session is there");
    device(&proxy, Version::V4).say("t", "end", 1);
    assert_same(&subscriber.texts_before("end"), &without("m-00150"), "all but the one that was damaged");
}
