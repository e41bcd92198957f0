//! The Will (chapters 3.1.2.5 to 3.1.2.7 and 3.1.3.2): when it is published, as what, and when it is not.

use super::named;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, Value, kind, number, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::refusals::{connect_bytes, field, property_block, refused_connect};
use crate::support::shared::{self, Shared};

/// A scene with its own branch of topics, somebody who hears every Will of it, and a way to end the watch.
struct Scene {
    proxy: Shared,
    version: Version,
    name: String,
    witness: Device,
}

fn scene(version: Version, name: &str) -> Scene {
    let proxy = shared::proxy();
    let name = named(version, name);
    let mut witness = Device::connect(proxy.mqtt(), version, &format!("{name}-witness"));
    witness.subscribe(&format!("{name}/#"), 2);
    Scene { proxy, version, name, witness }
}

impl Scene {
    /// CONNECT of one of the scene's clients, whose Will says this.
    fn connect(&self, client: &str, text: &str) -> Connect {
        self.plain(client).will(&format!("{}/{client}", self.name), text)
    }

    /// CONNECT of one of the scene's clients without Will.
    fn plain(&self, client: &str) -> Connect {
        Connect::new(self.version, &format!("{}-{client}", self.name))
    }

    fn join(&self, connect: &Connect) -> Device {
        Device::connect_with(self.proxy.mqtt(), connect)
    }

    /// All Wills up to now, which is after whatever ended before.
    fn wills(&mut self) -> Vec<String> {
        // Another client's Will comes after the Wills of all connections that ended before its own.
        self.join(&self.connect("marker", "marker")).cut();
        self.witness.texts_before("marker")
    }
}

fn delay(secs: u32) -> (u8, Value) {
    (property::WILL_DELAY, Value::Four(secs))
}

fn expiry(secs: u32) -> (u8, Value) {
    (property::SESSION_EXPIRY, Value::Four(secs))
}

