//! Enhanced authentication (MQTT 5.0 section 4.12): an exchange of Authentication Data by a named method, from its first
//! data to its end. Pure: who calls it owns the connection, the clock and the packets.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use mqtt::packet::{Auth, Packet};
use mqtt::{Properties, Property, ReasonCode};

use super::Credentials;
use super::plain::Plain;
use crate::limits;

/// One method of authentication, seen from the Server: what the client sends goes in, and what becomes of it comes out.
pub trait Mechanism: Send {
    /// The Authentication Data of the client's next packet; `None` where the packet has none.
    fn step(&mut self, data: Option<&[u8]>) -> Step;
}

/// What follows the client's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client is to answer this; empty where the question goes without saying.
    Continue(Bytes),
    /// The client is who it says. The data, empty where there is none, let it know who we are.
    Done(Bytes),
    /// The client is not let in.
    Failed,
}

/// The methods that are offered: none where nobody has to prove anything.
#[derive(Clone, Default)]
pub struct Methods {
    required: Option<Arc<Credentials>>,
}

impl Methods {
    /// The names of all methods, in the order in which we prefer them.
    pub const NAMES: [&'static str; 1] = [Plain::NAME];

    /// Methods by which a client can prove that it has these credentials.
    pub fn new(required: Option<Arc<Credentials>>) -> Methods {
        Methods { required }
    }

    /// The beginning of an exchange, or `None` where the method is not offered.
    pub fn begin(&self, method: ByteString) -> Option<Exchange> {
        let required = self.required.clone()?;
        let mechanism: Box<dyn Mechanism> = match &*method {
            Plain::NAME => Box::new(Plain::new(required)),
            _ => return None,
        };
        Some(Exchange { method, mechanism, rounds: 0 })
    }
}

/// An exchange that is under way.
pub struct Exchange {
    method: ByteString,
    mechanism: Box<dyn Mechanism>,
    rounds: u32,
}

impl Exchange {
    /// The Authentication Method, as every packet of the exchange names it `[MQTT-4.12.0-5]`.
    pub fn method(&self) -> &ByteString {
        &self.method
    }

    /// The Authentication Data of a CONNECT, or of an AUTH that begins anew. An exchange that takes too many rounds fails.
    pub fn step(&mut self, data: Option<&[u8]>) -> Step {
        self.rounds += 1;
        if self.rounds > limits::AUTHENTICATION_ROUNDS_MAX {
            return Step::Failed;
        }
        self.mechanism.step(data)
    }

    /// An AUTH that answers our question: the method is still the same, and the client says Continue authentication
    /// `[MQTT-4.12.0-3]`.
    ///
    /// # Errors
    /// The text says what the client did against the protocol.
    pub fn answer(&mut self, auth: &Auth) -> Result<Step, &'static str> {
        if auth.properties.authentication_method().as_ref() != Some(&self.method) {
            return Err("AUTH with another authentication method than CONNECT");
        }
        if auth.reason_code != ReasonCode::ContinueAuthentication {
            return Err("AUTH does not continue the authentication");
        }
        Ok(self.step(auth.properties.authentication_data().as_deref()))
    }
}

/// What CONNACK says about a client that authenticated by a method.
#[derive(Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Authentication Method.
    pub method: ByteString,
    /// Authentication Data; empty where there is none.
    pub data: Bytes,
}

/// An AUTH packet of ours. Empty data are left out.
pub fn auth_packet(reason_code: ReasonCode, method: ByteString, data: Bytes) -> Packet {
    let method = Properties::default().with(Property::AuthenticationMethod(method));
    let properties = match data.is_empty() {
        true => method,
        false => method.with(Property::AuthenticationData(data)),
    };
    Packet::Auth(Auth { reason_code, properties })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Secret;

    fn methods() -> Methods {
        let credentials = Credentials { username: "ann".to_owned(), password: Secret::new("s3cret") };
        Methods::new(Some(Arc::new(credentials)))
    }

    fn auth(reason_code: ReasonCode, method: &'static str, data: &'static [u8]) -> Auth {
        match auth_packet(reason_code, method.into(), Bytes::from_static(data)) {
            Packet::Auth(auth) => auth,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_method_is_offered_by_its_exact_name_and_only_where_there_is_something_to_prove() {
        for name in Methods::NAMES {
            assert!(methods().begin(name.into()).is_some_and(|exchange| exchange.method() == name));
            assert!(Methods::default().begin(name.into()).is_none());
        }
        for name in ["", "plain", "PLAIN ", "SCRAM-SHA-1"] {
            assert!(methods().begin(name.into()).is_none(), "{name:?}");
        }
    }

    #[test]
    fn an_answer_continues_with_the_same_method() {
        let mut exchange = methods().begin("PLAIN".into()).unwrap();
        assert_eq!(exchange.step(None), Step::Continue(Bytes::new()));
        let data = b"\0ann\0s3cret";
        for wrong in [
            auth(ReasonCode::ContinueAuthentication, "OTHER", data),
            auth(ReasonCode::ReAuthenticate, "PLAIN", data),
            auth(ReasonCode::Success, "PLAIN", data),
            Auth { reason_code: ReasonCode::Success, properties: Properties::default() },
        ] {
            assert!(exchange.answer(&wrong).is_err(), "{wrong:?}");
        }
        let right = auth(ReasonCode::ContinueAuthentication, "PLAIN", data);
        assert_eq!(exchange.answer(&right), Ok(Step::Done(Bytes::new())));
    }

    #[test]
    fn an_exchange_without_end_fails() {
        struct Endless;
        impl Mechanism for Endless {
            fn step(&mut self, _: Option<&[u8]>) -> Step {
                Step::Continue(Bytes::from_static(b"more"))
            }
        }
        let mut exchange = Exchange { method: "X".into(), mechanism: Box::new(Endless), rounds: 0 };
        for _ in 0..limits::AUTHENTICATION_ROUNDS_MAX {
            assert_eq!(exchange.step(None), Step::Continue(Bytes::from_static(b"more")));
        }
        assert_eq!(exchange.step(None), Step::Failed);
    }
}
