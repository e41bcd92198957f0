//! `mqtt-proxy import`: what another program's configuration says of upstream brokers, as definitions of our own.

mod api;
mod mosquitto;

use std::path::{Path, PathBuf};

use actors::broker::BrokerSource;
use actors::config_store::ConfigStore;
use actors::definition::FieldError;
use actors::{BrokerChanges, BrokerId};
use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::api::ApiUrl;
use self::mosquitto::Import;
use super::{Failure, output};
use crate::settings::Environment;

/// The flags of `import`.
#[derive(Args)]
pub struct ImportArguments {
    /// A mosquitto.conf with connection blocks
    #[arg(value_name = "MOSQUITTO.CONF")]
    file: PathBuf,
    /// Add the brokers to the data directory of a proxy that does not run, instead of printing them
    #[arg(long, value_name = "DIR", conflicts_with = "api")]
    data: Option<PathBuf>,
    /// Add the brokers through the REST API of a proxy that runs, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    api: Option<ApiUrl>,
}

/// Translates the file and prints or adds what comes out; what could not be translated goes to standard error.
pub fn run(arguments: ImportArguments) -> Result<(), Failure> {
    let lines = mosquitto::lines::read(&arguments.file).map_err(|problem| Failure::input(vec![problem]))?;
    let Import { brokers, notes } = mosquitto::translate(&lines).map_err(Failure::input)?;
    for note in &notes {
        output::note(&note.to_string());
    }
    if brokers.is_empty() {
        output::note(&format!(
            "{}: no connection in it, so there is nothing to import",
            arguments.file.display()
        ));
    }
    // Nothing goes out that a proxy would not take.
    let changes = brokers.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    match (arguments.data, arguments.api) {
        (Some(directory), _) => add_to(&directory, changes),
        (None, Some(api)) => api.add(brokers),
        (None, None) => print(brokers),
    }
}

fn print(brokers: Vec<Map<String, Value>>) -> Result<(), Failure> {
    let document = json!({"brokers": brokers});
    // A map of texts, numbers and lists is always JSON.
    let mut text =
        serde_json::to_string_pretty(&document).map_err(|error| Failure::work(error.to_string()))?;
    text.push('\n');
    output::write(text.as_bytes()).map(drop)
}

/// Adds all of them, or none: a name that is in use already stops it before anything is written.
fn add_to(directory: &Path, changes: Vec<BrokerChanges>) -> Result<(), Failure> {
    let secret = Environment::of_process()?.broker_secret();
    let added = ConfigStore::add_offline(directory, secret, changes)
        .map_err(|error| Failure::work(error.to_string()))?;
    let mut text = String::new();
    for broker in added {
        text.push_str(&format!(
            "added {:?} ({}:{}) as {}\n",
            broker.name, broker.address, broker.port, broker.id
        ));
    }
    output::write(text.as_bytes()).map(drop)
}

/// The definition as the proxy takes it.
fn checked(fields: &Map<String, Value>) -> Result<BrokerChanges, Failure> {
    let wrong = |error: FieldError| {
        let name = fields.get("name").cloned().unwrap_or_default();
        Failure::input(vec![format!("connection {name} cannot be imported: {error}")])
    };
    let mut changes = BrokerChanges::new();
    for (field, value) in fields {
        changes.set(field, value.clone()).map_err(wrong)?;
    }
    changes.clone().create(BrokerId(Uuid::nil()), BrokerSource::Stored).map_err(wrong)?;
    Ok(changes)
}
