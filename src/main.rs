//! The command `mqtt-proxy`: arguments become a command, and its end an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_proxy::cli::run(std::env::args_os())
}
