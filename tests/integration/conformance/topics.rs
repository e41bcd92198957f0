//! Topic Names and Topic Filters (chapter 4.7): which are good, and which match.

use super::named;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Publish, kind};
use crate::support::proxy::Proxy;
use crate::support::refusals::{expect_end_of, reason};
use crate::support::shared;

/// Topics, and for each filter those of them that match.
struct Table {
    topics: &'static [&'static str],
    filters: &'static [(&'static str, &'static [&'static str])],
}

const LEVELS: Table = Table {
    topics: &[
        "a", "A", "/", "//", "/a", "a/", "/a/", "a/b", "a//b", "a/b/", "a/b/c", "a/b/c/d", "b", "b/b", "ab",
        "a b", " a", "a ", "a/b c", "aa/b", "a/$b", "$a", "$a/b", "$", "$/a", "$SYS2/a", "é", "a/😀",
    ],
    filters: &[
        (
            "#",
            &[
                "a", "A", "/", "//", "/a", "a/", "/a/", "a/b", "a//b", "a/b/", "a/b/c", "a/b/c/d", "b",
                "b/b", "ab", "a b", " a", "a ", "a/b c", "aa/b", "a/$b", "é", "a/😀",
            ],
        ),
        ("+", &["a", "A", "b", "ab", "a b", " a", "a ", "é"]),
        ("+/+", &["/", "/a", "a/", "a/b", "b/b", "a/b c", "aa/b", "a/$b", "a/😀"]),
        ("+/b", &["a/b", "b/b", "aa/b"]),
        ("+/a", &["/a"]),
        ("/+", &["/", "/a"]),
        ("/#", &["/", "//", "/a", "/a/"]),
        (
            "+/#",
            &[
                "a", "A", "/", "//", "/a", "a/", "/a/", "a/b", "a//b", "a/b/", "a/b/c", "a/b/c/d", "b",
                "b/b", "ab", "a b", " a", "a ", "a/b c", "aa/b", "a/$b", "é", "a/😀",
            ],
        ),
        ("+/+/+", &["//", "/a/", "a//b", "a/b/", "a/b/c"]),
        ("+/b/#", &["a/b", "a/b/", "a/b/c", "a/b/c/d", "b/b", "aa/b"]),
        ("a", &["a"]),
        ("A", &["A"]),
        ("a/#", &["a", "a/", "a/b", "a//b", "a/b/", "a/b/c", "a/b/c/d", "a/b c", "a/$b", "a/😀"]),
        ("a/+", &["a/", "a/b", "a/b c", "a/$b", "a/😀"]),
        ("a/+/#", &["a/", "a/b", "a//b", "a/b/", "a/b/c", "a/b/c/d", "a/b c", "a/$b", "a/😀"]),
        ("a/b/#", &["a/b", "a/b/", "a/b/c", "a/b/c/d"]),
        ("a/+/c", &["a/b/c"]),
        ("a/+/b", &["a//b"]),
        ("a/b/+", &["a/b/", "a/b/c"]),
        ("a//+", &["a//b"]),
        ("a/", &["a/"]),
        ("/a", &["/a"]),
        ("/", &["/"]),
        ("//", &["//"]),
        ("a b", &["a b"]),
        (" a", &[" a"]),
        ("a ", &["a "]),
        ("a/$b", &["a/$b"]),
        ("$a", &["$a"]),
        ("$a/#", &["$a", "$a/b"]),
        ("$a/+", &["$a/b"]),
        ("$/+", &["$/a"]),
        ("$SYS2/#", &["$SYS2/a"]),
        ("é", &["é"]),
        ("a/😀", &["a/😀"]),
    ],
};

/// Names that some programs take for the same, and MQTT does not.
const ALIKE: &[&str] = &[
    "caf\u{E9}",
    "cafe\u{301}",
    "CAF\u{C9}",
    "\u{FB01}n",
    "fin",
    "\u{212B}",
    "\u{C5}",
    "A\u{30A}",
    "\u{AC00}",
    "\u{1100}\u{1161}",
    "stra\u{DF}e",
    "strasse",
    "\u{FF41}",
    "a\u{200B}",
    "a\u{AD}",
    "a\u{FE0F}",
    "i",
    "I",
    "\u{131}",
    "\u{130}",
    "\u{FFFD}",
    "\u{10FFFF}",
    "%2F",
    "a.b",
    "a\\b",
    "..",
    "*",
    ">",
];

