//! The doors of mqtt-proxy.

pub mod settings;
pub mod web;
