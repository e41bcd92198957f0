//! The actor that owns the definitions of the upstream brokers.
