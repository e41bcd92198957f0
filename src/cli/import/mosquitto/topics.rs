//! The `topic` lines of one connection: which messages go which way, and under which topic on the other side.

use std::collections::HashSet;

use actors::topic_mapping::{RewriteRule, TopicMapping};
use mqtt::TopicFilter;
use serde_json::{Map, Value, json};

use super::Notes;
use super::lines::Line;

/// `topic pattern [[[ out | in | both ] qos] local-prefix remote-prefix]`.
#[derive(Clone, Debug)]
pub struct TopicLine {
    place: String,
    out: bool,
    inward: bool,
    qos: u8,
    /// Empty for one single topic that has another name on the other side.
    pattern: String,
    local_prefix: String,
    remote_prefix: String,
}

impl TopicLine {
    /// Reads the line.
    ///
    /// # Errors
    /// Where mosquitto would not take it either.
    pub fn parse(line: &Line) -> Result<TopicLine, String> {
        let mut words = line.value.split_whitespace();
        let mut text = || words.next().map(|word| if word == "\"\"" { "" } else { word }.to_owned());
        let pattern = text().ok_or("the topic is missing")?;
        let (out, inward) = match text().as_deref() {
            None | Some("out") => (true, false),
            Some("in") => (false, true),
            Some("both") => (true, true),
            Some(_) => return Err("the direction must be out, in or both".to_owned()),
        };
        let qos = match text().as_deref() {
            None | Some("0") => 0,
            Some("1") => 1,
            Some("2") => 2,
            Some(_) => return Err("the QoS must be 0, 1 or 2".to_owned()),
        };
        let (local_prefix, remote_prefix) = (text().unwrap_or_default(), text().unwrap_or_default());
        if text().is_some() {
            return Err("there is more behind the prefixes".to_owned());
        }
        if pattern.is_empty() && (local_prefix.is_empty() || remote_prefix.is_empty()) {
            return Err("an empty pattern needs both prefixes".to_owned());
        }
        let place = line.place.clone();
        let read = TopicLine { place, out, inward, qos, pattern, local_prefix, remote_prefix };
        for prefix in [&read.local_prefix, &read.remote_prefix] {
            if prefix.contains(['+', '#']) {
                return Err("a prefix must not have + or #".to_owned());
            }
        }
        for filter in [read.local(), read.remote()] {
            TopicFilter::new(filter.as_str()).map_err(|error| format!("{filter:?}: {error}"))?;
        }
        Ok(read)
    }

    fn local(&self) -> String {
        format!("{}{}", self.local_prefix, self.pattern)
    }

    fn remote(&self) -> String {
        format!("{}{}", self.remote_prefix, self.pattern)
    }

    fn outbound(&self) -> Way<'_> {
        Way { line: self, from: &self.local_prefix, to: &self.remote_prefix }
    }

    fn inbound(&self) -> Way<'_> {
        Way { line: self, from: &self.remote_prefix, to: &self.local_prefix }
    }
}

/// One direction of a line: the prefix that is taken off and the one that is put on.
struct Way<'a> {
    line: &'a TopicLine,
    from: &'a str,
    to: &'a str,
}

impl Way<'_> {
    fn filter(&self) -> String {
        format!("{}{}", self.from, self.line.pattern)
    }

    /// Whether prefixes alone say it: they are whole levels.
    fn is_by_levels(&self) -> bool {
        let whole = |prefix: &str| prefix.is_empty() || prefix.ends_with('/');
        !self.line.pattern.is_empty() && whole(self.from) && whole(self.to)
    }

    fn is_mapped(&self) -> bool {
        !(self.from.is_empty() && self.to.is_empty())
    }

    /// The rule of `rewrite`: each wildcard of the pattern is put where it was.
    fn rule(&self) -> (String, String) {
        let mut wildcards = 0;
        let level = |level: &str| match level {
            "#" => "{#}".to_owned(),
            "+" => {
                wildcards += 1;
                format!("{{{wildcards}}}")
            }
            other => other.to_owned(),
        };
        let pattern: Vec<_> = self.line.pattern.split('/').map(level).collect();
        (self.filter(), format!("{}{}", self.to, pattern.join("/")))
    }
}

