//! The command `mqtt-proxy`.
fn main() {}