in_both_versions! {
    fn it_is_published_at_its_qos_and_as_retained_as_it_asks(version: Version) {
        let mut scene = scene(version, "as-asked");
        for qos in 0..3 {
            for retain in [false, true] {
                let client = format!("{qos}-{retain}");
                let mut connect = scene.connect(&client, "gone");
                let will = connect.will.as_mut().expect("there is a Will");
                (will.qos, will.retain) = (qos, retain);
                scene.join(&connect).cut();
                let heard = scene.witness.receive();
                assert_eq!((heard.text().as_str(), heard.qos, heard.retain), ("gone", qos, false));
                assert_eq!(heard.topic, format!("{}/{client}", scene.name));
                let mut late = scene.join(&scene.plain("late"));
                late.subscribe(&format!("{}/{client}", scene.name), 2);
                late.ping();
                late.say(&format!("{}/{client}", scene.name), "end", 1);
                let kept: Vec<(String, bool)> =
                    late.receive_before("end").iter().map(|message| (message.text(), message.retain)).collect();
                assert_eq!(kept, if retain { vec![("gone".to_owned(), true)] } else { vec![] }, "QoS {qos}");
                assert_eq!(scene.witness.receive().text(), "end");
            }
        }
    }

    fn an_empty_retained_will_deletes_what_its_topic_retains(version: Version) {
        let mut scene = scene(version, "deletes");
        let topic = format!("{}/d", scene.name);
        let mut connect = scene.connect("d", "");
        connect.will.as_mut().expect("there is a Will").retain = true;
        let mut device = scene.join(&connect);
        device.publish(Publish::new(&topic, "kept").qos(1).retained());
        assert_eq!(scene.witness.receive().text(), "kept");
        device.cut();
        assert_eq!(scene.witness.receive().payload, b"");
        let mut late = scene.join(&scene.plain("late"));
        late.subscribe(&topic, 1);
        late.say(&topic, "end", 1);
        assert_eq!(late.texts_before("end"), Vec::<String>::new());
    }

    fn its_payload_is_any_bytes(version: Version) {
        let mut scene = scene(version, "any-bytes");
        let all: Vec<u8> = (0..=255).collect();
        for payload in [Vec::new(), all.clone(), all.repeat(256)[..65_535].to_vec()] {
            let mut connect = scene.connect("d", "");
            connect.will.as_mut().expect("there is a Will").payload.clone_from(&payload);
            scene.join(&connect).cut();
            assert!(scene.witness.receive().payload == payload, "a Will of {} bytes", payload.len());
        }
    }

    fn every_end_but_a_normal_disconnect_publishes_it(version: Version) {
        let mut scene = scene(version, "ends");
        let ends: [(&str, &[u8]); 5] = [
            ("a broken packet", &[0x36, 3, 0, 1, b't']),
            ("DISCONNECT with a reserved bit", &[0xE1, 0]),
            ("DISCONNECT that is too long", &[0xE0, 3, 0, 9, 9]),
            ("a packet that only servers send", &[0xD0, 0]),
            ("an end within a packet", &[0x30, 9, 0]),
        ];
        for (what, bytes) in ends {
            let mut device = scene.join(&scene.connect("d", what));
            device.wire.send(bytes);
            device.wire.cut();
            assert_eq!(scene.witness.receive().text(), what);
        }
    }

    fn a_normal_disconnect_deletes_it(version: Version) {
        let mut scene = scene(version, "normal");
        let forms: &[&[u8]] = if version.is_v5() {
            &[&[0xE0, 0], &[0xE0, 1, 0], &[0xE0, 2, 0, 0]]
        } else {
            &[&[0xE0, 0]]
        };
        for form in forms {
            let mut device = scene.join(&scene.connect("d", "never"));
            device.wire.send(form);
            device.wire.expect_close();
        }
        assert_eq!(scene.wills(), Vec::<String>::new());
    }

    fn without_a_will_nothing_is_published(version: Version) {
        let mut scene = scene(version, "without");
        // A Will of an earlier connection is forgotten with that connection.
        let lasting = scene.connect("d", "first").persistent();
        scene.join(&lasting).disconnect();
        scene.join(&Connect { will: None, ..lasting.clone() }).cut();
        scene.join(&Connect { clean: true, will: None, ..lasting }).cut();
        assert_eq!(scene.wills(), Vec::<String>::new());
    }

    fn it_is_published_once_and_each_connection_has_its_own(version: Version) {
        let mut scene = scene(version, "own");
        let with = |scene: &Scene, text: &str| scene.connect("d", text).persistent();
        scene.join(&with(&scene, "first")).cut();
        assert_eq!(scene.witness.receive().text(), "first");
        scene.join(&Connect { will: None, ..with(&scene, "") }).cut();
        scene.join(&with(&scene, "second")).cut();
        assert_eq!(scene.witness.receive().text(), "second");
        scene.join(&with(&scene, "third")).disconnect();
        assert_eq!(scene.wills(), Vec::<String>::new());
    }

    fn a_connect_that_is_refused_leaves_no_will(version: Version) {
        let mut scene = scene(version, "refused");
        let address = scene.proxy.mqtt();
        let (id, none) = (field(b"refused-will"), property_block(version, &[]));
        for (what, topic) in [("a wildcard +", "a/+"), ("a wildcard #", "#"), ("no topic", ""), ("U+0000", "a\0")] {
            let bytes = connect_bytes(version, 0x06, &[], &[&id, &none, &field(topic.as_bytes()), &field(b"m")]);
            refused_connect(address, version, what, &bytes);
        }
        // The reserved flag spoils a CONNECT whose Will would be good.
        let topic = field(format!("{}/d", scene.name).as_bytes());
        let bytes = connect_bytes(version, 0x07, &[], &[&id, &none, &topic, &field(b"never")]);
        refused_connect(address, version, "the reserved flag", &bytes);
        assert_eq!(scene.wills(), Vec::<String>::new());
    }

    fn it_reaches_the_clients_own_session_too(version: Version) {
        let scene = scene(version, "own-session");
        let connect = scene.connect("d", "gone").persistent();
        let mut device = scene.join(&connect);
        device.subscribe(&format!("{}/d", scene.name), 1);
        device.cut();
        let mut device = scene.join(&connect);
        assert_eq!(device.receive().text(), "gone");
    }
}

#[test]
fn its_properties_are_those_of_the_message_except_the_delay() {
    let mut scene = scene(Version::V5, "properties");
    let user = |name: &str, value: &str| (property::USER, Value::Pair(name.into(), value.into()));
    let kept = vec![
        (property::PAYLOAD_FORMAT, Value::Byte(1)),
        (property::CONTENT_TYPE, Value::Text("text/plain".into())),
        (property::RESPONSE_TOPIC, Value::Text("answers/here".into())),
        (property::CORRELATION_DATA, Value::Binary(vec![0, 1, 0xFF])),
        user("b", "1"),
        user("a", "2"),
        user("b", "1"),
        user("", "3"),
    ];
    let mut connect = scene.connect("d", "gone");
    let will = connect.will.as_mut().expect("there is a Will");
    will.properties.clone_from(&kept);
    will.properties.push((property::MESSAGE_EXPIRY, Value::Four(100)));
    will.properties.push(delay(0));
    scene.join(&connect).cut();
    let mut properties = scene.witness.receive().properties;
    let expiry = number(&properties, property::MESSAGE_EXPIRY).expect("the Message Expiry Interval is kept");
    assert!((90..=100).contains(&expiry), "{expiry}");
    properties.retain(|(id, _)| *id != property::MESSAGE_EXPIRY);
    let users = |properties: &packets::Properties| -> Vec<(u8, Value)> {
        properties.iter().filter(|(id, _)| *id == property::USER).cloned().collect()
    };
    assert_eq!(users(&properties), users(&kept), "User Properties, and their order");
    let (mut got, mut wanted) = (properties, kept);
    got.sort_by_key(|(id, _)| *id);
    wanted.sort_by_key(|(id, _)| *id);
    assert_eq!(got, wanted);
}

