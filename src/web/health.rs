//! `/health` says that the process is alive, `/ready` that it can do its job.

use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::WebState;

/// What has to be there before the proxy can do its job. Start-up sets it, `/ready` shows it.
#[derive(Debug, Default)]
pub struct Readiness {
    store_open: AtomicBool,
    listeners_bound: AtomicBool,
}

impl Readiness {
    /// The store of broker definitions is open, or no longer.
    pub fn set_store_open(&self, open: bool) {
        self.store_open.store(open, Ordering::Release);
    }

    /// Every listener for devices is bound, or no longer (as in a drain).
    pub fn set_listeners_bound(&self, bound: bool) {
        self.listeners_bound.store(bound, Ordering::Release);
    }

    /// The names of what is not ready; none at all when the proxy can do its job.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = [("store", &self.store_open), ("listeners", &self.listeners_bound)];
        parts.iter().filter(|(_, ready)| !ready.load(Ordering::Acquire)).map(|(name, _)| *name).collect()
    }
}

/// `GET /health`: 200 as long as anyone answers at all.
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /ready`: 200, or 503 with the names of what is not ready, and the reason where the disk is it.
pub async fn ready(state: Data<WebState>) -> HttpResponse {
    let mut missing = state.readiness.missing();
    let failure = state.log.watermarks().failure();
    missing.extend(failure.as_ref().map(|_| "log"));
    let is_ready = missing.is_empty();
    let mut answer = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    match failure {
        None => answer.json(json!({ "ready": is_ready, "not_ready": missing })),
        Some(reason) => {
            let error = format!("the log cannot be written: {reason}");
            answer.json(json!({ "ready": is_ready, "not_ready": missing, "error": error }))
        }
    }
}
