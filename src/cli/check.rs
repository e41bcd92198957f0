//! `mqtt-proxy check`: checks the settings as `serve` does, and prints what comes out, or what settings there are.

use clap::Args;

use super::serve::ServeArguments;
use super::{Failure, output};
use crate::adapters::tls;
use crate::settings::{Environment, Settings};

/// What `serve` takes, and what to print instead.
#[derive(Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub(super) serve: ServeArguments,
    /// Print a table of every setting, with its default, its environment variable and what it is, and check nothing
    #[arg(long, exclusive = true)]
    documentation: bool,
}

/// Prints the effective settings as TOML, every secret hidden, or the documentation.
pub fn run(arguments: CheckArguments) -> Result<(), Failure> {
    if arguments.documentation {
        return output::write(super::documentation::tables().as_bytes()).map(drop);
    }
    let environment = Environment::of_process()?;
    let logging = crate::logging::filters(&environment).map(drop).map_err(Failure::from);
    match Settings::load(&arguments.serve.flags(), &environment).map_err(Failure::from) {
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
