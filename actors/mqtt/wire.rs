//! The data representations of the wire (MQTT 5.0 section 1.5): integers, strings, binary data.
