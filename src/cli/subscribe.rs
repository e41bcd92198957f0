//! `mqtt-proxy sub`: subscribes, and prints every message that arrives as a line `topic payload`.

use std::time::Duration;

use clap::Args;
use mqtt::{QoS, TopicFilter};

use super::client::{self, ConnectArguments, Event, Events, Sender};
use super::output::Reader;
use super::{Failure, output};

/// The flags of `sub`.
#[derive(Args)]
pub struct SubscribeArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// Topic Filter (repeatable)
    #[arg(long, short, required = true, value_parser = parse_filter)]
    topic: Vec<TopicFilter>,
    /// QoS to ask for: 0, 1 or 2
    #[arg(long, short, default_value = "0", value_parser = client::parse_qos)]
    qos: QoS,
    /// End after this many messages
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this many seconds; that is a failure if --count is not reached
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    timeout: Option<Duration>,
    /// Print the topic before each payload, which is always done
    #[arg(long, short)]
    verbose: bool,
}

/// Reads a Topic Filter.
pub fn parse_filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::new(text).map_err(|error| error.to_string())
}

/// Reads a number of seconds as users write it.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=1e9).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be a number of seconds, 0.001 or more".to_owned())
}

/// Prints messages until there were enough, the time is over, Ctrl-C is pressed or nobody reads any more.
pub fn run(arguments: SubscribeArguments) -> Result<(), Failure> {
    let runtime = client::runtime()?;
    runtime.block_on(subscribe(&arguments))
}

async fn subscribe(arguments: &SubscribeArguments) -> Result<(), Failure> {
    let (sender, mut events) = client::open(&arguments.connect, "sub");
    let mut received = 0;
    let time_is_over = async {
        match arguments.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = receive(arguments, &sender, &mut events, &mut received) => ended,
        () = time_is_over => too_late(arguments, received),
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(|error| Failure::work(format!("Ctrl-C cannot be awaited: {error}")))
        }
    };
    if ended.is_ok() || received > 0 {
        // The result stands already; a broker that is gone does not change it.
        let _ = sender.disconnect().await;
        events.closed().await;
    }
    ended
}

async fn receive(
    arguments: &SubscribeArguments,
    sender: &Sender,
    events: &mut Events,
    received: &mut u64,
) -> Result<(), Failure> {
    events.connected().await?;
    sender.subscribe(&arguments.topic, arguments.qos).await?;
    loop {
        match events.next().await? {
            Event::Subscribed(refusals) => {
                let mut refused = arguments.topic.iter().zip(refusals);
                if let Some((filter, Some(reason))) = refused.find(|(_, refusal)| refusal.is_some()) {
                    let filter = filter.as_str();
                    return Err(Failure::work(format!(
                        "the broker refused the subscription to {filter}: {reason}"
                    )));
                }
            }
            Event::Received { topic, payload } => {
                let line = [&topic[..], b" ", &payload[..], b"\n"].concat();
                *received += 1;
                if output::write(&line)? == Reader::Gone || arguments.count == Some(*received) {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

fn too_late(arguments: &SubscribeArguments, received: u64) -> Result<(), Failure> {
    match (arguments.count, arguments.timeout) {
        (Some(count), Some(timeout)) => {
            let secs = timeout.as_secs_f64();
            Err(Failure::work(format!("after {secs} s, {received} of {count} messages have arrived")))
        }
        _ => Ok(()),
    }
}