#[test]
fn retain_as_published_shows_that_it_was_retained() {
    let scene = scene(Version::V5, "as-published");
    let mut listener = scene.join(&scene.plain("listener"));
    // Retain As Published is bit 3 of the options.
    assert_eq!(listener.subscribe_with(&Vec::new(), &[(&format!("{}/+", scene.name), 1 | 0x08)]), [1]);
    for retain in [true, false] {
        let mut connect = scene.connect("d", "gone");
        connect.will.as_mut().expect("there is a Will").retain = retain;
        scene.join(&connect).cut();
        assert_eq!(listener.receive().retain, retain);
    }
}

#[test]
fn disconnect_publishes_it_where_the_reason_is_not_0() {
    let mut scene = scene(Version::V5, "reasons");
    for code in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let text = format!("reason {code:#x}");
        let mut device = scene.join(&scene.connect("d", &text));
        device.wire.send(&[0xE0, 1, code]);
        device.wire.expect_close();
        assert_eq!(scene.witness.receive().text(), text);
    }
}

#[test]
fn a_delay_is_waited_for_but_no_longer_than_the_session_lasts() {
    let mut scene = scene(Version::V5, "delays");
    let gone = |scene: &Scene, text: &str, delay_secs: u32, expiry_secs: u32| {
        let mut connect = scene.connect(text, text);
        connect.properties.push(expiry(expiry_secs));
        scene.join(&connect.will_property(delay(delay_secs).0, delay(delay_secs).1)).cut();
    };
    gone(&scene, "session-ends-after-2", 600, 2);
    gone(&scene, "after-3", 3, 600);
    gone(&scene, "after-1", 1, 600);
    gone(&scene, "no-session", 600, 0);
    gone(&scene, "at-once", 0, 600);
    let mut heard = scene.witness.receive_all(5).iter().map(Publish::text).collect::<Vec<_>>();
    heard[..2].sort();
    assert_eq!(heard, ["at-once", "no-session", "after-1", "session-ends-after-2", "after-3"]);
}

#[test]
fn a_delay_counts_after_disconnect_with_will_too() {
    let mut scene = scene(Version::V5, "delayed-goodbye");
    let mut connect = scene.connect("d", "delayed");
    connect.properties.push(expiry(600));
    let mut device = scene.join(&connect.will_property(delay(1).0, delay(1).1));
    device.wire.send(&[0xE0, 1, 4]);
    device.wire.expect_close();
    scene.join(&scene.connect("e", "at once")).cut();
    assert_eq!([scene.witness.receive().text(), scene.witness.receive().text()], ["at once", "delayed"]);
}

#[test]
fn a_delayed_will_is_not_published_where_the_session_goes_on_before() {
    let mut scene = scene(Version::V5, "comes-back");
    let mut connect = scene.connect("d", "never");
    connect.properties.push(expiry(600));
    let connect = Connect { clean: false, ..connect.will_property(delay(1).0, delay(1).1) };
    scene.join(&connect).cut();
    // Back in time, without a Will.
    let mut device = scene.join(&Connect { will: None, ..connect.clone() });
    assert!(device.connack.session_present);
    // A Will with the same delay, from later on, is the sign that the first one's time is over.
    let mut later = scene.connect("e", "sign");
    later.properties.push(expiry(600));
    scene.join(&later.will_property(delay(2).0, delay(2).1)).cut();
    assert_eq!(scene.witness.receive().text(), "sign");
    device.ping();
    device.cut();
    assert_eq!(scene.wills(), Vec::<String>::new());
}

#[test]
fn a_delayed_will_is_published_where_its_session_is_thrown_away() {
    let mut scene = scene(Version::V5, "thrown-away");
    let mut connect = scene.connect("d", "the session is over");
    connect.properties.push(expiry(600));
    let connect = connect.will_property(delay(600).0, delay(600).1);
    scene.join(&connect).cut();
    let device = scene.join(&Connect { clean: true, will: None, ..connect });
    assert!(!device.connack.session_present);
    assert_eq!(scene.witness.receive().text(), "the session is over");
}

