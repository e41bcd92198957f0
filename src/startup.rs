//! Builds the proxy from its settings and runs it until it is stopped.

use crate::settings::Settings;

/// Why the proxy could not start or run.
pub type StartupError = std::io::Error;

/// Runs the proxy.
pub fn run(_settings: Settings) -> Result<(), StartupError> {
    Err(StartupError::other("not built yet"))
}
