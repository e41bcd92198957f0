//! The body of a request: read within limits, demanded to be JSON, and taken apart field by field, so that every
//! mistake is answered with the field's name.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use actors::definition::Pairs;
use bytes::Bytes;
use serde_json::Value;

use super::error::ApiError;

/// The longest body that is read.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A body as it came.
pub struct Body {
    bytes: Bytes,
    says_json: bool,
}

impl Body {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The fields of the JSON object that the body must be.
    pub fn fields(&self) -> Result<Fields, ApiError> {
        if !self.says_json {
            let message = "the body must be JSON, with Content-Type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        serde_json::from_slice(&self.bytes)
            .map(Fields)
            .map_err(|error| ApiError::bad_request(format!("the body is not a JSON object: {error}")))
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Body, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let says_json = request.content_type().eq_ignore_ascii_case("application/json");
        // The limit stands in the PayloadConfig of the routes.
        let bytes = Bytes::from_request(request, payload);
        Box::pin(async move {
            match tokio::time::timeout(BODY_DEADLINE, bytes).await {
                Ok(Ok(bytes)) => Ok(Body { bytes, says_json }),
                Ok(Err(error)) => {
                    let status = error.as_response_error().status_code();
                    Err(match status {
                        StatusCode::PAYLOAD_TOO_LARGE => {
                            ApiError::new(status, format!("the body is longer than {BODY_BYTES_MAX} bytes"))
                        }
                        _ => ApiError::bad_request(format!("the body cannot be read: {error}")),
                    })
                }
                Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
            }
        })
    }
}

/// The fields of a JSON object in their order, the same name twice included.
pub struct Fields(Pairs);

impl Fields {
    /// Each field under its snake_case name, the same one twice included.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, Value)> {
        self.0.0.into_iter().map(|(name, value)| (snake_case(&name), value))
    }

    /// The fields of a value within a body; `None` where it is no object.
    pub fn of_value(value: Value) -> Option<Fields> {
        serde_json::from_value(value).ok().map(Fields)
    }

    /// The value of one field, and the others without it.
    pub fn without(mut self, name: &str) -> (Option<Value>, Fields) {
        let place = self.0.0.iter().position(|(field, _)| field == name);
        (place.map(|place| self.0.0.remove(place).1), self)
    }

    /// Each field under its snake_case name; the same one twice, be it in both spellings, is refused.
    pub fn into_unique(self) -> Result<Vec<(String, Value)>, ApiError> {
        let mut unique: Vec<(String, Value)> = Vec::with_capacity(self.0.0.len());
        for (name, value) in self.0.0 {
            let name = snake_case(&name);
            if unique.iter().any(|(other, _)| *other == name) {
                return Err(ApiError::field(name, "is given twice"));
            }
            unique.push((name, value));
        }
        Ok(unique)
    }
}

#[cfg(test)]
impl Fields {
    /// The fields of a JSON object.
    pub fn from_json(object: serde_json::Value) -> Fields {
        Fields(serde_json::from_value(object).expect("an object"))
    }
}

/// `useTls` becomes `use_tls`; a name that is snake_case already stays.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() {
            if index > 0 {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        } else {
            snake.push(letter);
        }
    }
    snake
}

/// The value as what its field must be, or an error that names the field.
pub mod value {
    use actors::definition::given;
    use serde_json::Value;

    use super::ApiError;

    /// A text.
    pub fn text(field: &str, value: Value) -> Result<String, ApiError> {
        given::text(value).map_err(|problem| ApiError::field(field, problem))
    }

    /// True or false.
    pub fn boolean(field: &str, value: Value) -> Result<bool, ApiError> {
        given::boolean(value).map_err(|problem| ApiError::field(field, problem))
    }

    /// A whole number within bounds, or `None` for `null`.
    pub fn optional_number(
        field: &str,
        value: Value,
        allowed: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        given::optional_number(value, allowed).map_err(|problem| ApiError::field(field, problem))
    }

    /// A text, or a number as the text that it is written as, or `None` for `null` and the empty text.
    pub fn optional_text_or_number(field: &str, value: Value) -> Result<Option<String>, ApiError> {
        match value {
            Value::Null => Ok(None),
            other => {
                let text = given::text_or_number(other).map_err(|problem| ApiError::field(field, problem))?;
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
        }
    }

    /// A list of texts.
    pub fn texts(field: &str, value: Value) -> Result<Vec<String>, ApiError> {
        given::texts(value).map_err(|problem| ApiError::field(field, problem))
    }
}
