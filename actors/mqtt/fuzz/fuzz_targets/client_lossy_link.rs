//! A client session and an honest server over a link that breaks at any byte.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mqtt_fuzz::lossy::check(bytes));
