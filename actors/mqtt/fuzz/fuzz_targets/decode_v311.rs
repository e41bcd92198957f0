//! Arbitrary bytes as packets of MQTT 3.1.1.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mqtt_fuzz::check(mqtt::ProtocolVersion::V311, bytes));
