//! Adding brokers through the REST API of a proxy that runs.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::{Failure, http, output};

const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Where the REST API is: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiUrl {
    authority: String,
}

impl FromStr for ApiUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<ApiUrl, String> {
        let rest = text.strip_prefix("http://").ok_or("must start with http://")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return Err("must be http://host:port, with nothing behind it".to_owned());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(ApiUrl { authority })
    }
}

impl ApiUrl {
    /// Adds the brokers one after the other. One that is refused does not stop the others.
    pub fn add(&self, brokers: Vec<Map<String, Value>>) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for broker in brokers {
            let name = broker.get("name").cloned().unwrap_or_default();
            match self.post(&Value::Object(broker)) {
                Ok(id) => drop(output::write(format!("added {name} as {id}\n").as_bytes())?),
                Err(problem) => lines.push(format!("{name} was not added: {problem}")),
            }
        }
        if lines.is_empty() { Ok(()) } else { Err(Failure::work_lines(lines)) }
    }

    /// POST of a broker; answers with its id.
    fn post(&self, broker: &Value) -> Result<String, String> {
        let answer = http::ask(&self.authority, "/api/brokers", Some(&broker.to_string()), ANSWER_DEADLINE)?;
        let added: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match added["id"].as_str() {
            Some(id) if answer.status == 201 => Ok(id.to_owned()),
            // The answer names the field; it never repeats a value that may be secret.
            _ => Err(format!("{} {added}", answer.status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_that_of_a_server_alone() {
        for (text, authority) in [
            ("http://h:8080", "h:8080"),
            ("http://h:8080/", "h:8080"),
            ("http://h", "h:80"),
            ("http://[::1]:1", "[::1]:1"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(text.parse(), Ok(ApiUrl { authority: authority.to_owned() }), "{text}");
        }
        for text in ["", "h:8080", "https://h", "http://", "http://h/api", "http://u@h"] {
            assert!(text.parse::<ApiUrl>().is_err(), "{text}");
        }
    }
}
