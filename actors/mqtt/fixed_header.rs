//! The fixed header: packet type, flags and Remaining Length (MQTT 5.0 section 2.1).
