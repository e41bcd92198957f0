//! The dashboard: files of one directory, served as they are.

use std::path::Path;

use actix_files::Files;
use actix_web::dev::{ServiceRequest, ServiceResponse, fn_service};
use actix_web::{Error, ResponseError, guard};
use log::warn;

use super::error::ApiError;

/// Whether there is a dashboard to serve; says so where there is none.
pub fn check(static_dir: &Path) {
    if !static_dir.join("index.html").is_file() {
        warn!("no dashboard: {} has no index.html", static_dir.display());
    }
}

/// The files under `/`, of which `index.html` is the one at `/` itself. It takes what no other route took.
pub fn files(static_dir: &Path) -> Files {
    Files::new("/", static_dir)
        .index_file("index.html")
        .guard(guard::Any(guard::Get()).or(guard::Head()))
        .default_handler(fn_service(|request: ServiceRequest| async move {
            Ok::<ServiceResponse, Error>(request.into_response(ApiError::no_such_path().error_response()))
        }))
}
