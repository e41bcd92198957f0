//! Holds the names of metrics in what people read and load (README.md, alerts, dashboard) to those that the code
//! registers.

use std::collections::BTreeSet;
use std::fs;

use super::{assert_none, root};

/// Where metrics get their names.
const SOURCES: &[&str] =
    &["actors/metrics.rs", "actors/metrics/maker.rs", "src/web/metrics.rs", "src/web/process.rs"];

/// Who names metrics.
const READERS: &[&str] =
    &["README.md", "settings/compose/alerts.yml", "settings/compose/grafana/dashboards/mqtt-proxy.json"];

/// What a histogram adds to its name.
const OF_HISTOGRAMS: &[&str] = &["_bucket", "_sum", "_count"];

/// What metrics start with.
const STARTS: &[&str] = &["mqtt_", "process_"];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names that stand in quotation marks in the code.
fn registered() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in SOURCES {
        let text = read(source);
        let quoted = text.split('"').skip(1).step_by(2);
        let is_name =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte));
        names.extend(quoted.filter(|text| is_metric(text) && is_name(text)).map(str::to_owned));
    }
    names
}

fn is_metric(text: &str) -> bool {
    STARTS.iter().any(|start| text.starts_with(start))
}

/// The words of a text that name metrics: not Rust's modules, and not parts of longer words.
fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (word, behind) = word.split_at(end);
        if is_metric(word) && !behind.starts_with("::") {
            names.insert(word);
        }
        rest = behind;
    }
    names
}

#[test]
fn every_metric_that_people_are_told_of_is_there() {
    let registered = registered();
    assert!(registered.len() > 50, "the names of metrics are not found where they were: {registered:?}");
    let is_known = |name: &str| {
        let plain = OF_HISTOGRAMS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        registered.contains(name) || registered.contains(plain)
    };
    let mut unknown = Vec::new();
    for reader in READERS {
        let text = read(reader);
        let names = named(&text);
        assert!(!names.is_empty(), "{reader} names no metric at all");
        unknown.extend(names.iter().filter(|name| !is_known(name)).map(|name| format!("{reader}: {name}")));
    }
    assert_none(&unknown, "No code registers these metrics:");
}

#[test]
fn names_of_metrics_are_told_from_other_words() {
    let text = "rate(mqtt_a_total[1m]) > process_b, mqtt_proxy::startup, xmqtt_c, `mqtt_d{broker}`";
    assert_eq!(named(text).into_iter().collect::<Vec<_>>(), ["mqtt_a_total", "mqtt_d", "process_b"]);
}
