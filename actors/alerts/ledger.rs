//! `data/alerts.json`: what fires, and what the webhook has not heard of. A restart neither repeats nor forgets it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::body::{read_stored, stored};
use super::machine::Alert;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What fires.
    pub firing: Vec<Alert>,
    /// What is still to be delivered, in its order.
    pub waiting: Vec<Alert>,
}

impl Ledger {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.firing.is_empty() && self.waiting.is_empty()
    }

    /// What the file says; nothing where it is not there. A file that cannot be read is said so and taken for nothing:
    /// alerts that still hold fire again.
    pub fn read(path: &Path) -> Ledger {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ledger::default(),
            Err(error) => {
                log::warn!("{}: {error}; alerts of before the restart are forgotten", path.display());
                return Ledger::default();
            }
        };
        Ledger::parse(&text).unwrap_or_else(|| {
            log::warn!(
                "{}: not what the proxy wrote; alerts of before the restart are forgotten",
                path.display()
            );
            Ledger::default()
        })
    }

    fn parse(text: &str) -> Option<Ledger> {
        let value: Value = serde_json::from_str(text).ok()?;
        let list = |name: &str| -> Option<Vec<Alert>> {
            value.get(name)?.as_array()?.iter().map(read_stored).collect()
        };
        Some(Ledger { firing: list("firing")?, waiting: list("waiting")? })
    }

    /// Writes the file anew, then puts it in the place of the old one.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let list = |alerts: &[Alert]| alerts.iter().map(stored).collect::<Vec<_>>();
        let text = json!({ "firing": list(&self.firing), "waiting": list(&self.waiting) }).to_string();
        let new_path = new_path(path);
        let written = File::create(&new_path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&new_path, path))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn new_path(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::machine::AlertState;
    use super::super::rule::AlertMetric;
    use super::*;
    use crate::BrokerId;

    #[test]
    fn what_was_written_is_read() {
        let directory = std::env::temp_dir().join(format!("mqtt-proxy-alerts-{}", Uuid::new_v4()));
        fs::create_dir(&directory).expect("a directory");
        let path = directory.join("alerts.json");
        assert_eq!(Ledger::read(&path), Ledger::default());
        let alert = Alert {
            rule: "r".to_owned(),
            state: AlertState::Firing,
            broker_id: BrokerId(Uuid::from_u128(3)),
            broker: "b".to_owned(),
            metric: AlertMetric::Lag,
            value: 2,
            threshold: 1,
            since_micros: 1,
            at_micros: 2,
            is_moot: false,
        };
        let ledger = Ledger { firing: vec![alert.clone()], waiting: vec![alert.clone(), alert] };
        for ledger in [ledger, Ledger::default()] {
            ledger.write(&path).expect("the directory is there");
            assert_eq!(Ledger::read(&path), ledger);
        }
        fs::write(&path, "{\"firing\":[{}]").expect("the directory is there");
        assert_eq!(Ledger::read(&path), Ledger::default(), "a torn file is no reason not to start");
        fs::remove_dir_all(&directory).expect("it is ours");
        assert!(Ledger::default().write(&path).unwrap_err().contains("alerts.json"));
    }
}
