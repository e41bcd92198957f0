//! The command line: one sub-command a file; `serve` is the one that runs where none is named.

mod check;
pub mod client;
mod connect_arguments;
mod demo;
mod documentation;
mod health;
mod http;
mod import;
mod log;
mod output;
mod publish;
mod serve;
mod subscribe;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::settings::SettingsError;

/// One MQTT endpoint for devices, in front of every broker behind it.
#[derive(Parser)]
#[command(name = "mqtt-proxy", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Without a command, mqtt-proxy serves. The shortest start:\n  \
    mqtt-proxy --upstream mqtt://broker-a --upstream mqtt://broker-b")]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy
    Serve(serve::ServeArguments),
    /// Check the settings and show what comes out of files, environment and flags
    Check(check::CheckArguments),
    /// Show the proxy at work: with two brokers behind it and a simulated device
    Demo(demo::DemoArguments),
    /// What `demo` starts
    #[command(hide = true)]
    ServeForDemo(demo::ChildArguments),
    /// Publish messages to a broker or to the proxy
    Pub(publish::PublishArguments),
    /// Subscribe at a broker or at the proxy, and print what arrives
    Sub(subscribe::SubscribeArguments),
    /// Ask a running proxy whether it is well; the exit code says so
    Health(health::HealthArguments),
    /// Look into the log's files, of a running proxy too
    Log(log::LogArguments),
    /// Turn the connections of a mosquitto.conf into brokers, and say what has no place there
    Import(import::ImportArguments),
}

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    exit_code: u8,
    lines: Vec<String>,
}

impl Failure {
    /// It could not start, or could not do its work.
    pub fn work(line: impl Into<String>) -> Failure {
        Failure::work_lines(vec![line.into()])
    }

    /// As [`Failure::work`], for more than one reason.
    pub fn work_lines(lines: Vec<String>) -> Failure {
        Failure { exit_code: 1, lines }
    }

    /// What it was given cannot be read or understood.
    pub fn input(lines: Vec<String>) -> Failure {
        Failure { exit_code: 2, lines }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        Failure { exit_code: 2, lines: error.problems().to_vec() }
    }
}

