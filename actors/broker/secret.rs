//! Secrets of a definition: never shown by `Debug`, never serialised; or where to find them at each connect.

/// A password or another secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Where the secret is to be found, if it is such a reference: that much is no secret.
    pub fn reference(&self) -> Option<&str> {
        is_reference(&self.0).then_some(self.0.as_str())
    }
}

/// Whether a text says where a value is to be found at each connect: `env:NAME` or `file:/path`.
pub fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(..)")
    }
}
