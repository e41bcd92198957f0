//! `mqtt-proxy check`: checks the settings as `serve` does, and prints what comes out.

use super::serve::ServeArguments;
use super::{Failure, output};
use crate::adapters::tls;
use crate::settings::{Environment, Settings};

/// Prints the effective settings as TOML, every secret hidden.
pub fn run(arguments: ServeArguments) -> Result<(), Failure> {
    let environment = Environment::of_process()?;
    let logging = crate::logging::filters(&environment).map(drop).map_err(Failure::from);
    match Settings::load(&arguments.flags(), &environment).map_err(Failure::from) {
        Err(mut failure) => {
            failure.lines.extend(logging.err().into_iter().flat_map(|logging| logging.lines));
            Err(failure)
        }
        Ok(settings) => {
            logging?;
            tls::check(&settings.server.tls)?;
            output::write(settings.to_toml().as_bytes()).map(drop)
        }
    }
}