/// Runs the command that the arguments name: 0 is success, 1 could not start or run, 2 bad arguments or settings.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(error) => return refuse(&error),
    };
    let ended = match command_line.command {
        None => serve::run(command_line.serve),
        Some(Command::Serve(arguments)) => serve::run(arguments),
        Some(Command::Check(arguments)) => check::run(arguments),
        Some(Command::Demo(arguments)) => demo::run(arguments),
        Some(Command::ServeForDemo(arguments)) => demo::run_child(arguments),
        Some(Command::Pub(arguments)) => publish::run(arguments),
        Some(Command::Sub(arguments)) => subscribe::run(arguments),
        Some(Command::Health(arguments)) => health::run(arguments),
        Some(Command::Log(arguments)) => log::run(arguments),
        Some(Command::Import(arguments)) => import::run(arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.lines.iter().for_each(|line| output::complain(line));
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Shows what clap has to say: a mistake, or the help or version that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let exit_code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    // A URL in a wrong place may carry a password, which no message shows.
    let shows_url = error.context().any(|(kind, value)| {
        let shown = matches!(
            kind,
            ContextKind::InvalidArg | ContextKind::InvalidSubcommand | ContextKind::InvalidValue
        );
        shown && matches!(value, ContextValue::String(text) if text.contains("://"))
    });
    if shows_url && error.kind() != ErrorKind::DisplayHelp {
        output::complain("the URL of a broker must stand behind --upstream; see mqtt-proxy --help");
    } else {
        // Nobody is left to tell where this fails.
        let _ = error.print();
    }
    exit_code
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_the_word_serve() {
        let flags = "--config c --listen a:1 --listen b:2 --web w:3 --data d --upstream mqtt://x --upstream mqtt://y \
             --tls-listen a:4 --tls-listen b:5 --tls-cert e --tls-key f";
        let without = parse(&format!("mqtt-proxy {flags}")).unwrap();
        assert!(without.command.is_none());
        let Some(Command::Serve(with)) = parse(&format!("mqtt-proxy serve {flags}")).unwrap().command else {
            panic!("serve was not understood");
        };
        let Some(Command::Check(check)) = parse(&format!("mqtt-proxy check {flags}")).unwrap().command else {
            panic!("check was not understood");
        };
        for arguments in [without.serve, with, check.serve] {
            let flags = arguments.flags();
            assert_eq!(flags.config.unwrap().to_str(), Some("c"));
            assert_eq!(flags.listen, ["a:1", "b:2"]);
            assert_eq!(flags.tls_listen, ["a:4", "b:5"]);
            assert_eq!((flags.tls_cert.as_deref(), flags.tls_key.as_deref()), (Some("e"), Some("f")));
            assert_eq!(flags.web.as_deref(), Some("w:3"));
            assert_eq!(flags.data.as_deref(), Some("d"));
            assert_eq!(flags.upstream, ["mqtt://x", "mqtt://y"]);
        }
    }

    #[test]
    fn bad_arguments_are_refused() {
        for line in [
            "mqtt-proxy --nonsense",
            "mqtt-proxy nonsense",
            "mqtt-proxy --listen",
            "mqtt-proxy --web a:1 --web b:2",
            "mqtt-proxy pub",
            "mqtt-proxy pub --topic a",
            "mqtt-proxy pub --topic a/# -m x",
            "mqtt-proxy pub --topic a -m x --qos 3",
            "mqtt-proxy pub --topic a -m x --version 4.0",
            "mqtt-proxy pub --topic a -m x --lines",
            "mqtt-proxy pub --topic a --lines --count 3",
            "mqtt-proxy pub --topic a -m x --count 0",
            "mqtt-proxy pub --topic a -m x --rate 0",
            "mqtt-proxy pub --topic a -m x --rate NaN",
            "mqtt-proxy pub --topic a -m x --port 0",
            "mqtt-proxy pub --topic a -m x --password p",
            "mqtt-proxy sub",
            "mqtt-proxy sub --topic a/#/b",
            "mqtt-proxy sub --topic a --timeout -1",
            "mqtt-proxy demo --seconds 0",
            "mqtt-proxy health --timeout 0",
            "mqtt-proxy check --documentation --data d",
            "mqtt-proxy serve --documentation",
            "mqtt-proxy demo --listen 1883",
            "mqtt-proxy log",
            "mqtt-proxy log --data d",
            "mqtt-proxy log dump --from yesterday",
            "mqtt-proxy log dump --topic a/#/b",
            "mqtt-proxy log dump --limit -1",
            "mqtt-proxy import",
            "mqtt-proxy import m.conf --data d --api http://h:1",
            "mqtt-proxy import m.conf --api https://h",
        ] {
            let error = parse(line).err().unwrap_or_else(|| panic!("{line} was accepted"));
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn good_arguments_are_accepted() {
        for line in [
            "mqtt-proxy pub --topic a -m x",
            "mqtt-proxy pub --topic a --message= --retain --qos 2 --version 5",
            "mqtt-proxy pub --topic a --lines --rate 0.5",
            "mqtt-proxy pub --topic a --count 3",
            "mqtt-proxy pub -t a -m -x -u user -P -p --version 3.1.1 --client-id c --host ::1 --port 1",
            "mqtt-proxy sub --topic a/# --topic +/b --qos 1 --count 3 --timeout 0.5 -v",
            "mqtt-proxy check --documentation",
            "mqtt-proxy log segments --data d",
            "mqtt-proxy log verify --config c",
            "mqtt-proxy log dump --from 5 --to 2026-07-31T08:00:00+02:00 --topic a/# --limit 3",
            "mqtt-proxy import m.conf",
            "mqtt-proxy import m.conf --data d",
            "mqtt-proxy import --api http://127.0.0.1:8080 m.conf",
            "mqtt-proxy health --ready --web [::1]:3000 --timeout 5",
            "mqtt-proxy demo",
            "mqtt-proxy demo --listen [::1]:1 --web 127.0.0.1:2 --broker-1 127.0.0.1:3 --broker-2 127.0.0.1:0 --seconds 0.5",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