/// Whether a rule behind one with the filter `earlier` never has its turn.
fn covers(earlier: &str, later: &str) -> bool {
    let rule = |from: &str| RewriteRule::parse(from, "x").ok();
    let rewrite: Vec<_> = [earlier, later].into_iter().filter_map(rule).collect();
    TopicMapping { rewrite, ..TopicMapping::default() }.check().is_err()
}

/// The names of the fields of one direction.
struct Fields {
    topics: &'static str,
    strip: &'static str,
    add: &'static str,
    rewrite: &'static str,
    qos: &'static str,
}

const OUTBOUND: Fields = Fields {
    topics: "topics",
    strip: "topic_prefix_strip",
    add: "topic_prefix_add",
    rewrite: "rewrite",
    qos: "max_qos",
};

const INBOUND: Fields = Fields {
    topics: "subscription_topics",
    strip: "subscription_prefix_strip",
    add: "subscription_prefix_add",
    rewrite: "subscription_rewrite",
    qos: "subscription_qos",
};

/// Adds the fields that all `topic` lines of a connection come to.
pub fn translate(lines: &[TopicLine], fields: &mut Map<String, Value>, notes: &mut Notes) {
    let outbound: Vec<_> = lines.iter().filter(|line| line.out).map(TopicLine::outbound).collect();
    let inbound: Vec<_> = lines.iter().filter(|line| line.inward).map(TopicLine::inbound).collect();
    if outbound.is_empty() {
        // An empty list of topics would mean all of them.
        fields.insert("exclude_topics".to_owned(), json!(["#"]));
    } else {
        translate_way(&outbound, &OUTBOUND, fields, notes);
    }
    if !inbound.is_empty() {
        fields.insert("bidirectional".to_owned(), json!(true));
        // Left open, they would be the inverse of the other direction.
        fields.insert(INBOUND.strip.to_owned(), json!(""));
        fields.insert(INBOUND.add.to_owned(), json!(""));
        fields.insert(INBOUND.rewrite.to_owned(), json!([]));
        translate_way(&inbound, &INBOUND, fields, notes);
    }
}

fn translate_way(ways: &[Way<'_>], names: &Fields, fields: &mut Map<String, Value>, notes: &mut Notes) {
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    let mut seen = HashSet::new();
    let filters: Vec<_> = ways.iter().map(Way::filter).filter(|filter| seen.insert(filter.clone())).collect();
    put(names.topics, json!(filters));
    let (from, to) = (ways[0].from, ways[0].to);
    if ways.iter().all(|way| way.is_by_levels() && way.from == from && way.to == to) {
        if !from.is_empty() {
            put(names.strip, json!(from));
        }
        if !to.is_empty() {
            put(names.add, json!(to));
        }
    } else {
        let mut rules = Vec::new();
        for way in ways.iter().filter(|way| way.is_mapped()) {
            if way.to.contains(['{', '}']) || way.line.pattern.contains(['{', '}']) {
                let problem = "the topic has braces, which mean something else in a rule of `rewrite`; \
                               its messages keep their topic";
                notes.add(&way.line.place, "topic", problem);
                continue;
            }
            let (from, to) = way.rule();
            if rules.iter().any(|(earlier, _): &(String, String)| covers(earlier, &from)) {
                let problem = "never has its turn: an earlier line matches all of its topics";
                notes.add(&way.line.place, "topic", problem);
            } else {
                rules.push((from, to));
            }
        }
        let rules: Vec<_> = rules.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
        put(names.rewrite, json!(rules));
    }
    let highest = ways.iter().map(|way| way.line.qos).max().unwrap_or(0);
    put(names.qos, json!(highest));
    for way in ways.iter().filter(|way| way.line.qos < highest) {
        let problem = format!(
            "QoS {} for this line alone is not possible: {} is {highest}, the highest of the connection's lines; \
             to keep them apart, make a broker definition of its own for this line",
            way.line.qos, names.qos
        );
        notes.add(&way.line.place, "topic", problem);
    }
}
