//! What a handler answers where it cannot do what it was asked: a status and `{"error": ..., "field": ...}`.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use actors::FieldError;
use actors::messages::ConfigError;
use serde::Serialize;

/// An error as the API shows it.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    field: Option<String>,
    allow: Option<&'static str>,
}

/// The JSON of an error.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl ApiError {
    /// An error without a field.
    pub fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), field: None, allow: None }
    }

    /// A request that makes no sense as a whole.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// A field that is wrong; the text starts with its name.
    pub fn field(field: impl Into<String>, problem: impl std::fmt::Display) -> ApiError {
        let field = field.into();
        let message = format!("{field}: {problem}");
        ApiError { field: Some(field), ..ApiError::bad_request(message) }
    }

    /// The same error of a field within another one.
    pub fn within(self, outer: &str) -> ApiError {
        match self.field {
            Some(field) => ApiError {
                message: format!("{outer}.{}", self.message),
                field: Some(format!("{outer}.{field}")),
                ..self
            },
            None => self,
        }
    }

    /// No broker has this identity.
    pub fn no_such_broker(id: uuid::Uuid) -> ApiError {
        ApiError::from(ConfigError::NotFound(actors::BrokerId(id)))
    }

    /// A path that leads nowhere.
    pub fn no_such_path() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "nothing is here")
    }

    /// A path that knows other methods only.
    pub fn method_not_allowed(allow: &'static str) -> ApiError {
        let message = format!("only {allow} can be used here");
        ApiError { allow: Some(allow), ..ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// More at once than there is room for.
    pub fn too_many(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// Someone inside did not answer.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl From<FieldError> for ApiError {
    fn from(FieldError { field, problem }: FieldError) -> ApiError {
        ApiError::field(field, problem)
    }
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> ApiError {
        let message = error.to_string();
        match error {
            ConfigError::Field(error) => ApiError::from(error),
            ConfigError::NoSuchGroup(_) => ApiError::new(StatusCode::NOT_FOUND, message),
            ConfigError::NotFound(_) => ApiError::new(StatusCode::NOT_FOUND, message),
            ConfigError::NameInUse(_) => {
                ApiError { field: Some("name".to_owned()), ..ApiError::new(StatusCode::CONFLICT, message) }
            }
            ConfigError::ReadOnly(_) => ApiError::new(StatusCode::FORBIDDEN, message),
            ConfigError::Changed(_) => ApiError::new(StatusCode::PRECONDITION_FAILED, message),
            ConfigError::TooMany(_) | ConfigError::Disabled(_) | ConfigError::InGroup(_) => {
                ApiError::new(StatusCode::CONFLICT, message)
            }
            ConfigError::Storage(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.status.as_u16(), self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, HeaderValue::from_static(allow)));
        }
        response.json(ErrorBody { error: &self.message, field: self.field.as_deref() })
    }
}
