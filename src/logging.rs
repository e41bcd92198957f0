//! Log lines on standard error, chosen by `RUST_LOG`, or else `LOG_LEVEL`, or else from `info` on.

use crate::settings::{Environment, SettingsError};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Starts logging. Does nothing where it was started before.
pub fn init(environment: &Environment) -> Result<(), SettingsError> {
    let filters = filters(environment)?;
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filters).format_timestamp_millis();
    // Only a logger that exists already is an error here.
    let _ = builder.try_init();
    Ok(())
}

/// What to log, in the words of `RUST_LOG`. At `info` the web server's talk about its own threads is left out.
pub fn filters(environment: &Environment) -> Result<String, SettingsError> {
    if let Some(filters) = environment.rust_log() {
        return Ok(filters.to_owned());
    }
    let level = environment.log_level().unwrap_or("info").to_ascii_lowercase();
    if level == "info" {
        return Ok("info,actix_server=warn".to_owned());
    }
    if LEVELS.contains(&level.as_str()) {
        return Ok(level);
    }
    let allowed = LEVELS.join(", ");
    Err(SettingsError::one(format!("environment variable LOG_LEVEL: '{level}' must be one of {allowed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_wins_over_log_level_and_info_is_the_default() {
        for (environment, expected) in [
            (Environment::default(), "info,actix_server=warn"),
            (Environment::from([("LOG_LEVEL", "")]), "info,actix_server=warn"),
            (Environment::from([("LOG_LEVEL", "Info")]), "info,actix_server=warn"),
            (Environment::from([("LOG_LEVEL", "error")]), "error"),
            (Environment::from([("LOG_LEVEL", "DEBUG")]), "debug"),
            (Environment::from([("LOG_LEVEL", "trace")]), "trace"),
            (Environment::from([("RUST_LOG", "info")]), "info"),
            (Environment::from([("LOG_LEVEL", "nonsense"), ("RUST_LOG", "a=warn")]), "a=warn"),
        ] {
            assert_eq!(filters(&environment).unwrap(), expected);
        }
    }

    #[test]
    fn a_bad_level_is_told_with_the_allowed_ones() {
        let error = filters(&Environment::from([("LOG_LEVEL", "verbose")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable LOG_LEVEL: 'verbose' must be one of error, warn, info, debug, trace"
        );
    }
}
