//! From a definition to a transport that MQTT can use: name look-up, TCP, TLS, WebSocket.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect::{Cause, Failure};
use super::steps::{Step, Steps};
use super::tls::{self, Prepared, TlsFailure};
use super::websocket::{self, Target};
use crate::broker::{TlsOptions, Transport as Carrier};
use crate::connection::Transport;
use crate::{Broker, limits};

impl From<TlsFailure> for Failure {
    fn from(failure: TlsFailure) -> Failure {
        let TlsFailure { fault, text } = failure;
        Failure { detail: Some(fault.as_str()), ..Failure::new(fault.cause(), text) }
    }
}

/// Opens the transport; `prepared` is what TLS needs, where the definition wants TLS.
pub async fn open(
    broker: &Broker,
    prepared: Option<&Prepared>,
    packet_bytes_max: usize,
    steps: &mut Steps,
) -> Result<Box<dyn Transport>, Failure> {
    let addresses = look_up(broker, steps).await?;
    let socket = connect_tcp(broker, &addresses, steps).await?;
    let stream: Box<dyn Transport> = match (&broker.tls, prepared) {
        (Some(options), Some(prepared)) => secure(broker, options, prepared, socket, steps).await?,
        _ => Box::new(socket),
    };
    match &broker.transport {
        Carrier::Tcp => Ok(stream),
        Carrier::WebSocket { path } => upgrade(broker, path, stream, packet_bytes_max, steps).await,
    }
}

async fn look_up(broker: &Broker, steps: &mut Steps) -> Result<Vec<SocketAddr>, Failure> {
    steps.begin(Step::Dns);
    let failed = |text: String| Failure::new(Cause::Dns, format!("{}: {text}", broker.address));
    let found = tokio::net::lookup_host((broker.address.as_str(), broker.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|error| failed(error.to_string()))?.collect();
    if addresses.is_empty() {
        return Err(failed("no address".to_owned()));
    }
    steps.dns = steps.timed(addresses.iter().map(SocketAddr::ip).collect());
    Ok(addresses)
}

/// Tries one address after the other. One that says nothing does not use up the time of those behind it.
async fn connect_tcp(
    broker: &Broker,
    addresses: &[SocketAddr],
    steps: &mut Steps,
) -> Result<TcpStream, Failure> {
    steps.begin(Step::Tcp);
    let mut problems = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let is_last = index + 1 == addresses.len();
        let patience =
            if is_last { limits::UPSTREAM_CONNECT_DEADLINE } else { limits::UPSTREAM_ADDRESS_DEADLINE };
        let problem = match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Without this, small packets wait for the acknowledgement of earlier ones.
                socket.set_nodelay(true).map_err(|error| Failure::new(Cause::Tcp, error.to_string()))?;
                steps.tcp = steps.timed(*address);
                return Ok(socket);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", patience.as_secs()),
        };
        match addresses.len() {
            1 => problems.push(problem),
            _ => problems.push(format!("{}: {problem}", address.ip())),
        }
    }
    let text = format!("{}:{}: {}", broker.address, broker.port, problems.join("; "));
    Err(Failure::new(Cause::Tcp, text))
}

async fn secure(
    broker: &Broker,
    options: &TlsOptions,
    prepared: &Prepared,
    socket: TcpStream,
    steps: &mut Steps,
) -> Result<Box<dyn Transport>, Failure> {
    steps.begin(Step::Tls);
    match tls::connect(prepared, options, &broker.address, socket).await {
        Ok((stream, details)) => {
            steps.tls = steps.timed(details);
            Ok(Box::new(stream))
        }
        Err((failure, details)) => {
            steps.tls = details.and_then(|details| steps.timed(details));
            Err(failure.into())
        }
    }
}

async fn upgrade(
    broker: &Broker,
    path: &str,
    stream: Box<dyn Transport>,
    packet_bytes_max: usize,
    steps: &mut Steps,
) -> Result<Box<dyn Transport>, Failure> {
    steps.begin(Step::WebSocket);
    let named = broker.tls.as_ref().and_then(|options| options.server_name.as_deref());
    let target = Target {
        host: named.unwrap_or(&broker.address),
        port: broker.port,
        is_secure: broker.tls.is_some(),
        path,
    };
    let frame_bytes_max = packet_bytes_max.saturating_add(limits::WEBSOCKET_FRAME_SPARE_BYTES);
    match websocket::upgrade(&target, stream, frame_bytes_max).await {
        Ok(websocket) => {
            steps.websocket = steps.timed(path.to_owned());
            Ok(Box::new(websocket))
        }
        Err(error) => Err(late_alert(&error, broker).unwrap_or_else(|| {
            // What the system itself says does not say where.
            let text = match error.raw_os_error() {
                Some(_) => format!("no answer to WebSocket at path {path} (ws_path): {error}"),
                None => error.to_string(),
            };
            Failure::new(Cause::WebSocket, text)
        })),
    }
}

/// What TLS says only when something is read: in 1.3 a broker looks at our certificate after the handshake.
pub fn late_alert(error: &std::io::Error, broker: &Broker) -> Option<Failure> {
    tls::after_handshake(error, broker.tls.as_ref()?).map(Failure::from)
}
