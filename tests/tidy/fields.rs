//! Holds README.md's tables of the fields of an upstream broker to the table in the code: each field once, with the
//! default that a new broker has.

use std::collections::BTreeMap;
use std::fs;

use actors::definition::{BrokerChanges, fields};
use actors::{BrokerId, broker::BrokerSource};
use serde_json::Value;

use super::{assert_none, root};

/// The part of README.md with these tables.
const SECTION: (&str, &str) = ("\n### Upstream brokers\n", "\n### Try before you store\n");

/// What stands between backticks in a cell.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A cell that holds code and commas, and nothing else.
fn is_code_only(cell: &str) -> bool {
    cell.split('`').step_by(2).all(|text| text.trim_matches([' ', ',']).is_empty())
}

/// Field and default as it is written there; without a default where that is more than a value.
fn documented() -> Vec<(String, Option<String>)> {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md can be read");
    let (_, section) = readme.split_once(SECTION.0).expect("README.md describes upstream brokers");
    let (section, _) = section.split_once(SECTION.1).expect("README.md goes on");
    let mut found = Vec::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [names, default, _] = cells[..] else { continue };
        let (names, defaults) = (codes(names), codes(default));
        for (place, name) in names.iter().enumerate() {
            let one = match default {
                "none" => Some("none"),
                _ if is_code_only(default) && defaults.len() == names.len() => Some(defaults[place]),
                _ => None,
            };
            found.push(((*name).to_owned(), one.map(str::to_owned)));
        }
    }
    found
}

/// A value as README.md writes it.
fn written(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(written).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[test]
fn the_readme_has_every_field_of_a_broker_once() {
    let mut times = BTreeMap::new();
    for (name, _) in documented() {
        *times.entry(name).or_insert(0) += 1;
    }
    let missing =
        fields().filter(|field| times.get(field.name) != Some(&1)).map(|field| field.name.to_owned());
    assert_none(
        &missing.collect::<Vec<_>>(),
        "README.md is to have each of these fields in one row of a table:",
    );
    let is_field = |name: &str| fields().any(|field| field.name == name);
    let unknown: Vec<String> = times.into_keys().filter(|name| !is_field(name)).collect();
    assert_none(&unknown, "README.md has rows for what is no field of a broker:");
}

#[test]
fn the_readme_has_the_defaults_of_a_new_broker() {
    let id: BrokerId = BrokerId(uuid::Uuid::nil());
    let changes = BrokerChanges::new().with("name", "a").with("address", "b");
    // Only then do the fields for messages from the broker and those for TLS have values.
    let changes = changes.with("bidirectional", true).with("use_tls", true);
    let broker = changes.create(id, BrokerSource::Stored).expect("nothing else must be given");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, default) in documented() {
        let given = ["name", "address", "bidirectional", "use_tls"].contains(&name.as_str());
        let field = fields().find(|field| field.name == name && !given);
        let (Some(default), Some(field)) = (default, field) else { continue };
        let is = written(&(field.get)(&broker));
        compared += 1;
        if is != default {
            wrong.push(format!("{name}: README.md says {default}, and it is {is}"));
        }
    }
    assert!(compared > 40, "only {compared} defaults were found");
    assert_none(&wrong, "README.md is to say the defaults as they are:");
}
