//! `mqtt-proxy log`: looks into the files of the log, of a stopped proxy or of a running one. Takes no lock, and writes,
//! makes and cuts nothing.

mod dump;
mod place;
mod segments;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use actors::message_log::segment::{SegmentFiles, open_read_only};
use clap::{Args, Subcommand};

use super::Failure;
use crate::settings::{Environment, Flags, Settings};

/// The directory of the log's files within the data directory.
const LOG_DIR: &str = "log";

/// What follows `log`.
#[derive(Args)]
pub struct LogArguments {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    /// List the files and what they hold
    Segments(DataArguments),
    /// Check every checksum in every file
    Verify(DataArguments),
    /// Print messages as lines of JSON
    Dump(dump::DumpArguments),
}

/// Where the files are.
#[derive(Args)]
struct DataArguments {
    /// The data directory, instead of where the settings say
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Read this file over settings/default.toml to find the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does what the arguments say.
pub fn run(arguments: LogArguments) -> Result<(), Failure> {
    match arguments.command {
        LogCommand::Segments(data) => segments::run(&data.files()?),
        LogCommand::Verify(data) => verify::run(&data.files()?),
        LogCommand::Dump(arguments) => dump::run(&arguments, &arguments.data.files()?),
    }
}

impl DataArguments {
    fn files(&self) -> Result<Files, Failure> {
        open_read_only(&self.dir()?.join(LOG_DIR)).map_err(|error| Failure::work(error.to_string()))
    }

    /// The settings are asked only where the command line does not say it.
    fn dir(&self) -> Result<PathBuf, Failure> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        Ok(Settings::load(&flags, &Environment::of_process()?)?.data_dir)
    }
}

/// The log's files, shared as their readers need them.
type Files = Arc<SegmentFiles>;

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::work(format!("the log cannot be read: {error}"))
}
