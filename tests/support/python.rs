//! The dialogues of `tests/clients`: scripts over Python's MQTT clients, run to their end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::process::run;

/// Debian installs for its own interpreter, which need not be the first one on the PATH.
const INTERPRETERS: &[&str] = &["/usr/bin/python3", "python3"];
const ANY_PAHO: &str = "import paho.mqtt.client";
/// The second client has two names, an older and a newer one.
const ANY_ASYNCIO: &str = "\
try:
    import asyncio_mqtt
except ImportError:
    import aiomqtt";

/// Runs `tests/clients/NAME.py HOST PORT` with more arguments, and fails with what it says where it is not content.
pub fn converse(name: &str, address: SocketAddr, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name).with_extension("py");
    let mut command = Command::new(interpreter());
    // No cache of compiled code in the source tree, and lines as they are printed.
    command.args(["-B", "-u"]).arg(script);
    command.args([address.ip().to_string(), address.port().to_string()]).args(arguments);
    let done = run(name, &mut command);
    assert_eq!(done.code, Some(0), "{name} {arguments:?}:\n{}", done.output);
}

/// The first interpreter that has the clients.
fn interpreter() -> &'static str {
    static FOUND: OnceLock<&str> = OnceLock::new();
    FOUND.get_or_init(|| {
        let has = |python: &str, import: &str| {
            let mut command = Command::new(python);
            command.args(["-c", import]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let complete = |python: &&&str| has(python, ANY_PAHO) && has(python, ANY_ASYNCIO);
        INTERPRETERS.iter().find(complete).expect(
            "there is a python3 with paho-mqtt and asyncio-mqtt or aiomqtt; tests/run installs what is missing",
        )
    })
}
