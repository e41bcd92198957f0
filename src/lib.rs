//! The doors of mqtt-proxy.
