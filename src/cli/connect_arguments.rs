//! Where a client of the command line connects, and as whom.

use clap::Args;
use mqtt::{ProtocolVersion, QoS};

/// Where to connect, and as whom.
#[derive(Args, Clone)]
pub struct ConnectArguments {
    /// Host name or IP address
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// TCP port
    #[arg(long, short, default_value_t = 1883, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Version of MQTT: 3.1.1 or 5
    #[arg(long, default_value = "3.1.1", value_parser = parse_version)]
    pub version: ProtocolVersion,
    /// User Name
    #[arg(long, short, allow_hyphen_values = true)]
    pub username: Option<String>,
    /// Password
    #[arg(long, short = 'P', requires = "username", allow_hyphen_values = true)]
    pub password: Option<String>,
    /// Client Identifier [default: one that nobody else has]
    #[arg(long, short = 'i')]
    pub client_id: Option<String>,
}

impl ConnectArguments {
    /// Host and port for people.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host_in_brackets(), self.port)
    }

    /// rumqttc puts `:port` behind the host as it is.
    pub(super) fn host_in_brackets(&self) -> String {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() }
    }
}

/// Reads a version as users write it.
pub fn parse_version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "3" | "4" | "3.1.1" => Ok(ProtocolVersion::V311),
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        _ => Err("must be 3.1.1 or 5".to_owned()),
    }
}

/// Reads a QoS as users write it.
pub fn parse_qos(text: &str) -> Result<QoS, String> {
    let qos = text.parse().ok().and_then(QoS::from_u8);
    qos.ok_or_else(|| "must be 0, 1 or 2".to_owned())
}
