//! The doors of mqtt-proxy.

pub mod cli;
pub mod logging;
pub mod settings;
pub mod web;
pub mod startup;
