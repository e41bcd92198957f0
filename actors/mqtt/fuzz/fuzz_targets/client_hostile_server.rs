//! A client session against a server that says anything at any time.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mqtt_fuzz::hostile::check(bytes));
