//! `mqtt-proxy pub`: publishes messages, and succeeds only when each of QoS 1 and 2 was acknowledged.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgGroup, Args};
use mqtt::{QoS, TopicName};
use tokio::sync::{Semaphore, mpsc};

use super::Failure;
use super::client::{self, ConnectArguments, Event, Sender};

/// How many lines are read ahead of the connection.
const LINES_AHEAD: usize = 64;

/// The flags of `pub`.
#[derive(Args)]
#[command(group = ArgGroup::new("messages").required(true).multiple(true).args(["message", "lines", "count"]))]
pub struct PublishArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// Topic Name
    #[arg(long, short, value_parser = parse_topic)]
    topic: TopicName,
    /// The payload; with --count, an n in curly braces becomes the number of the message
    #[arg(long, short, allow_hyphen_values = true)]
    message: Option<String>,
    /// Publish each line of standard input as a message
    #[arg(long, conflicts_with_all = ["message", "count"])]
    lines: bool,
    /// How many messages; without --message their payloads are their numbers
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// QoS: 0, 1 or 2
    #[arg(long, short, default_value = "0", value_parser = client::parse_qos)]
    qos: QoS,
    /// Ask the broker to retain the message
    #[arg(long, short)]
    retain: bool,
    /// At most this many messages a second, such as 100 or 0.5
    #[arg(long, value_parser = parse_rate)]
    rate: Option<f64>,
}

fn parse_topic(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

/// Publishes and waits for the acknowledgements.
pub fn run(arguments: PublishArguments) -> Result<(), Failure> {
    let runtime = client::runtime()?;
    runtime.block_on(publish(arguments))
}

async fn publish(arguments: PublishArguments) -> Result<(), Failure> {
    let (sender, mut events) = client::open(&arguments.connect, "pub");
    let in_flight_max = events.connected().await?;
    let window = Arc::new(Semaphore::new(usize::from(in_flight_max)));
    let publisher = tokio::spawn({
        let window = Arc::clone(&window);
        async move {
            let published = publish_all(&arguments, &sender, &window).await;
            if published.is_ok() {
                // All permits are back when all messages are acknowledged. The semaphore is never closed.
                let _ = window.acquire_many(u32::from(in_flight_max)).await;
            }
            sender.disconnect().await.and(published)
        }
    });
    let mut in_flight = InFlight::default();
    loop {
        match events.next().await? {
            Event::Sent(packet_id) => in_flight.sent(packet_id),
            Event::Acknowledged(packet_id) => window.add_permits(in_flight.acknowledged(packet_id)),
            Event::Refused(reason) => {
                return Err(Failure::work(format!("the broker refused a message: {reason}")));
            }
            Event::Disconnecting => break,
            _ => {}
        }
    }
    events.closed().await;
    publisher.await.unwrap_or_else(|error| Err(Failure::work(format!("publishing stopped: {error}"))))
}

async fn publish_all(
    arguments: &PublishArguments,
    sender: &Sender,
    window: &Semaphore,
) -> Result<(), Failure> {
    let mut payloads = Payloads::of(arguments);
    let mut ticks = arguments.rate.map(|rate| tokio::time::interval(Duration::from_secs_f64(1.0 / rate)));
    while let Some(payload) = payloads.next().await? {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        if arguments.qos != QoS::AtMostOnce {
            match window.acquire().await {
                Ok(permit) => permit.forget(),
                Err(closed) => return Err(Failure::work(closed.to_string())),
            }
        }
        sender.publish(&arguments.topic, arguments.qos, arguments.retain, payload).await?;
    }
    Ok(())
}

/// The QoS 1 and 2 messages in flight, in the order in which they left. Their places in the window become free
/// in this order only: rumqttc uses Packet Identifiers in turn, also one whose message is not acknowledged yet.
#[derive(Default)]
struct InFlight {
    messages: VecDeque<(u16, bool)>,
}

impl InFlight {
    fn sent(&mut self, packet_id: u16) {
        if packet_id != 0 {
            self.messages.push_back((packet_id, false));
        }
    }

    /// Notes an acknowledgement; answers with the number of places that became free.
    fn acknowledged(&mut self, packet_id: u16) -> usize {
        let mut waiting = self.messages.iter_mut();
        if let Some(message) = waiting.find(|(id, done)| *id == packet_id && !done) {
            message.1 = true;
        }
        let before = self.messages.len();
        while self.messages.front().is_some_and(|(_, done)| *done) {
            self.messages.pop_front();
        }
        before - self.messages.len()
    }
}

/// Where the payloads come from.
enum Payloads {
    Repeated { text: String, next: u64, count: Option<u64> },
    Lines(mpsc::Receiver<std::io::Result<Bytes>>),
}

impl Payloads {
    fn of(arguments: &PublishArguments) -> Payloads {
        if arguments.lines {
            return Payloads::Lines(lines_of_stdin());
        }
        let text = arguments.message.clone().unwrap_or_else(|| "{n}".to_owned());
        Payloads::Repeated { text, next: 1, count: arguments.count }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Payloads::Repeated { text, next, count } => {
                let number = *next;
                *next += 1;
                Ok(match count {
                    None => (number == 1).then(|| Bytes::from(text.clone())),
                    Some(count) => {
                        (number <= *count).then(|| Bytes::from(text.replace("{n}", &number.to_string())))
                    }
                })
            }
            Payloads::Lines(lines) => lines
                .recv()
                .await
                .transpose()
                .map_err(|error| Failure::work(format!("standard input cannot be read: {error}"))),
        }
    }
}

/// Standard input blocks, so a thread of its own reads it. The end of the process ends it.
fn lines_of_stdin() -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Bytes::from(line)
            });
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_free_in_the_order_of_sending() {
        let mut in_flight = InFlight::default();
        for packet_id in [0, 1, 2, 3] {
            in_flight.sent(packet_id);
        }
        assert_eq!(in_flight.acknowledged(2), 0);
        assert_eq!(in_flight.acknowledged(9), 0);
        assert_eq!(in_flight.acknowledged(1), 2);
        in_flight.sent(1);
        assert_eq!(in_flight.acknowledged(1), 0);
        assert_eq!(in_flight.acknowledged(3), 2);
    }
}
