//! The actor that knows who a client is, and the methods of enhanced authentication that it offers.

mod exchange;
mod plain;

use std::sync::Arc;

use actix::prelude::*;
use mqtt::ReasonCode;

use crate::broker::Secret;
use crate::limits;
use crate::messages::Authenticate;
pub use exchange::{Authenticated, Exchange, Mechanism, Methods, Step, auth_packet};

/// The one user name and password that all clients share.
pub struct Credentials {
    /// User Name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// What a client presents, whichever way it came.
#[derive(Clone, Copy)]
struct Presented<'a> {
    user_name: &'a [u8],
    password: &'a [u8],
}

impl Credentials {
    /// Whether these are what the client presents. Comparing hashes takes the same time wherever the texts differ.
    fn fit(&self, presented: &Presented<'_>) -> bool {
        let name_fits = blake3::hash(presented.user_name) == blake3::hash(self.username.as_bytes());
        let password_fits =
            blake3::hash(presented.password) == blake3::hash(self.password.reveal().as_bytes());
        name_fits & password_fits
    }
}

/// The actor. Without credentials it lets everyone in.
pub struct Authenticator {
    required: Option<Arc<Credentials>>,
}

impl Authenticator {
    /// An actor that demands these credentials, or none.
    pub fn new(required: Option<Arc<Credentials>>) -> Authenticator {
        Authenticator { required }
    }

    fn check(&self, asked: &Authenticate) -> Result<(), ReasonCode> {
        let Some(required) = &self.required else { return Ok(()) };
        let presented = Presented {
            user_name: asked.user_name.as_ref().map_or(&[][..], |name| name.as_bytes()),
            password: asked.password.as_ref().map_or(&[][..], |password| &password[..]),
        };
        if required.fit(&presented) { Ok(()) } else { Err(ReasonCode::BadUserNameOrPassword) }
    }
}

impl Actor for Authenticator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
    }
}

impl Handler<Authenticate> for Authenticator {
    type Result = Result<(), ReasonCode>;

    fn handle(&mut self, asked: Authenticate, _: &mut Context<Self>) -> Self::Result {
        self.check(&asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user_name: Option<&'static str>, password: Option<&'static str>) -> Authenticate {
        Authenticate {
            user_name: user_name.map(Into::into),
            password: password.map(|password| password.as_bytes().into()),
        }
    }

    #[test]
    fn only_the_right_pair_is_let_in() {
        let credentials = Credentials { username: "device".to_owned(), password: Secret::new("s3cret") };
        let authenticator = Authenticator::new(Some(Arc::new(credentials)));
        assert_eq!(authenticator.check(&ask(Some("device"), Some("s3cret"))), Ok(()));
        let refused = Err(ReasonCode::BadUserNameOrPassword);
        for (user_name, password) in [
            (None, None),
            (Some("device"), None),
            (None, Some("s3cret")),
            (Some("device"), Some("S3cret")),
            (Some("other"), Some("s3cret")),
        ] {
            assert_eq!(authenticator.check(&ask(user_name, password)), refused, "{user_name:?} {password:?}");
        }
    }

    #[test]
    fn without_credentials_everyone_is_let_in() {
        assert_eq!(Authenticator::new(None).check(&ask(None, None)), Ok(()));
    }
}
