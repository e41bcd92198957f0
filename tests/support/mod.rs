//! What the integration tests stand on: the real proxy and real brokers as child processes, clients that are
//! not ours, a scripted broker, and a second opinion on the bytes of MQTT.

pub mod certificates;
pub mod device;
pub mod faulty_link;
pub mod keeper;
pub mod log_files;
pub mod mosquitto;
pub mod packets;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod python;
pub mod random;
pub mod receiver;
pub mod refusals;
pub mod relay;
pub mod reporter;
pub mod rest;
pub mod scripted;
pub mod shared;
pub mod subscriber;
pub mod talker;
pub mod tls;
pub mod tmpfs;
pub mod webhook_receiver;
pub mod wire;

use std::time::{Duration, Instant};

/// How long anything may take before a test fails: generous, because nothing here measures speed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long a test watches for something that must not come.
pub const SILENCE: Duration = Duration::from_millis(300);

/// The two versions of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V4,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// Both of them.
    pub const BOTH: [Version; 2] = [Version::V4, Version::V5];

    /// As the REST API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Version::V4 => "3.1.1",
            Version::V5 => "5",
        }
    }

    /// Whether it is MQTT 5.0.
    pub fn is_v5(self) -> bool {
        self == Version::V5
    }
}

/// Asks again and again until there is an answer, and fails the test where none comes.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks again and again until the condition holds, and fails the test where it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// `count` payloads that tell their place: `prefix-00000` and on.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:05}")).collect()
}

/// Fails with the first place where two sequences differ, instead of showing both.
pub fn assert_same(got: &[String], wanted: &[String], context: &str) {
    let differs = got.iter().zip(wanted).position(|(left, right)| left != right);
    let place = differs.unwrap_or_else(|| got.len().min(wanted.len()));
    assert!(
        got == wanted,
        "{context}: {} instead of {}; at place {place} came {:?} instead of {:?}, before it {:?}",
        got.len(),
        wanted.len(),
        got.get(place),
        wanted.get(place),
        place.checked_sub(1).and_then(|before| got.get(before)),
    );
}

/// One test for each version of MQTT, from a function that takes the version; its attributes are those of both tests.
macro_rules! in_both_versions {
    ($($(#[$meta:meta])* fn $name:ident($version:ident: Version) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn dialogue($version: Version) $body

            $(#[$meta])*
            #[test]
            fn in_mqtt_3_1_1() {
                dialogue(Version::V4);
            }

            $(#[$meta])*
            #[test]
            fn in_mqtt_5() {
                dialogue(Version::V5);
            }
        }
    )+};
}
