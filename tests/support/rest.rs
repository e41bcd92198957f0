//! A small HTTP/1.1 client for the REST API, the metrics and the dashboard.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::{DEADLINE, Version, wait_for, wait_until};

/// The web side of a proxy.
#[derive(Clone, Copy)]
pub struct Rest {
    address: SocketAddr,
}

/// An HTTP response.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines as they came.
    pub head: String,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

impl Rest {
    /// The web side at this address.
    pub fn at(address: SocketAddr) -> Rest {
        Rest { address }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }

    /// POST with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some(&body.to_string()))
    }

    /// PUT with a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, Some(&body.to_string()))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None)
    }

    /// Any method, with a body that need not be JSON.
    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        self.send_with(method, path, &[], body)
    }

    /// The same with more header lines.
    pub fn send_with(&self, method: &str, path: &str, headers: &[&str], body: Option<&str>) -> Reply {
        let mut stream = TcpStream::connect(self.address).expect("the web side listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        if let Some(body) = body {
            request
                .push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        stream.write_all(request.as_bytes()).expect("the request goes out");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        parse(&answer)
    }

    /// Adds a broker and returns its id.
    pub fn add(&self, broker: &Value) -> String {
        let reply = self.post("/api/brokers", broker);
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()["id"].as_str().expect("a broker has an id").to_owned()
    }

    /// Adds a broker on 127.0.0.1 with everything else at its default.
    pub fn add_local(&self, name: &str, port: u16, version: Version) -> String {
        self.add(&local_broker(name, port, version))
    }

    /// One broker as the API shows it.
    pub fn broker(&self, id: &str) -> Value {
        let reply = self.get(&format!("/api/brokers/{id}"));
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// All brokers as the API shows them.
    pub fn brokers(&self) -> Vec<Value> {
        let reply = self.get("/api/brokers");
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["brokers"].as_array().expect("a list of brokers").clone()
    }

    /// Enables or disables a broker and returns it.
    pub fn toggle(&self, id: &str) -> Value {
        let reply = self.send("POST", &format!("/api/brokers/{id}/toggle"), None);
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// The id of the broker with this name.
    pub fn id_of(&self, name: &str) -> String {
        let brokers = self.brokers();
        let found = brokers.iter().find(|broker| broker["name"] == name);
        found.unwrap_or_else(|| panic!("no broker is named {name}"))["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until a broker is connected.
    pub fn wait_connected(&self, id: &str) {
        wait_until("the broker is connected", || self.broker(id)["state"] == "connected");
    }

    /// Waits until a broker has acknowledged everything that was for it.
    pub fn wait_caught_up(&self, id: &str) {
        wait_until("the broker has everything", || {
            let broker = self.broker(id);
            broker["lag"] == 0 && broker["in_flight"] == 0
        });
    }

    /// Waits until everything that the log was given survives the death of the process.
    pub fn wait_stored(&self) {
        wait_until("everything is stored", || {
            let offset = |name: &str| self.metric(name, &[]);
            offset("mqtt_log_stored_offset") >= offset("mqtt_log_next_offset")
        });
    }

    /// Waits until the broker's last error says one of these.
    pub fn wait_last_error(&self, id: &str, signs: &[&str]) -> String {
        wait_for(&format!("last_error has one of {signs:?}"), || {
            let error = self.broker(id)["last_error"].as_str()?.to_owned();
            let plain = error.to_lowercase();
            signs.iter().any(|sign| plain.contains(sign)).then_some(error)
        })
    }

    /// `/api/status`.
    pub fn status(&self) -> Value {
        let reply = self.get("/api/status");
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// The sum of a metric over the label sets that have all of these (`name="value"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.get("/metrics").body;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let of_name = lines.filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// The JSON of a broker on 127.0.0.1.
pub fn local_broker(name: &str, port: u16, version: Version) -> Value {
    json!({"name": name, "address": "127.0.0.1", "port": port, "version": version.name()})
}

fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no HTTP response: {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let body = &answer[end + 4..];
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_vec() };
    Reply { status, head, body: String::from_utf8_lossy(&body).into_owned() }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a chunk size is text");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size is hexadecimal");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    body
}
