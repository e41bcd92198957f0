//! Subscribers that do not take their messages, or are not there: what they lose is counted, and the others lose nothing.

use std::collections::HashSet;

use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, kind};
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered, wait_until};

/// Quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;

/// A proxy whose queues are short.
fn limited(lines: &str) -> Proxy {
    Setup::new()
        .settings(&format!("[limits]\nqueued_messages_max = 10\nqueued_bytes_max = 100000\n{lines}"))
        .start()
}

fn exceeded(proxy: &Proxy, quota: &str) -> u64 {
    proxy.rest().metric("mqtt_quota_exceeded_total", &[&format!("quota=\"{quota}\"")]) as u64
}

fn dropped(proxy: &Proxy, reason: &str) -> u64 {
    proxy.rest().metric("mqtt_deliveries_dropped_total", &[&format!("reason=\"{reason}\"")]) as u64
}

/// A message that is large enough to fill sockets.
fn large(number: usize) -> Publish {
    Publish::new("t", format!("{number:05}{}", "x".repeat(20_000))).qos(1)
}

/// The numbers of large messages.
fn numbers(messages: &[Publish]) -> Vec<usize> {
    messages.iter().map(|message| message.text()[..5].parse().expect("a number")).collect()
}

in_both_versions! {
    fn one_slow_subscriber_costs_the_others_nothing(version: Version) {
        let proxy = Proxy::start();
        let mut idle = Device::connect(proxy.mqtt(), version, "idle");
        idle.subscribe("t", 0);
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("t", 1);
        let reader = std::thread::spawn(move || numbers(&listener.receive_before("end")));
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        speaker.publish_all((0..2_000).map(large));
        speaker.say("t", "end", 1);
        let heard = reader.join().expect("the listener is content");
        assert!(heard == (0..2_000).collect::<Vec<_>>(), "{} messages", heard.len());
        let lost = dropped(&proxy, "slow_client");
        assert!(lost > 0, "the idle one took everything: the test tests nothing");
        assert_eq!(exceeded(&proxy, "slow_subscriber"), lost);
        let lines = proxy.log().lines().filter(|line| line.contains("client idle: quota slow_subscriber")).count();
        assert_eq!(lines, 1);
    }

    fn a_subscriber_that_takes_nothing_is_disconnected_where_the_settings_say_so(version: Version) {
        let proxy = limited("slow_subscriber = 'disconnect'\nslow_subscriber_secs = 1");
        let mut idle = Device::connect(proxy.mqtt(), version, "idle");
        idle.subscribe("t", 0);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let mut number = 0;
        wait_until("it is disconnected", || {
            speaker.publish_all((number..number + 100).map(large));
            number += 100;
            proxy.log().contains("client idle: disconnected by us: took no messages")
        });
        let last = idle.wire.until_close().pop().expect("something was on the way");
        if version.is_v5() && last.kind() == kind::DISCONNECT {
            assert_eq!(last.disconnect_reason(), QUOTA_EXCEEDED);
        }
        speaker.say("t", "still there", 1);
    }

    fn a_subscriber_with_a_full_window_keeps_the_newest_where_the_settings_say_so(version: Version) {
        for (policy, kept) in [("drop_newest", [1, 2, 3, 4]), ("drop_oldest", [26, 27, 28, 29])] {
            let proxy = limited(&format!("inflight_messages_max = 1\nslow_subscriber = '{policy}'"));
            let mut listener = Device::connect(proxy.mqtt(), version, "listener");
            listener.subscribe("t", 1);
            let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
            for number in 0..30 {
                speaker.publish(large(number));
            }
            let arrived = listener.receive_all(5);
            let wanted: Vec<usize> = std::iter::once(0).chain(kept).collect();
            assert_eq!(numbers(&arrived), wanted, "{policy}");
            assert_eq!((dropped(&proxy, "slow_client"), exceeded(&proxy, "slow_subscriber")), (25, 25), "{policy}");
            speaker.say("t", "next", 1);
            assert_eq!(listener.receive().text(), "next", "{policy}");
        }
    }

    fn an_absent_subscriber_keeps_the_oldest_or_the_newest_as_the_settings_say(version: Version) {
        for policy in ["drop_newest", "drop_oldest"] {
            let mut proxy = limited(&format!("absent_subscriber = '{policy}'"));
            let connect = Connect::new(version, "absent").persistent();
            let mut absent = Device::connect_with(proxy.mqtt(), &connect);
            absent.subscribe("t", 1);
            absent.disconnect();
            let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
            let said = numbered("m", 30);
            speaker.publish_all(said.iter().map(|text| Publish::new("t", text).qos(1)));
            wait_until("the rest is counted", || exceeded(&proxy, "absent_subscriber") == 20);
            assert_eq!(dropped(&proxy, "absent_client"), 20);
            // A restart knows the same ones.
            proxy.stop_and_restart();
            let mut absent = Device::connect_with(proxy.mqtt(), &connect);
            assert!(absent.connack.session_present);
            absent.say("t", "end", 1);
            let wanted = if policy == "drop_newest" { &said[..10] } else { &said[20..] };
            assert_same(&absent.texts_before("end"), wanted, policy);
        }
    }

    fn all_retained_messages_reach_a_fresh_subscriber_while_others_publish(version: Version) {
        let proxy = Proxy::start();
        let mut keeper = Device::connect(proxy.mqtt(), version, "keeper");
        let filling = "x".repeat(500);
        let retained = |number| Publish::new(&format!("kept/{number}"), format!("{number} {filling}")).retained();
        keeper.publish_all((0..20_000).map(|number| retained(number).qos(1)));
        for qos in 0..3 {
            let mut listener = Device::connect(proxy.mqtt(), version, "listener");
            listener.subscribe("kept/#", qos);
            let found: HashSet<String> =
                listener.receive_all(20_000).into_iter().map(|message| message.topic).collect();
            assert_eq!(found.len(), 20_000, "QoS {qos}, with nobody else there");
        }
        for qos in 0..2 {
            let mut listener = Device::connect(proxy.mqtt(), version, "listener");
            listener.subscribe("#", qos);
            let mut live = 0;
            let mut found = HashSet::new();
            while found.len() < 20_000 {
                if live < 500 {
                    keeper.say("live", &live.to_string(), 1);
                    live += 1;
                }
                for message in listener.receive_all(40.min(20_000 - found.len())) {
                    assert!(message.retain && message.qos == qos, "live messages come behind: {}", message.topic);
                    assert!(found.insert(message.topic), "each of them once");
                }
            }
            let heard: Vec<String> = listener.receive_all(live).iter().map(Publish::text).collect();
            assert_same(&heard, &(0..live).map(|number| number.to_string()).collect::<Vec<_>>(), "live");
        }
        assert_eq!(dropped(&proxy, "slow_client"), 0);
    }

    fn a_client_that_subscribes_to_everything_again_and_again_without_reading_costs_little(version: Version) {
        let proxy = Proxy::start();
        let mut keeper = Device::connect(proxy.mqtt(), version, "keeper");
        keeper.publish_all((0..20_000).map(|number| Publish::new(&format!("kept/{number}"), "x").qos(1).retained()));
        let before = proxy.rest().metric("process_resident_memory_bytes", &[]);
        let mut greedy = Device::connect(proxy.mqtt(), version, "greedy");
        for qos in [1, 0] {
            let filters = ["#", "+/#", "kept/#", "+/+", "kept/+"].map(|filter| (filter, qos));
            for round in 1..2_000 {
                let subscribe = packets::subscribe(version, round, &Vec::new(), &filters);
                if !greedy.wire.send_within(&subscribe, crate::support::SILENCE) {
                    break;
                }
            }
        }
        keeper.say("t", "still there", 1);
        let grown = proxy.rest().metric("process_resident_memory_bytes", &[]) - before;
        assert!(grown < 30e6, "{grown} bytes for one client that does not read");
    }
}

#[test]
fn a_session_that_comes_back_gets_the_retained_messages_that_it_had_not() {
    let proxy = Proxy::start();
    let version = Version::V5;
    let mut keeper = Device::connect(proxy.mqtt(), version, "keeper");
    keeper
        .publish_all((0..5_000).map(|number| Publish::new(&format!("kept/{number}"), "x").qos(1).retained()));
    let connect = Connect::new(version, "listener").persistent();
    let mut listener = Device::connect_with(proxy.mqtt(), &connect);
    listener.subscribe("kept/#", 1);
    let mut topics: Vec<String> = listener.receive_all(10).into_iter().map(|message| message.topic).collect();
    listener.cut();
    let mut listener = Device::connect_with(proxy.mqtt(), &connect);
    assert!(listener.connack.session_present);
    while topics.len() < 5_000 {
        let message = listener.receive();
        if !topics.contains(&message.topic) {
            topics.push(message.topic);
        }
    }
}
