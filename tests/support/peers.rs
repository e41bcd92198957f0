//! Clients that are not ours: rumqttc in both versions, and the commands of mosquitto-clients.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rumqttc::v5::mqttbytes::v5 as packets_v5;

use super::packets::{Properties, Publish, Value, property};
use super::process::{Finished, Process, run};
use super::{DEADLINE, Version, wait_until};

/// The largest packet that a peer sends or takes.
const PACKET_BYTES_MAX: u32 = 2_000_000;

/// A connection through rumqttc. It does not connect again when it ends.
pub struct Peer {
    client: Client,
    seen: Arc<Mutex<Seen>>,
}

enum Client {
    V4(rumqttc::Client),
    V5(rumqttc::v5::Client),
}

/// What happened on the connection so far.
#[derive(Default)]
struct Seen {
    connected: bool,
    grants: usize,
    finished: usize,
    messages: Vec<Publish>,
    end: Option<String>,
}

impl Peer {
    /// Connects with a clean session.
    pub fn connect(address: SocketAddr, version: Version, client_id: &str) -> Peer {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let client = match version {
            Version::V4 => connect_v4(address, client_id, Arc::clone(&seen)),
            Version::V5 => connect_v5(address, client_id, Arc::clone(&seen)),
        };
        let peer = Peer { client, seen };
        peer.wait("the peer is connected", |seen| seen.connected);
        peer
    }

    /// Connects and subscribes.
    pub fn subscriber(address: SocketAddr, version: Version, client_id: &str, filter: &str, qos: u8) -> Peer {
        let peer = Peer::connect(address, version, client_id);
        match &peer.client {
            Client::V4(client) => client.subscribe(filter, qos_v4(qos)).expect("rumqttc takes it"),
            Client::V5(client) => client.subscribe(filter, qos_v5(qos)).expect("rumqttc takes it"),
        }
        peer.wait("the subscription is granted", |seen| seen.grants == 1);
        peer
    }

    /// Publishes all in order and waits until every flow is over (at QoS 0: until all were written).
    pub fn publish_all(&self, messages: &[Publish]) {
        let before = self.look(|seen| seen.finished);
        for message in messages {
            self.hand_over(message);
        }
        self.wait("all messages are acknowledged", |seen| seen.finished == before + messages.len());
    }

    fn hand_over(&self, message: &Publish) {
        let (topic, payload, retain) = (message.topic.clone(), message.payload.clone(), message.retain);
        match &self.client {
            Client::V4(client) => {
                client.publish(topic, qos_v4(message.qos), retain, payload).expect("rumqttc takes it");
            }
            Client::V5(client) => {
                let properties = to_rumqttc(&message.properties);
                client
                    .publish_with_properties(topic, qos_v5(message.qos), retain, payload, properties)
                    .expect("rumqttc takes it");
            }
        }
    }

    /// What was received so far.
    pub fn messages(&self) -> Vec<Publish> {
        self.look(|seen| seen.messages.clone())
    }

    /// Everything that came before the message with this payload, which must come.
    pub fn before(&self, marker: &str) -> Vec<Publish> {
        let place =
            |seen: &Seen| seen.messages.iter().position(|message| message.payload == marker.as_bytes());
        self.wait(&format!("{marker:?} arrives"), |seen| place(seen).is_some());
        self.look(|seen| seen.messages[..place(seen).expect("it was there")].to_vec())
    }

    /// The payloads of everything that came before the message with this payload.
    pub fn texts_before(&self, marker: &str) -> Vec<String> {
        self.before(marker).iter().map(Publish::text).collect()
    }

    fn look<T>(&self, question: impl Fn(&Seen) -> T) -> T {
        question(&self.seen.lock().expect("no peer panics"))
    }

