//! What goes around every handler: pages of other sites may not change anything, every answer carries the headers that
//! keep the dashboard safe, and every error is JSON.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};

use super::error::ApiError;

const CONTENT_SECURITY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Lets a request through where it may come, and finishes its answer.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_api = request.path().starts_with("/api/");
    let mut response = if is_safe || is_same_origin(request.headers()) {
        next.call(request).await?.map_into_boxed_body()
    } else {
        let message = "a page of another site may not change this proxy (Origin and Host differ)";
        request.into_response(ApiError::new(StatusCode::FORBIDDEN, message).error_response())
    };
    if is_foreign_error(&response) {
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or("an error");
        let error = ApiError::new(status, reason.to_lowercase());
        response = response.into_response(error.error_response());
    }
    add_headers(response.headers_mut(), is_api);
    Ok(response)
}

/// Whether the page that sends the request, if it is one, was served under the name that the request goes to.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let origin = text(origin);
    let host = headers.get(HOST).and_then(text);
    match (origin.as_deref().and_then(|origin| origin.split_once("://")), host) {
        (Some((_, authority)), Some(host)) => authority == host,
        _ => false,
    }
}

/// Whether the answer is an error that no handler of ours shaped.
fn is_foreign_error(response: &ServiceResponse<BoxBody>) -> bool {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let content_type = response.headers().get(CONTENT_TYPE);
    is_error && content_type.is_none_or(|value| value != "application/json")
}

fn add_headers(headers: &mut HeaderMap, is_api: bool) {
    let mut add = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    add(CONTENT_SECURITY_POLICY, CONTENT_SECURITY);
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(X_FRAME_OPTIONS, "DENY");
    add(REFERRER_POLICY, "no-referrer");
    // A browser asks again each time, so that a new version's dashboard shows at once.
    add(CACHE_CONTROL, if is_api { "no-store" } else { "no-cache" });
}
