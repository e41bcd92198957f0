//! The topics as they were published last, and the names of those that stand for upstream brokers.

use std::collections::BTreeMap;

use mqtt::TopicName;

use crate::health::Health;
use crate::messages::UpstreamState;

/// Where all topics lie.
const ROOT: &str = "$SYS/broker/";

/// A topic and its new text; an empty one removes it `[MQTT-3.3.1-6]`.
pub type Changed = (TopicName, String);

/// What was published last.
#[derive(Default)]
pub struct Topics {
    /// Behind [`ROOT`].
    values: BTreeMap<String, String>,
    /// By the level that stands for the broker's name: whether it is connected, and how it is.
    connections: BTreeMap<String, (bool, Health)>,
}

impl Topics {
    /// The values as they are now; answers with those that were not so before.
    pub fn set_values(&mut self, values: Vec<(String, String)>) -> Vec<Changed> {
        let mut changed = Vec::new();
        for (name, text) in values {
            if self.values.get(&name) != Some(&text) {
                changed.push((topic_name(&name), text.clone()));
                self.values.insert(name, text);
            }
        }
        changed
    }

    /// The upstream brokers as they are now, by name; answers with what was not so before.
    pub fn set_connections<'a>(
        &mut self,
        brokers: impl Iterator<Item = (&'a str, UpstreamState, Health)>,
    ) -> Vec<Changed> {
        let seen = |(name, state, health)| (level(name), (state == UpstreamState::Connected, health));
        let now: BTreeMap<String, (bool, Health)> = brokers.map(seen).collect();
        let topic = |level: &str, of: &str| topic_name(&format!("connection/{level}/{of}"));
        let mut changed = Vec::new();
        for level in self.connections.keys().filter(|level| !now.contains_key(*level)) {
            changed.extend(["state", "health"].map(|of| (topic(level, of), String::new())));
        }
        for (level, (connected, health)) in &now {
            let earlier = self.connections.get(level);
            if earlier.is_none_or(|(earlier, _)| earlier != connected) {
                changed.push((topic(level, "state"), u8::from(*connected).to_string()));
            }
            if earlier.is_none_or(|(_, earlier)| earlier != health) {
                changed.push((topic(level, "health"), health.as_str().to_owned()));
            }
        }
        self.connections = now;
        changed
    }
}

fn topic_name(below_root: &str) -> TopicName {
    TopicName::new(format!("{ROOT}{below_root}"))
        .expect("our names are short and have no wildcards, and `level` leaves none in a broker's")
}

/// A broker's name as one Topic Level: `/`, `+`, `#` and `%` as in URLs, so that no two names become one.
pub fn level(name: &str) -> String {
    let mut level = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '/' | '+' | '#' | '%' | '\0' => level.push_str(&format!("%{:02X}", character as u32)),
            _ => level.push(character),
        }
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(changed: Vec<Changed>) -> Vec<String> {
        changed.into_iter().map(|(topic, text)| format!("{topic} {text}")).collect()
    }

    fn value(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn only_what_has_changed_is_published() {
        let mut topics = Topics::default();
        let first = topics.set_values(vec![value("a", "1"), value("b/c", "x")]);
        assert_eq!(texts(first), ["$SYS/broker/a 1", "$SYS/broker/b/c x"]);
        assert_eq!(texts(topics.set_values(vec![value("a", "1"), value("b/c", "y")])), ["$SYS/broker/b/c y"]);
        assert_eq!(texts(topics.set_values(vec![value("a", "1"), value("b/c", "y")])), Vec::<String>::new());
    }

    #[test]
    fn connections_are_published_as_they_come_go_and_are_renamed() {
        use UpstreamState::{Connected, Connecting, Disabled, WaitingToRetry};
        let mut topics = Topics::default();
        let mut set = |brokers: &[(&str, UpstreamState, Health)]| {
            let changed = topics.set_connections(brokers.iter().copied());
            let short = |text: String| text.replace("$SYS/broker/connection/", "");
            texts(changed).into_iter().map(short).collect::<Vec<_>>()
        };
        let b = ("b", Disabled, Health::Disabled);
        assert_eq!(
            set(&[("a", Connecting, Health::Disconnected), b]),
            ["a/state 0", "a/health disconnected", "b/state 0", "b/health disabled"]
        );
        assert_eq!(set(&[("a", Connected, Health::Ok), b]), ["a/state 1", "a/health ok"]);
        assert_eq!(set(&[("a", Connected, Health::Ok), b]), Vec::<String>::new());
        assert_eq!(set(&[("a", Connected, Health::Degraded), b]), ["a/health degraded"]);
        let away = ("a", WaitingToRetry, Health::Disconnected);
        assert_eq!(set(&[away, b]), ["a/state 0", "a/health disconnected"]);
        assert_eq!(
            set(&[("c", Connected, Health::Ok), b]),
            ["a/state ", "a/health ", "c/state 1", "c/health ok"]
        );
        assert_eq!(set(&[("c", Connected, Health::Ok)]), ["b/state ", "b/health "]);
    }

    #[test]
    fn a_brokers_name_is_one_level_and_no_two_are_the_same() {
        for (name, wanted) in [
            ("site", "site"),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("+", "%2B"),
            ("#1", "%231"),
            ("a b", "a b"),
            ("Zürich", "Zürich"),
            ("127.0.0.1:1883", "127.0.0.1:1883"),
        ] {
            assert_eq!(level(name), wanted);
            let topic = topic_name(&format!("connection/{}/state", level(name)));
            assert_eq!(topic.as_str().split('/').count(), 5, "{topic}");
        }
    }
}
