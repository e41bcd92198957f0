//! Adds a broker through the REST API, as any user could.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use crate::cli::http;

const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Adds a broker to the proxy whose web side this is; answers with the broker's id.
pub async fn add_broker(web: SocketAddr, name: &str, broker: SocketAddr) -> Result<String, Failure> {
    let cannot = |problem: &str| Failure::work(format!("{name} cannot be added at http://{web}: {problem}"));
    let body = json!({"name": name, "address": broker.ip(), "port": broker.port()}).to_string();
    let asked = tokio::task::spawn_blocking(move || {
        http::ask(&web.to_string(), "/api/brokers", Some(&body), ANSWER_DEADLINE)
    });
    let answer = asked.await.map_err(|error| cannot(&error.to_string()))?;
    let answer = answer.map_err(|problem| cannot(&problem))?;
    let added: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match added["id"].as_str() {
        Some(id) if answer.status == 201 => Ok(id.to_owned()),
        _ => Err(cannot(&format!("{} {added}", answer.status))),
    }
}
