//! The doors of mqtt-proxy.

pub mod web;
