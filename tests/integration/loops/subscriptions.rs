//! Topic Filters that a bidirectional broker does not grant.

use serde_json::json;

use super::places::both_ways;
use crate::support::Version;
use crate::support::packets::{Publish, kind, suback, subscriptions};
use crate::support::proxy::Proxy;
use crate::support::scripted::{Link, Scripted};
use crate::support::wait_until;

/// Answers two SUBSCRIBE packets for ten filters; `code` says what each filter gets.
fn answer(link: &mut Link, code: impl Fn(&str) -> u8) {
    let mut left = 10;
    while left > 0 {
        let packet = link.packet();
        assert_eq!(packet.kind(), kind::SUBSCRIBE, "{packet:?}");
        let asked = subscriptions(&packet, link.version());
        assert!(asked.len() <= 8);
        left -= asked.len();
        let codes: Vec<u8> = asked.iter().map(|(filter, _)| code(filter)).collect();
        link.wire.send(&suback(link.version(), packet.id(), &codes));
    }
}

in_both_versions! {
    fn refused_filters_are_shown_with_their_reason_until_they_are_granted(version: Version) {
        let upstream = Scripted::listen();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let mut definition = both_ways("up", upstream.port(), version);
        definition["subscription_topics"] = json!((0..10).map(|n| format!("t/{n}/#")).collect::<Vec<_>>());
        let id = rest.add(&definition);
        let failures = || rest.broker(&id)["subscription_failures"].clone();
        let (code, reason) = if version.is_v5() { (0x87, "not authorized") } else { (0x80, "unspecified error") };
        for round in 0..3 {
            let mut link = upstream.welcome(false);
            // The second time nothing is new.
            answer(&mut link, |filter| if filter == "t/3/#" || (filter == "t/9/#" && round < 2) { code } else { 2 });
            let count = if round < 2 { 2 } else { 1 };
            wait_until("the refusals are shown", || failures().as_array().is_some_and(|all| all.len() == count));
            let first = &failures()[0];
            assert_eq!(first["filter"], "t/3/#");
            assert_eq!(first["reason_code"], code);
            assert!(first["reason"].as_str().is_some_and(|text| text.contains(reason)), "{first}");
            // The others work.
            link.send(&Publish { id: 1, ..Publish::new("t/1/a", "m").qos(1) });
            assert_eq!(link.expect(kind::PUBACK), 1);
            link.cut();
        }
        let lines = |filter: &str| {
            let sign = format!("refused the subscription to {filter}");
            proxy.log().lines().filter(|line| line.contains(&sign)).count()
        };
        assert_eq!((lines("t/3/#"), lines("t/9/#")), (1, 1), "{}", proxy.log());
        let changed = rest.put(&format!("/api/brokers/{id}"), &json!({"subscription_topics": ["u/#"]}));
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(changed.json()["name"], "up");
        wait_until("another definition begins anew", || failures() == json!([]));
    }
}
