//! `connection` blocks of a mosquitto.conf as definitions of brokers, and what of them has no place there. A pure
//! translation: lines in, definitions and notes out.

pub mod lines;
mod options;
mod topics;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::lines::Line;
use self::topics::TopicLine;

/// Options that belong to a `connection` block.
const OF_CONNECTIONS: &[&str] = &[
    "address",
    "addresses",
    "cleansession",
    "clientid",
    "idle_timeout",
    "keepalive_interval",
    "local_cleansession",
    "local_clientid",
    "local_password",
    "local_username",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "password",
    "remote_clientid",
    "remote_password",
    "remote_username",
    "restart_timeout",
    "round_robin",
    "start_type",
    "threshold",
    "topic",
    "try_private",
    "username",
];

/// Options of mosquitto as a whole that change what its bridges do, and what to do instead.
const OF_ALL_BRIDGES: &[(&str, &str)] = &[
    (
        "max_inflight_messages",
        "the upstream broker's Receive Maximum counts, and 10 messages of QoS 2 in MQTT 3.1.1",
    ),
    (
        "max_inflight_bytes",
        "the upstream broker's Receive Maximum counts, and 10 messages of QoS 2 in MQTT 3.1.1",
    ),
    (
        "max_queued_messages",
        "the queue is measured in bytes: set queue_bytes_max of each broker, or leave it to the log",
    ),
    ("max_queued_bytes", "set queue_bytes_max and on_full of each broker, or leave it to the log"),
    ("queue_qos0_messages", "QoS 0 messages wait in memory as long as there is room"),
    ("persistence", "what waits for a broker is always kept on disk, below the data directory"),
    (
        "max_packet_size",
        "a broker's own Maximum Packet Size counts; max_payload_bytes of each broker narrows it",
    ),
    ("message_size_limit", "max_payload_bytes of each broker does this for what goes there"),
    ("upgrade_outgoing_qos", "messages go out at the QoS of their publisher, or lower"),
];

/// Something that a definition cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    place: String,
    option: String,
    text: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}: {}", self.place, self.option, self.text)
    }
}

/// The notes so far, in the order in which they came up.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    fn add(&mut self, place: &str, option: &str, text: impl Into<String>) {
        self.0.push(Note { place: place.to_owned(), option: option.to_owned(), text: text.into() });
    }
}

/// What a file comes to.
#[derive(Debug)]
pub struct Import {
    /// Definitions of brokers, in the order of the file.
    pub brokers: Vec<Map<String, Value>>,
    /// What was not translated, and what to do instead. No note has a value that may be secret.
    pub notes: Vec<Note>,
}

/// A `connection` block.
struct Connection<'a> {
    start: &'a Line,
    lines: Vec<&'a Line>,
}

/// Translates the lines of a file.
///
/// # Errors
/// All lines that mosquitto would not take either; none of the texts has a value that may be secret.
pub fn translate(lines: &[Line]) -> Result<Import, Vec<String>> {
    let mut notes = Notes::default();
    let mut problems = Vec::new();
    let connections = blocks(lines, &mut notes, &mut problems);
    let mut brokers = Vec::new();
    let mut names = BTreeSet::new();
    for connection in &connections {
        let place = &connection.start.place;
        if connection.start.value.is_empty() {
            problems.push(format!("{place}: connection: the name is missing"));
        } else if !names.insert(connection.start.value.as_str()) {
            problems.push(format!("{place}: connection: another one has this name"));
        }
        match definitions(connection, &mut notes) {
            Ok(found) => brokers.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if let Some(first) = connections.first()
        && !lines.iter().any(|line| line.option.starts_with("notification"))
    {
        let text = "mosquitto tells of its bridges below $SYS/broker/connection/, the proxy does not: ask \
                    /api/brokers or /metrics, or subscribe to its own $SYS";
        notes.add(&first.start.place, "notifications", text);
    }
    match problems.is_empty() {
        true => Ok(Import { brokers, notes: notes.0 }),
        false => Err(problems),
    }
}

/// The `connection` blocks; what stands outside of them is noted.
fn blocks<'a>(lines: &'a [Line], notes: &mut Notes, problems: &mut Vec<String>) -> Vec<Connection<'a>> {
    let mut connections: Vec<Connection<'a>> = Vec::new();
    let mut others = Vec::new();
    for line in lines {
        let option = line.option.as_str();
        let of_bridge = option.starts_with("bridge_") || OF_CONNECTIONS.contains(&option);
        if option == "connection" {
            connections.push(Connection { start: line, lines: Vec::new() });
        } else if of_bridge {
            match connections.last_mut() {
                Some(connection) => connection.lines.push(line),
                None => problems.push(format!("{}: {option}: stands before any connection", line.place)),
            }
        } else if let Some((_, instead)) = OF_ALL_BRIDGES.iter().find(|(name, _)| *name == option) {
            notes.add(&line.place, option, format!("not translated: {instead}"));
        } else {
            others.push(line);
        }
    }
    if let Some(first) = others.first() {
        let named: BTreeSet<&str> = others.iter().map(|line| shown_option(line)).collect();
        let named = named.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!("{} lines are not about bridges and were left out: {named}", others.len());
        notes.add(&first.place, "other options", text);
    }
    connections
}