    fn wait(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        wait_until(what, || {
            let (done, end) = self.look(|seen| (condition(seen), seen.end.clone()));
            assert!(done || end.is_none(), "the connection ended ({end:?}) before {what}");
            done
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = match &self.client {
            Client::V4(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
        };
    }
}

fn connect_v4(address: SocketAddr, client_id: &str, seen: Arc<Mutex<Seen>>) -> Client {
    let mut options = rumqttc::MqttOptions::new(client_id, address.ip().to_string(), address.port());
    options.set_keep_alive(DEADLINE);
    options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
    let (client, mut connection) = rumqttc::Client::new(options, 100);
    std::thread::spawn(move || {
        for event in connection.iter() {
            let mut seen = seen.lock().expect("no peer panics");
            match event {
                Ok(event) => note_v4(&mut seen, event),
                Err(error) => {
                    seen.end = Some(error.to_string());
                    return;
                }
            }
        }
    });
    Client::V4(client)
}

fn note_v4(seen: &mut Seen, event: rumqttc::Event) {
    use rumqttc::{Event, Outgoing, Packet};
    match event {
        Event::Incoming(Packet::ConnAck(_)) => seen.connected = true,
        Event::Incoming(Packet::SubAck(_)) => seen.grants += 1,
        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => {
            seen.finished += 1;
        }
        Event::Incoming(Packet::Publish(publish)) => seen.messages.push(Publish {
            dup: publish.dup,
            qos: publish.qos as u8,
            retain: publish.retain,
            topic: publish.topic,
            id: publish.pkid,
            properties: Vec::new(),
            payload: publish.payload.to_vec(),
        }),
        _ => {}
    }
}

fn connect_v5(address: SocketAddr, client_id: &str, seen: Arc<Mutex<Seen>>) -> Client {
    let mut options = rumqttc::v5::MqttOptions::new(client_id, address.ip().to_string(), address.port());
    options.set_keep_alive(DEADLINE);
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    let (client, mut connection) = rumqttc::v5::Client::new(options, 100);
    std::thread::spawn(move || {
        for event in connection.iter() {
            let mut seen = seen.lock().expect("no peer panics");
            match event {
                Ok(event) => note_v5(&mut seen, event),
                Err(error) => {
                    seen.end = Some(error.to_string());
                    return;
                }
            }
        }
    });
    Client::V5(client)
}

fn note_v5(seen: &mut Seen, event: rumqttc::v5::Event) {
    use packets_v5::Packet;
    use rumqttc::Outgoing;
    use rumqttc::v5::Event;
    match event {
        Event::Incoming(Packet::ConnAck(_)) => seen.connected = true,
        Event::Incoming(Packet::SubAck(_)) => seen.grants += 1,
        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => {
            seen.finished += 1;
        }
        Event::Incoming(Packet::Publish(publish)) => seen.messages.push(Publish {
            dup: publish.dup,
            qos: publish.qos as u8,
            retain: publish.retain,
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            id: publish.pkid,
            properties: publish.properties.map(from_rumqttc).unwrap_or_default(),
            payload: publish.payload.to_vec(),
        }),
        _ => {}
    }
}

fn qos_v4(qos: u8) -> rumqttc::QoS {
    [rumqttc::QoS::AtMostOnce, rumqttc::QoS::AtLeastOnce, rumqttc::QoS::ExactlyOnce][usize::from(qos)]
}

fn qos_v5(qos: u8) -> rumqttc::v5::mqttbytes::QoS {
    use rumqttc::v5::mqttbytes::QoS;
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)]
}

fn to_rumqttc(properties: &Properties) -> packets_v5::PublishProperties {
    let mut publish = packets_v5::PublishProperties::default();
    for (id, value) in properties.clone() {
        match (id, value) {
            (property::PAYLOAD_FORMAT, Value::Byte(format)) => {
                publish.payload_format_indicator = Some(format)
            }
            (property::MESSAGE_EXPIRY, Value::Four(secs)) => publish.message_expiry_interval = Some(secs),
            (property::CONTENT_TYPE, Value::Text(text)) => publish.content_type = Some(text),
            (property::RESPONSE_TOPIC, Value::Text(text)) => publish.response_topic = Some(text),
            (property::CORRELATION_DATA, Value::Binary(data)) => publish.correlation_data = Some(data.into()),
            (property::USER, Value::Pair(name, text)) => publish.user_properties.push((name, text)),
            other => panic!("{other:?} is no property of a PUBLISH"),
        }
    }
    publish
}

fn from_rumqttc(publish: packets_v5::PublishProperties) -> Properties {
    let mut properties = Properties::new();
    let mut put = |id, value: Option<Value>| properties.extend(value.map(|value| (id, value)));
    put(property::PAYLOAD_FORMAT, publish.payload_format_indicator.map(Value::Byte));
    put(property::MESSAGE_EXPIRY, publish.message_expiry_interval.map(Value::Four));
    put(property::CONTENT_TYPE, publish.content_type.map(Value::Text));
    put(property::RESPONSE_TOPIC, publish.response_topic.map(Value::Text));
    put(property::CORRELATION_DATA, publish.correlation_data.map(|data| Value::Binary(data.to_vec())));
    for (name, text) in publish.user_properties {
        put(property::USER, Some(Value::Pair(name, text)));
    }
    properties
}

/// `mosquitto_pub` with these arguments besides host and port.
pub fn mosquitto_pub(address: SocketAddr, arguments: &[&str]) -> Finished {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]).args(arguments);
    run("mosquitto_pub", &mut command)
}

/// `mosquitto_sub` that prints `topic qos retain payload`, once it is subscribed.
pub fn mosquitto_sub(address: SocketAddr, arguments: &[&str]) -> Process {
    // Without stdbuf its lines would stay in the buffer of its stdout.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub"]);
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-d", "-F", "%t %q %r %p"]);
    let process = Process::spawn("mosquitto_sub", command.args(arguments));
    wait_until("mosquitto_sub is subscribed", || process.output().contains("Subscribed ("));
    process
}
