//! How commands ask a proxy that runs: one request, one answer.

use std::time::Duration;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An answer, good or bad.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Sends GET, or POST where there is JSON to send, to `host:port`, and reads the answer within the deadline.
///
/// # Errors
/// Where there is no answer; the text says why.
pub fn ask(authority: &str, path: &str, json: Option<&str>, deadline: Duration) -> Result<Answer, String> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(deadline))
        .http_status_as_error(false)
        .max_redirects(0)
        // A proxy of MQTT is asked directly, whatever stands in the environment.
        .proxy(None)
        .build()
        .new_agent();
    let url = format!("http://{authority}{path}");
    let answered = match json {
        None => agent.get(&url).call(),
        Some(json) => agent.post(&url).header("Content-Type", "application/json").send(json),
    };
    let mut answer = answered.map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let body = body.map_err(|error| error.to_string())?;
    Ok(Answer { status: answer.status().as_u16(), body })
}