/// The option as it may be shown: a stray word may be anything, also a password.
fn shown_option(line: &Line) -> &str {
    let is_name = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
    let looks_like_one = !line.value.is_empty() && line.option.bytes().all(is_name);
    if looks_like_one { &line.option } else { "(no option)" }
}

/// The definitions of one connection: one, or a group of as many as there are addresses.
fn definitions(
    connection: &Connection<'_>,
    notes: &mut Notes,
) -> Result<Vec<Map<String, Value>>, Vec<String>> {
    let mut problems = Vec::new();
    let mut addresses = Vec::new();
    let mut topics = Vec::new();
    for line in &connection.lines {
        let wrong = |problem: String| format!("{}: {}: {problem}", line.place, line.option);
        match line.option.as_str() {
            "address" | "addresses" => {
                for word in line.value.split_whitespace() {
                    match address(word) {
                        Ok(address) => addresses.push(address),
                        Err(problem) => problems.push(wrong(problem)),
                    }
                }
            }
            "topic" => match TopicLine::parse(line) {
                Ok(topic) => topics.push(topic),
                Err(problem) => problems.push(wrong(problem)),
            },
            _ => {}
        }
    }
    let (place, name) = (&connection.start.place, &connection.start.value);
    if addresses.is_empty() && problems.is_empty() {
        problems.push(format!("{place}: connection: it has no address"));
    }
    if topics.is_empty() && problems.is_empty() {
        problems.push(format!("{place}: connection: it has no topic"));
    }
    let mut fields = Map::new();
    if let Err(found) = options::translate(connection, addresses.len() > 1, &mut fields, notes) {
        problems.extend(found);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    topics::translate(&topics, &mut fields, notes);
    let is_group = addresses.len() > 1;
    let equals = connection.lines.iter().any(|line| line.option == "round_robin" && line.value == "true");
    let definition = |(index, (host, port)): (usize, (String, u16))| {
        let mut broker = Map::new();
        let of_many = format!("{name}-{}", index + 1);
        broker.insert("name".to_owned(), json!(if is_group { &of_many } else { name }));
        broker.insert("address".to_owned(), json!(host));
        broker.insert("port".to_owned(), json!(port));
        broker.extend(fields.clone());
        if is_group {
            broker.insert("group".to_owned(), json!(name));
            broker.insert("group_priority".to_owned(), json!(if equals { 0 } else { index }));
        }
        broker
    };
    Ok(addresses.into_iter().enumerate().map(definition).collect())
}

/// `host[:port]`; the port is 1883 where none is given, with TLS too.
fn address(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, "1883"),
    };
    let number = port.parse::<u16>().ok().filter(|port| *port > 0);
    let number = number.ok_or_else(|| format!("{port:?} is not a port within 1 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err("a host is missing".to_owned());
    }
    Ok((host.to_owned(), number))
}

#[cfg(test)]
mod tests;