/// Filters with wildcards where none may be.
const BAD_FILTERS: &[&str] = &[
    "a#", "#a", "a/b#", "#/", "#/a", "a/#/b", "/#/", "##", "#+", "+#", "a+", "+a", "a/b+", "a/+b/c", "++",
    "+a/#", "a/#+",
];

/// One listener a filter, all topics once, and what each heard.
fn heard(proxy: &Proxy, version: Version, filters: &[String], topics: &[String]) -> Vec<Vec<String>> {
    let end = "an/end/of/its/own";
    let mut listeners: Vec<Device> = Vec::new();
    for (number, filter) in filters.iter().enumerate() {
        let mut listener = Device::connect(proxy.mqtt(), version, &format!("listener-{number}"));
        listener.subscribe(filter, 1);
        listener.subscribe(end, 1);
        listeners.push(listener);
    }
    let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
    speaker.publish_all(topics.iter().map(|topic| Publish::new(topic, "m").qos(1)));
    speaker.say(end, "end", 1);
    let topics_of = |listener: &mut Device| {
        listener.receive_before("end").into_iter().map(|message| message.topic).collect()
    };
    listeners.iter_mut().map(topics_of).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

in_both_versions! {
    fn wildcards_match_level_by_level(version: Version) {
        let proxy = Proxy::start();
        let filters: Vec<String> = LEVELS.filters.iter().map(|(filter, _)| (*filter).to_owned()).collect();
        let heard = heard(&proxy, version, &filters, &owned(LEVELS.topics));
        for ((filter, wanted), heard) in LEVELS.filters.iter().zip(heard) {
            assert_eq!(heard, *wanted, "{filter:?}");
        }
    }

    fn names_that_look_alike_are_different(version: Version) {
        let proxy = Proxy::start();
        let topics = owned(ALIKE);
        let heard = heard(&proxy, version, &topics, &topics);
        for (topic, heard) in topics.iter().zip(heard) {
            assert_eq!(heard, std::slice::from_ref(topic));
        }
    }

    fn retained_messages_are_found_by_the_same_rules(version: Version) {
        let proxy = Proxy::start();
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        speaker.publish_all(LEVELS.topics.iter().map(|topic| Publish::new(topic, "m").qos(1).retained()));
        for (number, (filter, wanted)) in LEVELS.filters.iter().enumerate() {
            let mut late = Device::connect(proxy.mqtt(), version, &format!("late-{number}"));
            late.subscribe(filter, 1);
            let mut found: Vec<String> =
                late.receive_all(wanted.len()).into_iter().map(|message| message.topic).collect();
            assert_eq!(late.inbox_after_ping(), Vec::<String>::new(), "{filter:?} found more than {found:?}");
            let mut wanted = owned(wanted);
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{filter:?}");
        }
    }

    fn a_wildcard_in_the_wrong_place_is_refused(version: Version) {
        let proxy = shared::proxy();
        let client = named(version, "wrong-place");
        for filter in BAD_FILTERS.iter().chain(&["$share/group/a#", "$share/group/+a"]) {
            let mut device = Device::connect(proxy.mqtt(), version, &client);
            let filters = [("good/one", 1), (*filter, 1), ("good/two", 0)];
            device.wire.send(&packets::subscribe(version, 1, &Vec::new(), &filters));
            let refusal = if version.is_v5() { reason::TOPIC_FILTER_INVALID } else { 0x80 };
            // Refused by itself, or as a packet.
            let packets = match device.wire.look(crate::support::DEADLINE) {
                crate::support::wire::Seen::Packet(packet) if packet.kind() == kind::SUBACK => {
                    assert_eq!(packet.codes(version), [1, refusal, 0], "{filter}");
                    continue;
                }
                crate::support::wire::Seen::Packet(packet) => vec![packet],
                _ => Vec::new(),
            };
            assert_eq!(packets.len() == 1, version.is_v5(), "{filter}: {packets:?}");
            let reasons = packets.iter().map(packets::Packet::disconnect_reason);
            let allowed = [reason::TOPIC_FILTER_INVALID, reason::MALFORMED, reason::PROTOCOL_ERROR];
            assert!(reasons.into_iter().all(|reason| allowed.contains(&reason)), "{filter}: {packets:?}");
        }
    }

    fn a_wildcard_in_a_topic_name_ends_the_connection(version: Version) {
        let proxy = shared::proxy();
        let mut witness = Device::connect(proxy.mqtt(), version, &named(version, "wild-witness"));
        let branch = named(version, "wild");
        witness.subscribe(&format!("{branch}/#"), 1);
        for topic in ["+", "#", "a/+", "a/#", "+/a", "a+", "a#b", "a/+/b"] {
            let bytes = Publish::new(&format!("{branch}/{topic}"), "never").encode(version);
            let reasons = [reason::TOPIC_NAME_INVALID, reason::MALFORMED, reason::PROTOCOL_ERROR];
            expect_end_of(proxy.mqtt(), version, &named(version, "wild-client"), topic, &bytes, &reasons);
        }
        witness.say(&format!("{branch}/end"), "end", 1);
        assert_eq!(witness.texts_before("end"), Vec::<String>::new());
    }

    fn an_empty_name_or_filter_ends_the_connection(version: Version) {
        let proxy = shared::proxy();
        let client = named(version, "empty");
        let allowed =
            [reason::TOPIC_NAME_INVALID, reason::TOPIC_FILTER_INVALID, reason::MALFORMED, reason::PROTOCOL_ERROR];
        let table = [
            ("PUBLISH", Publish::new("", "m").encode(version)),
            ("SUBSCRIBE", packets::subscribe(version, 1, &Vec::new(), &[("", 0)])),
            ("UNSUBSCRIBE", packets::unsubscribe(version, 1, &[""])),
        ];
        for (what, bytes) in table {
            expect_end_of(proxy.mqtt(), version, &client, what, &bytes, &allowed);
        }
    }

    fn names_and_filters_may_have_65_535_bytes(version: Version) {
        let proxy = shared::proxy();
        let name = |fill: &str| {
            let start = named(version, "long");
            let mut name = format!("{start}/{}", fill.repeat((65_535 - start.len() - 1) / fill.len()));
            name.push_str(&"x".repeat(65_535 - name.len()));
            name
        };
        // One level, and as many levels as there can be.
        for topic in [name("x"), name("ü"), name("/")] {
            let mut device = Device::connect(proxy.mqtt(), version, &named(version, "long"));
            device.subscribe(&topic, 1);
            device.say(&topic, "arrives", 1);
            let message = device.receive();
            assert!(message.topic == topic && message.text() == "arrives");
            device.unsubscribe(&topic);
            let wild = format!("{}#", &topic[..named(version, "long/").len()]);
            device.subscribe(&wild, 1);
            device.say(&topic, "arrives again", 1);
            assert_eq!(device.receive().text(), "arrives again");
            device.unsubscribe(&wild);
        }
        let plus = format!("{}/+{}", named(version, "long"), "/+".repeat(32_000));
        let topic = format!("{}/x{}", named(version, "long"), "/x".repeat(32_000));
        let mut device = Device::connect(proxy.mqtt(), version, &named(version, "long"));
        device.subscribe(&plus, 1);
        device.say(&topic, "through 32,000 wildcards", 1);
        assert_eq!(device.receive().text(), "through 32,000 wildcards");
    }

    fn unsubscribing_needs_the_very_same_filter(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "same-filter");
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        device.subscribe(&format!("{topic}/+"), 1);
        for other in ["#", "a", "+/", "+/#", ""] {
            device.unsubscribe(&format!("{topic}/{other}"));
        }
        device.unsubscribe(&format!("{}/+", topic.to_uppercase()));
        device.say(&format!("{topic}/a"), "still subscribed", 1);
        assert_eq!(device.receive().text(), "still subscribed");
    }
}
