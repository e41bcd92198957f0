//! The method `PLAIN` (RFC 4616): one message with who to act as, who one is, and the password, parted by NUL.

use std::sync::Arc;

use bytes::Bytes;

use super::exchange::{Mechanism, Step};
use super::{Credentials, Presented};

/// The exchange. Where CONNECT brings no data, an empty question asks for them, once.
pub struct Plain {
    required: Arc<Credentials>,
    asked: bool,
}

impl Plain {
    /// The name of the method.
    pub const NAME: &'static str = "PLAIN";

    /// An exchange at whose end the client has presented these credentials.
    pub fn new(required: Arc<Credentials>) -> Plain {
        Plain { required, asked: false }
    }
}

impl Mechanism for Plain {
    fn step(&mut self, data: Option<&[u8]>) -> Step {
        let Some(message) = data else {
            let asked_before = std::mem::replace(&mut self.asked, true);
            return if asked_before { Step::Failed } else { Step::Continue(Bytes::new()) };
        };
        match read(message) {
            Some(presented) if self.required.fit(&presented) => Step::Done(Bytes::new()),
            _ => Step::Failed,
        }
    }
}

/// `[authzid] NUL authcid NUL passwd`, all UTF-8. Nobody may act as somebody else, so an authorization identity that is
/// given has to be the authentication identity.
fn read(message: &[u8]) -> Option<Presented<'_>> {
    let text = std::str::from_utf8(message).ok()?;
    let mut parts = text.split('\0');
    let (acts_as, user_name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !user_name.is_empty() && !password.is_empty();
    let is_oneself = acts_as.is_empty() || acts_as == user_name;
    (is_whole && is_oneself)
        .then_some(Presented { user_name: user_name.as_bytes(), password: password.as_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Secret;

    fn plain() -> Plain {
        let credentials = Credentials { username: "ann".to_owned(), password: Secret::new("s3cret") };
        Plain::new(Arc::new(credentials))
    }

    #[test]
    fn only_the_right_message_is_let_in() {
        let table: &[(&[u8], bool)] = &[
            (b"\0ann\0s3cret", true),
            (b"ann\0ann\0s3cret", true),
            (b"bob\0ann\0s3cret", false),
            (b"\0ann\0S3cret", false),
            (b"\0ann\0s3cre", false),
            (b"\0ann\0", false),
            (b"\0\0s3cret", false),
            (b"\0bob\0s3cret", false),
            (b"ann\0s3cret", false),
            (b"\0ann\0s3cret\0", false),
            (b"\0ann\0s3cret\0x", false),
            (b"\0\xFF\0s3cret", false),
            (b"\0\0", false),
            (b"", false),
        ];
        for (message, let_in) in table {
            let wanted = if *let_in { Step::Done(Bytes::new()) } else { Step::Failed };
            assert_eq!(plain().step(Some(message)), wanted, "{message:?}");
        }
    }

    #[test]
    fn without_data_it_asks_once() {
        let mut plain = plain();
        assert_eq!(plain.step(None), Step::Continue(Bytes::new()));
        assert_eq!(plain.step(None), Step::Failed);
        let mut plain = self::plain();
        assert_eq!(plain.step(None), Step::Continue(Bytes::new()));
        assert_eq!(plain.step(Some(b"\0ann\0s3cret")), Step::Done(Bytes::new()));
    }
}
