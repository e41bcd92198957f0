//! A client of crate `mqtt` over a plain TCP stream: it subscribes, publishes at every QoS, prints what comes back, and
//! says goodbye. `cargo run --example client -- 127.0.0.1:1883`, and a `5` behind the address for MQTT 5.0.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mqtt::packet::{Disconnect, SubscriptionOptions};
use mqtt::session::client::{ClientSession, Event, Options};
use mqtt::{Message, Properties, ProtocolVersion, QoS, TopicFilter, TopicName};

const USAGE: &str = "usage: client ADDRESS:PORT [3.1.1|5]";

/// How long the whole conversation may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many messages are published at each QoS.
const MESSAGES: usize = 3;

fn main() -> ExitCode {
    match run(std::env::args().skip(1), &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the arguments say and prints to `print`.
pub fn run(mut arguments: impl Iterator<Item = String>, print: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let address = arguments.next().ok_or(USAGE)?;
    let version = match arguments.next().as_deref() {
        None | Some("3.1.1") => ProtocolVersion::V311,
        Some("5") => ProtocolVersion::V5,
        Some(_) => return Err(USAGE.into()),
    };
    let topic = format!("example/{}", std::process::id());
    let client_id = format!("example-{}-{}", std::process::id(), version.level());
    let mut connection = Connection::open(&address, Options::new(version, client_id))?;
    let mut conversation =
        Conversation { topic, to_come_back: 3 * MESSAGES, to_be_acknowledged: 2 * MESSAGES };
    let start = Instant::now();
    while !conversation.is_over() {
        if start.elapsed() > PATIENCE {
            return Err(format!("{address} did not send everything back within {PATIENCE:?}").into());
        }
        for event in connection.turn()? {
            conversation.go_on(event, &mut connection.client, print)?;
        }
    }
    connection.client.disconnect(Disconnect::normal())?;
    connection.write()?;
    writeln!(print, "disconnected")?;
    Ok(())
}

/// What the client wants to see.
struct Conversation {
    topic: String,
    to_come_back: usize,
    to_be_acknowledged: usize,
}

impl Conversation {
    fn is_over(&self) -> bool {
        self.to_come_back == 0 && self.to_be_acknowledged == 0
    }

    /// One thing leads to the next.
    fn go_on(
        &mut self,
        event: Event,
        client: &mut ClientSession,
        print: &mut dyn Write,
    ) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Connected { session_present, .. } => {
                writeln!(print, "connected, session present: {session_present}")?;
                let filter = TopicFilter::new(format!("{}/#", self.topic))?;
                let options = SubscriptionOptions::with_qos(QoS::ExactlyOnce);
                client.subscribe([(filter, options)], Properties::default())?;
            }
            Event::Subscribed { reason_codes, .. } => {
                for reason_code in reason_codes {
                    writeln!(print, "subscribed: {reason_code}")?;
                }
                self.publish_all(client)?;
            }
            Event::Published { reason_code, .. } if reason_code.is_error() => {
                return Err(format!("a message was refused: {reason_code}").into());
            }
            Event::Published { reason_code, .. } => {
                self.to_be_acknowledged = self.to_be_acknowledged.saturating_sub(1);
                writeln!(print, "published: {reason_code}")?;
            }
            Event::Message(delivery) => {
                self.to_come_back = self.to_come_back.saturating_sub(1);
                let message = delivery.message;
                let text = String::from_utf8_lossy(&message.payload);
                writeln!(print, "message on {} at QoS {}: {text}", message.topic_name, message.qos.as_u8())?;
            }
            Event::Disconnected(end) => {
                return Err(format!("the connection ended: {:?}, {}", end.cause, end.reason_code).into());
            }
            Event::Unsubscribed { .. } => {}
        }
        Ok(())
    }

    fn publish_all(&self, client: &mut ClientSession) -> Result<(), Box<dyn Error>> {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for number in 1..=MESSAGES {
                client.publish(Message {
                    topic_name: TopicName::new(format!("{}/{}", self.topic, qos.as_u8()))?,
                    qos,
                    retain: false,
                    properties: Properties::default(),
                    payload: Bytes::from(format!("hello {number}")),
                })?;
            }
        }
        Ok(())
    }
}

/// A client session and its transport.
struct Connection {
    client: ClientSession,
    stream: TcpStream,
    read: BytesMut,
}

impl Connection {
    fn open(address: &str, options: Options) -> Result<Connection, Box<dyn Error>> {
        let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
        stream.set_nodelay(true)?;
        let mut client = ClientSession::new(options);
        client.connect(Instant::now())?;
        Ok(Connection { client, stream, read: BytesMut::new() })
    }

    /// Writes what is to be written, waits for bytes or for what time brings, and tells what happened.
    fn turn(&mut self) -> Result<Vec<Event>, Box<dyn Error>> {
        self.write()?;
        let now = Instant::now();
        let until = self.client.next_deadline().map_or(PATIENCE, |at| at.saturating_duration_since(now));
        // A timeout of 0 would be none at all.
        self.stream.set_read_timeout(Some(until.clamp(Duration::from_millis(1), PATIENCE)))?;
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(count) => self.read.extend_from_slice(&chunk[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error.into()),
            },
        }
        let now = Instant::now();
        let mut events = Vec::from_iter(self.client.tick(now));
        while let Some(event) = self.client.receive(&mut self.read, now) {
            events.push(event);
        }
        Ok(events)
    }

    /// Writes all that the session has for the server.
    fn write(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            let bytes = self.client.take_output(Instant::now());
            if bytes.is_empty() {
                return Ok(());
            }
            self.stream.write_all(&bytes)?;
        }
    }
}
