//! How a connection ends: what it means for the Will, and what the client is told.

use bytestring::ByteString;
use mqtt::packet::{Disconnect, Packet, fit};
use mqtt::session::SessionEnd;
use mqtt::{Properties, Property, ReasonCode};

use super::{Attachment, ServerOptions};

/// How a connection ends.
pub(super) struct Ending {
    /// What it means for the Will.
    pub end: SessionEnd,
    /// The Reason Code of our DISCONNECT, where we are the ones who end it.
    pub reason_code: Option<ReasonCode>,
    /// For the log, and the Reason String.
    pub text: String,
    /// Where the client is to go instead.
    server_reference: Option<ByteString>,
}

impl Ending {
    pub fn by_server(reason_code: ReasonCode, text: &str) -> Ending {
        let (end, text) = (SessionEnd::Abnormal, text.to_owned());
        Ending { end, reason_code: Some(reason_code), text, server_reference: None }
    }

    pub fn by_client(end: SessionEnd) -> Ending {
        Ending { end, reason_code: None, text: "disconnected".to_owned(), server_reference: None }
    }

    pub fn lost(text: &str) -> Ending {
        let (end, text) = (SessionEnd::Abnormal, text.to_owned());
        Ending { end, reason_code: None, text, server_reference: None }
    }

    pub fn protocol_error(text: &str) -> Ending {
        Ending::by_server(ReasonCode::ProtocolError, text)
    }

    /// The proxy stops; the client goes where the settings say, if they do.
    pub fn shutdown(server: &ServerOptions) -> Ending {
        let reason_code = match server.server_reference {
            Some(_) => ReasonCode::UseAnotherServer,
            None => ReasonCode::ServerShuttingDown,
        };
        let ending = Ending::by_server(reason_code, ReasonCode::ServerShuttingDown.text());
        Ending { server_reference: server.server_reference.clone(), ..ending }
    }

    /// The DISCONNECT, where there is one; a Reason String is for who wants it (Request Problem Information).
    fn disconnect(&self, problem_information: bool) -> Option<Packet> {
        let mut properties = Properties::default();
        if let Some(server_reference) = &self.server_reference {
            properties = properties.with(Property::ServerReference(server_reference.clone()));
        }
        if problem_information {
            properties = properties.with(Property::ReasonString(self.text.as_str().into()));
        }
        // A second CONNECT may be wrong in ways that only CONNACK has codes for.
        let allowed = |code| if Disconnect::allows(code) { code } else { ReasonCode::ProtocolError };
        let reason_code = allowed(self.reason_code?);
        Some(Packet::Disconnect(Disconnect { reason_code, properties }))
    }
}

/// Sends DISCONNECT where the version has one for servers `[MQTT-3.14.0-1]` and the client accepts its length, and closes.
pub(super) fn close(mut attachment: Box<Attachment>, ending: &Ending) -> impl Future<Output = ()> + use<> {
    let client = attachment.client;
    let disconnect = ending.disconnect(attachment.problem_information).filter(|_| client.version.is_v5());
    let fitting = disconnect.and_then(|packet| fit(packet, client.version, client.packet_bytes_max));
    if let Some(packet) = fitting
        && let Err(error) = attachment.connection.queue(&packet)
    {
        log::error!("{}: {error}", attachment.connection.peer());
    }
    attachment.connection.close()
}
