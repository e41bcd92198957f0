//! Arbitrary bytes as packets of MQTT 5.0.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mqtt_fuzz::check(mqtt::ProtocolVersion::V5, bytes));
