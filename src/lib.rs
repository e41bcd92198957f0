//! The doors of mqtt-proxy: how it meets the world. Nothing here owns state; that is what the actors are for.

pub mod adapters;
pub mod cli;
pub mod logging;
pub mod settings;
pub mod startup;
pub mod stop_signals;
pub mod web;
pub mod webhook;
