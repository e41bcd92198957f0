//! The webhook's end of alerts: one signed POST, within its deadline. Whoever calls this waits for it, so it is called on
//! a thread of its own.

use actors::alerts::Post;
use actors::limits::WEBHOOK_DEADLINE;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::settings::WebhookSettings;

/// The header that carries the signature.
const SIGNATURE_HEADER: &str = "X-Signature-256";

/// What delivers alerts to this webhook.
pub fn post(webhook: WebhookSettings) -> Post {
    let agent = agent();
    Box::new(move |body| {
        let mut request = agent.post(&webhook.url).header("Content-Type", "application/json; charset=utf-8");
        if let Some(secret) = &webhook.secret {
            let signature = signature(secret.reveal(), body).map_err(|error| error.to_string())?;
            request = request.header(SIGNATURE_HEADER, format!("sha256={signature}"));
        }
        let answer = request.send(body).map_err(|error| error.to_string())?;
        // A redirection is no answer: what was signed for one place is not for another.
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    })
}

/// A client that trusts whom the system trusts, and does nothing on its own.
fn agent() -> Agent {
    let tls =
        TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(WEBHOOK_DEADLINE))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("mqtt-proxy/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// HMAC-SHA256 of the body under the secret, in lower case hexadecimal digits.
fn signature(secret: &str, body: &str) -> Result<String, ErrorStack> {
    let key = PKey::hmac(secret.as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    let code = signer.sign_oneshot_to_vec(body.as_bytes())?;
    Ok(code.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256() {
        // RFC 4231, test case 2.
        let wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", "what do ya want for nothing?").expect("a key"), wanted);
    }
}
