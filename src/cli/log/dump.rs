//! `mqtt-proxy log dump`: prints records of the log as lines of JSON.

use std::str;

use actors::Origin;
use actors::message_log::record::{self, Record};
use clap::Args;
use mqtt::property::PropertyOwner;
use mqtt::{Properties, Property, TopicFilter, TopicName};
use openssl::base64;
use serde::Serialize;
use serde_json::{Map, Value};

use super::place::{Place, shown_time};
use super::{DataArguments, Failure, Files, unreadable};
use crate::cli::output::{self, Reader};
use crate::cli::subscribe::parse_filter;

/// How much is read in one go.
const READ_BYTES: usize = 256 * 1024;

/// The flags of `log dump`.
#[derive(Args)]
pub struct DumpArguments {
    #[command(flatten)]
    pub(super) data: DataArguments,
    /// Start at this offset, or at this time (RFC 3339)
    #[arg(long, value_name = "OFFSET|TIME")]
    from: Option<Place>,
    /// Stop before this offset, or before what was received at this time
    #[arg(long, value_name = "OFFSET|TIME")]
    to: Option<Place>,
    /// Only messages whose Topic Name matches
    #[arg(long, short, value_name = "FILTER", value_parser = parse_filter)]
    topic: Option<TopicFilter>,
    /// Stop after this many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// A message as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    offset: u64,
    time: String,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    qos: u8,
    retain: bool,
    topic: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// A change of state as it is printed: what is in it is the proxy's own business.
#[derive(Serialize)]
struct StateLine {
    offset: u64,
    state: bool,
}

/// Prints until the end, the limit, or nobody reads any more.
pub fn run(arguments: &DumpArguments, files: &Files) -> Result<(), Failure> {
    let from = arguments.from.map_or(Ok(0), |place| place.offset(files))?;
    let to = arguments.to.map_or(Ok(u64::MAX), |place| place.offset(files))?;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut cursor = files.cursor_at(from).map_err(|error| unreadable(&error))?;
    while left > 0 && cursor.next_offset() < to {
        let block = files.read(&mut cursor, READ_BYTES).map_err(|error| unreadable(&error))?;
        if block.corrupt_bytes > 0 {
            let (bytes, offset) = (block.corrupt_bytes, block.first_offset);
            output::complain(&format!(
                "{bytes} bytes before offset {offset} hold no whole record; `mqtt-proxy log verify` says where"
            ));
        }
        if block.bytes.is_empty() {
            break;
        }
        let lines = lines(&block.bytes, to, arguments.topic.as_ref(), &mut left);
        if output::write(&lines)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}

/// The lines of the records before `to` that are wanted, as long as some are left.
fn lines(mut records: &[u8], to: u64, filter: Option<&TopicFilter>, left: &mut u64) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((record, record_bytes)) = record::decode(records) {
        records = &records[record_bytes..];
        if *left == 0 || record.offset >= to {
            break;
        }
        if filter.is_none_or(|filter| matches(filter, &record)) {
            push_line(&record, &mut text);
            *left -= 1;
        }
    }
    text
}

fn matches(filter: &TopicFilter, record: &Record<'_>) -> bool {
    let name = str::from_utf8(record.topic_name).ok().and_then(|name| TopicName::new(name).ok());
    !record.is_state && name.is_some_and(|name| filter.matches(&name))
}

fn push_line(record: &Record<'_>, text: &mut Vec<u8>) {
    let pushed = if record.is_state {
        serde_json::to_writer(&mut *text, &StateLine { offset: record.offset, state: true })
    } else {
        serde_json::to_writer(&mut *text, &line(record))
    };
    pushed.expect("plain values are JSON, and memory takes them");
    text.push(b'\n');
}

fn line<'a>(record: &Record<'a>) -> Line<'a> {
    let (origin, broker) = match record.origin {
        Origin::Device => ("device", None),
        Origin::Will => ("will", None),
        Origin::System => ("system", None),
        Origin::Upstream(broker) => ("upstream", Some(broker.0.to_string())),
    };
    let payload = str::from_utf8(record.payload).ok();
    Line {
        offset: record.offset,
        time: shown_time(record.received_at_micros),
        origin,
        broker,
        qos: record.qos.as_u8(),
        retain: record.retain,
        // It was checked when the message was received.
        topic: str::from_utf8(record.topic_name).unwrap_or_default(),
        properties: properties(record.properties),
        payload,
        payload_base64: if payload.is_none() { Some(base64::encode_block(record.payload)) } else { None },
    }
}

