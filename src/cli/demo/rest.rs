//! The little of HTTP that adds a broker through the REST API, as any user could.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Failure;

const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Adds a broker to the proxy whose web side this is; answers with the broker's id.
pub async fn add_broker(web: SocketAddr, name: &str, broker: SocketAddr) -> Result<String, Failure> {
    let cannot = |problem: &str| Failure::work(format!("{name} cannot be added at http://{web}: {problem}"));
    let body = json!({"name": name, "address": broker.ip(), "port": broker.port()}).to_string();
    let (status, answer) = match tokio::time::timeout(ANSWER_DEADLINE, post(web, &body)).await {
        Ok(answered) => answered.map_err(|error| cannot(&error.to_string()))?,
        Err(_) => return Err(cannot("no answer in time")),
    };
    match answer["id"].as_str() {
        Some(id) if status == "201" => Ok(id.to_owned()),
        _ => Err(cannot(&format!("{status} {answer}"))),
    }
}

/// POST of a broker: the status code and the JSON of the answer.
async fn post(web: SocketAddr, body: &str) -> std::io::Result<(String, Value)> {
    let mut stream = TcpStream::connect(web).await?;
    let length = body.len();
    let request = format!(
        "POST /api/brokers HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}
