//! AUTH on a connection that is up: the client proves once more who it is (MQTT 5.0 section 4.12.1). Everything else goes
//! on meanwhile, on the strength of what was proved before.

use bytes::Bytes;
use bytestring::ByteString;
use mqtt::packet::{Auth, fit};
use mqtt::{Packet, ReasonCode};

use super::{DeviceSession, Ending};
use crate::authenticator::{Exchange, Methods, Step, auth_packet};

/// How the client of a connection has authenticated.
pub(super) struct Authentication {
    /// The method of its CONNECT, which is the method for as long as the connection lasts `[MQTT-4.12.1-1]`.
    method: ByteString,
    /// A re-authentication that is under way.
    exchange: Option<Exchange>,
}

impl Authentication {
    pub fn by(method: ByteString) -> Box<Authentication> {
        Box::new(Authentication { method, exchange: None })
    }

    /// Our answer to an AUTH of the client.
    fn take(&mut self, auth: &Auth, methods: &Methods) -> Result<Packet, Ending> {
        if auth.properties.authentication_method().as_ref() != Some(&self.method) {
            return Err(Ending::protocol_error("AUTH with another authentication method than CONNECT"));
        }
        let step = match (auth.reason_code, &mut self.exchange) {
            (ReasonCode::ReAuthenticate, exchange) => {
                // One that is under way is given up.
                let begun = exchange.insert(methods.begin(self.method.clone()).ok_or_else(failed)?);
                begun.step(auth.properties.authentication_data().as_deref())
            }
            (_, Some(exchange)) => exchange.answer(auth).map_err(Ending::protocol_error)?,
            (_, None) => return Err(Ending::protocol_error("AUTH that continues nothing")),
        };
        let answer = |reason_code, data: Bytes| auth_packet(reason_code, self.method.clone(), data);
        match step {
            Step::Continue(data) => Ok(answer(ReasonCode::ContinueAuthentication, data)),
            Step::Done(data) => {
                self.exchange = None;
                Ok(answer(ReasonCode::Success, data))
            }
            Step::Failed => Err(failed()),
        }
    }
}

fn failed() -> Ending {
    Ending::by_server(ReasonCode::NotAuthorized, "re-authentication failed")
}

impl DeviceSession {
    /// AUTH: goes on with a re-authentication, or begins one.
    pub(super) fn authenticate(&mut self, auth: &Auth) -> Result<(), Ending> {
        let Some(attachment) = &mut self.attachment else { return Ok(()) };
        let Some(authentication) = &mut attachment.authentication else {
            // `[MQTT-4.12.0-7]`
            return Err(Ending::protocol_error("AUTH without an authentication method in CONNECT"));
        };
        let answer = authentication.take(auth, &self.shared.methods)?;
        let client = attachment.client;
        let answer = fit(answer, client.version, client.packet_bytes_max).ok_or_else(|| {
            Ending::by_server(ReasonCode::PacketTooLarge, "AUTH is longer than the client accepts")
        })?;
        self.queue(&answer);
        Ok(())
    }
}