/// The properties by their names; as bytes where they cannot be read.
fn properties(raw: &[u8]) -> Map<String, Value> {
    let mut shown = Map::new();
    let Ok(properties) = Properties::parse(raw.to_vec().into(), PropertyOwner::Publish) else {
        shown.insert("base64".to_owned(), base64::encode_block(raw).into());
        return shown;
    };
    for property in properties.iter() {
        let (name, value): (&str, Value) = match property {
            Property::PayloadFormatIndicator(is_text) => {
                ("payload_format_indicator", u8::from(is_text).into())
            }
            Property::MessageExpiryInterval(secs) => ("message_expiry_interval", secs.into()),
            Property::ContentType(text) => ("content_type", text.to_string().into()),
            Property::ResponseTopic(topic) => ("response_topic", topic.to_string().into()),
            Property::CorrelationData(data) => {
                ("correlation_data_base64", base64::encode_block(&data).into())
            }
            Property::UserProperty(name, value) => {
                ("user_properties", vec![vec![name.to_string(), value.to_string()]].into())
            }
            // A PUBLISH has no others.
            other => ("others", vec![format!("{other:?}")].into()),
        };
        // What may stand there more than once is a list.
        match (shown.get_mut(name), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (_, value) => _ = shown.insert(name.to_owned(), value),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use actors::BrokerId;
    use actors::message_log::record::Envelope;
    use bytes::{Bytes, BytesMut};
    use mqtt::{Message, QoS};
    use serde_json::json;

    use super::*;

    fn records() -> Bytes {
        let mut buffer = BytesMut::new();
        let message = |topic: &str, payload: &[u8], properties: &[Property]| Message {
            topic_name: TopicName::new(topic.to_owned()).unwrap(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::from_properties(properties.iter().cloned()).unwrap(),
            payload: Bytes::copy_from_slice(payload),
        };
        let all = [
            Property::ContentType("text/plain".into()),
            Property::CorrelationData(Bytes::from_static(b"\xff")),
            Property::UserProperty("a".into(), "1".into()),
            Property::UserProperty("a".into(), "2".into()),
            Property::MessageExpiryInterval(9),
        ];
        let envelope = |offset, origin| Envelope {
            offset,
            origin,
            received_at_micros: 1_500_000,
            annex: &[],
            durable: true,
        };
        let broker = Origin::Upstream(BrokerId(uuid::Uuid::from_u128(1)));
        record::encode(&message("a/b", b"hello \"you\"", &[]), &envelope(3, Origin::Device), &mut buffer);
        record::encode_state(b"state", 5, 7, &mut buffer);
        record::encode(&message("a/c", b"\xff\x00", &all), &envelope(8, broker), &mut buffer);
        buffer.freeze()
    }

    fn printed(to: u64, filter: Option<&str>, mut left: u64) -> Vec<Value> {
        let filter = filter.map(|filter| TopicFilter::new(filter).unwrap());
        let text = lines(&records(), to, filter.as_ref(), &mut left);
        text.split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn records_become_lines_of_json() {
        let time = "1970-01-01T00:00:01.500000Z";
        let first = json!({"offset": 3, "time": time, "origin": "device", "qos": 1, "retain": true, "topic": "a/b",
            "payload": "hello \"you\""});
        let third = json!({"offset": 8, "time": time, "origin": "upstream",
            "broker": "00000000-0000-0000-0000-000000000001", "qos": 1, "retain": true, "topic": "a/c",
            "properties": {"content_type": "text/plain", "correlation_data_base64": "/w==",
                "message_expiry_interval": 9, "user_properties": [["a", "1"], ["a", "2"]]},
            "payload_base64": "/wA="});
        let state = json!({"offset": 5, "state": true});
        assert_eq!(printed(u64::MAX, None, 9), [first.clone(), state.clone(), third.clone()]);
        assert_eq!(printed(8, None, 9), [first.clone(), state]);
        assert_eq!(printed(u64::MAX, None, 1), [first]);
        assert_eq!(printed(u64::MAX, Some("a/#"), 9).len(), 2);
        assert_eq!(printed(u64::MAX, Some("+/c"), 1), [third]);
    }

    #[test]
    fn properties_that_cannot_be_read_are_shown_as_bytes() {
        assert_eq!(Value::Object(properties(b"\xff")), json!({"base64": "/w=="}));
    }
}
