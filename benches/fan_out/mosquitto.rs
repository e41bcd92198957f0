//! mosquitto with one bridge per upstream, set up as generously as it can be: no queue limit, no log, no persistence.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::options::Options;

/// Debian installs it outside the usual PATH of a user.
const PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

pub fn command(
    options: &Options,
    qos: u8,
    port: u16,
    directory: &Path,
    upstreams: &[u16],
) -> Result<Command, String> {
    let path = directory.join("mosquitto.conf");
    fs::write(&path, configuration(options, qos, port, upstreams))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let mut command = Command::new(program()?);
    command.arg("-c").arg(path);
    Ok(command)
}

/// The version that mosquitto says it is.
pub fn version() -> Result<String, String> {
    let output = Command::new(program()?).arg("-h").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("mosquitto").to_owned())
}

fn program() -> Result<&'static str, String> {
    PROGRAMS
        .into_iter()
        .find(|program| Command::new(program).arg("-h").output().is_ok())
        .ok_or_else(|| "mosquitto is not installed (Debian: apt install mosquitto)".to_owned())
}

fn configuration(options: &Options, qos: u8, port: u16, upstreams: &[u16]) -> String {
    let mut text = format!(
        "listener {port} 127.0.0.1\n\
         allow_anonymous true\n\
         persistence false\n\
         log_dest none\n\
         connection_messages false\n\
         sys_interval 0\n\
         max_inflight_messages {}\n\
         max_queued_messages 0\n",
        options.window,
    );
    let protocol = if options.version == 5 { "mqttv50" } else { "mqttv311" };
    for (index, upstream) in upstreams.iter().enumerate() {
        let name = index + 1;
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\nconnection null-{name}\n\
             address 127.0.0.1:{upstream}\n\
             topic # out {qos}\n\
             bridge_protocol_version {protocol}\n\
             cleansession false\n\
             notifications false\n\
             try_private true\n\
             restart_timeout 1\n",
        );
    }
    text
}
