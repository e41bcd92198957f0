//! `mqtt-proxy check`: checks the settings as `serve` does, and prints what comes out, or what settings there are.

use clap::{Args, CommandFactory};

use super::serve::ServeArguments;
use super::{CommandLine, Failure, output};
use crate::adapters::tls;
use crate::settings::{self, Environment, Settings};

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
        return output::write(documentation().as_bytes()).map(drop);
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

/// The keys, the other environment variables, and the flags, as tables of Markdown.
fn documentation() -> String {
    let mut text = settings::documentation();
    text.push_str("\n| flag | what it is |\n|---|---|\n");
    for argument in CommandLine::command().get_arguments() {
        let Some(long) = argument.get_long() else { continue };
        let values = argument.get_value_names().filter(|_| argument.get_action().takes_values());
        let value: String = values.unwrap_or_default().iter().map(|name| format!(" {name}")).collect();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("| `--{long}{value}` | {} |\n", help.trim().replace('|', "\\|")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the tables stand in README.md.
    const MARKERS: (&str, &str) = ("<!-- settings -->\n", "<!-- end of settings -->\n");

    #[test]
    fn the_readme_has_the_tables_of_settings_as_they_are_printed() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once(MARKERS.0).expect("README.md has the first marker");
        let (shown, _) = rest.split_once(MARKERS.1).expect("README.md has the second marker");
        let printed = documentation();
        if let Some((is, wanted)) = shown.lines().zip(printed.lines()).find(|(is, wanted)| is != wanted) {
            panic!("README.md says\n  {is}\nand not\n  {wanted}\nits section Building says how to renew it");
        }
        assert!(shown == printed, "README.md has more or fewer lines than `check --documentation` prints");
    }

    #[test]
    fn flags_are_documented_with_their_values() {
        let printed = documentation();
        for start in ["| `--config FILE` | ", "| `--listen IP:PORT` | ", "| `--upstream URL` | "] {
            assert!(printed.contains(start), "{start}\n{printed}");
        }
    }
}