#[test]
fn the_largest_intervals_are_waited_for_too() {
    let mut scene = scene(Version::V5, "largest");
    let mut connect = scene.connect("d", "the session is over");
    connect.properties.push(expiry(u32::MAX));
    let connect = connect.will_property(delay(u32::MAX).0, delay(u32::MAX).1);
    scene.join(&connect).cut();
    assert_eq!(scene.wills(), Vec::<String>::new());
    let device = scene.join(&Connect { clean: true, will: None, ..connect });
    assert_eq!(scene.witness.receive().text(), "the session is over");
    device.disconnect();
}

#[test]
fn a_goodbye_that_ends_the_session_ends_the_delay() {
    let mut scene = scene(Version::V5, "short-goodbye");
    let mut connect = scene.connect("d", "with the session");
    connect.properties.push(expiry(600));
    let mut device = scene.join(&connect.will_property(delay(600).0, delay(600).1));
    // DISCONNECT with Will, and with a Session Expiry Interval of 0.
    device.wire.send(&[0xE0, 7, 4, 5, property::SESSION_EXPIRY, 0, 0, 0, 0]);
    device.wire.expect_close();
    assert_eq!(scene.witness.receive().text(), "with the session");
}

#[test]
fn its_expiry_counts_from_when_it_is_published() {
    let mut scene = scene(Version::V5, "expiry-after-delay");
    let mut connect = scene.connect("d", "not expired");
    connect.properties.push(expiry(600));
    let connect = connect.will_property(delay(2).0, delay(2).1);
    scene.join(&connect.will_property(property::MESSAGE_EXPIRY, Value::Four(1))).cut();
    assert_eq!(scene.witness.receive().text(), "not expired");
}

#[test]
fn on_takeover_it_depends_on_delay_and_clean_start() {
    let mut scene = scene(Version::V5, "takeover");
    let mut devices = Vec::new();
    for clean in [false, true] {
        for delay_secs in [0, 600] {
            let text = format!("clean start {clean}, delay {delay_secs}");
            let mut connect = scene.connect("d", &text);
            connect.properties.push(expiry(600));
            let connect =
                Connect { clean: true, ..connect.will_property(delay(delay_secs).0, delay(delay_secs).1) };
            devices.push(scene.join(&connect));
            let next = scene.join(&Connect { clean, will: None, ..connect });
            assert_eq!(next.connack.session_present, !clean);
            next.disconnect();
            let wanted = if clean || delay_secs == 0 { vec![text] } else { vec![] };
            assert_eq!(scene.wills(), wanted);
        }
    }
    for mut device in devices {
        let packets = device.wire.until_close();
        assert!(packets.iter().all(|packet| packet.kind() == kind::DISCONNECT), "{packets:?}");
    }
}

/// A client with a retained Will of this delay, connected to a proxy of its own.
fn with_retained_will(proxy: &Proxy, version: Version, delay_secs: u32) -> Device {
    let mut connect = Connect::new(version, "d").persistent().will("will/d", "gone");
    let will = connect.will.as_mut().expect("there is a Will");
    will.retain = true;
    if version.is_v5() {
        will.properties.push(delay(delay_secs));
    }
    Device::connect_with(proxy.mqtt(), &connect)
}

/// Whether the Will is retained by and by.
fn wait_for_retained_will(proxy: &Proxy, version: Version) {
    let mut late = Device::connect(proxy.mqtt(), version, "late");
    late.subscribe("will/d", 1);
    assert_eq!(late.receive().text(), "gone");
}

in_both_versions! {
    fn an_orderly_stop_of_the_proxy_ends_the_connection_too(version: Version) {
        let mut proxy = Proxy::start();
        let _device = with_retained_will(&proxy, version, 0);
        proxy.stop_and_restart();
        wait_for_retained_will(&proxy, version);
    }
}

/// SIGKILL while a client with a retained Will is connected.
fn kill_under_a_will(version: Version) {
    let mut proxy = Setup::new().settings("[server]\nrestart_will_grace_secs = 1\n").start();
    let _device = with_retained_will(&proxy, version, 0);
    proxy.kill_and_restart();
    wait_for_retained_will(&proxy, version);
}

#[test]
fn a_3_1_1_will_is_published_after_the_proxy_was_killed() {
    kill_under_a_will(Version::V4);
}

#[test]
fn a_5_0_will_is_published_after_the_proxy_was_killed() {
    kill_under_a_will(Version::V5);
}

#[test]
fn a_delay_goes_on_over_a_restart() {
    let mut proxy = Proxy::start();
    with_retained_will(&proxy, Version::V5, 2).cut();
    proxy.stop_and_restart();
    wait_for_retained_will(&proxy, Version::V5);
}
