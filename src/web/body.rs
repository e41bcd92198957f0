//! The body of a request: read within limits, demanded to be JSON, and taken apart field by field, so that every
//! mistake is answered with the field's name.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
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
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Each field under its snake_case name; the same one twice, be it in both spellings, is refused.
    pub fn into_unique(self) -> Result<Vec<(String, Value)>, ApiError> {
        let mut unique: Vec<(String, Value)> = Vec::with_capacity(self.0.len());
        for (name, value) in self.0 {
            let name = snake_case(&name);
            if unique.iter().any(|(other, _)| *other == name) {
                return Err(ApiError::field(name, "is given twice"));
            }
            unique.push((name, value));
        }
        Ok(unique)
    }
}

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Visitor)
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
    use serde_json::Value;

    use super::ApiError;

    fn wrong(field: &str, expected: &str, value: &Value) -> ApiError {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        // The value itself may be a password in the wrong place.
        ApiError::field(field, format_args!("must be {expected}, not {found}"))
    }

    /// A text.
    pub fn text(field: &str, value: Value) -> Result<String, ApiError> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(wrong(field, "a text", &other)),
        }
    }

    /// A text, or `None` for `null` and the empty text.
    pub fn optional_text(field: &str, value: Value) -> Result<Option<String>, ApiError> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            other => Err(wrong(field, "a text or null", &other)),
        }
    }

    /// True or false.
    pub fn boolean(field: &str, value: Value) -> Result<bool, ApiError> {
        match value {
            Value::Bool(boolean) => Ok(boolean),
            other => Err(wrong(field, "true or false", &other)),
        }
    }

    /// A whole number of 0 or more.
    pub fn number(field: &str, value: Value) -> Result<u32, ApiError> {
        let Value::Number(number) = &value else {
            return Err(wrong(field, "a number", &value));
        };
        let whole = number.as_u64().and_then(|number| u32::try_from(number).ok());
        whole.ok_or_else(|| ApiError::field(field, format_args!("{number} is not a whole number in range")))
    }

    /// A whole number of 0 or more that may need 64 bits, or `None` for `null`.
    pub fn optional_large_number(field: &str, value: Value) -> Result<Option<u64>, ApiError> {
        match value {
            Value::Null => Ok(None),
            Value::Number(number) => match number.as_u64() {
                None => Err(ApiError::field(field, format_args!("{number} is not a whole number in range"))),
                whole => Ok(whole),
            },
            other => Err(wrong(field, "a number or null", &other)),
        }
    }

    /// A whole number of 0 or more, or `None` for `null`.
    pub fn optional_number(field: &str, value: Value) -> Result<Option<u32>, ApiError> {
        match value {
            Value::Null => Ok(None),
            other => number(field, other).map(Some),
        }
    }

    /// True or false; `null` is false.
    pub fn optional_boolean(field: &str, value: Value) -> Result<bool, ApiError> {
        match value {
            Value::Null => Ok(false),
            other => boolean(field, other),
        }
    }

    /// A text, or a number as the text that it is written as, or `None` for `null` and the empty text.
    pub fn optional_text_or_number(field: &str, value: Value) -> Result<Option<String>, ApiError> {
        match value {
            Value::Null => Ok(None),
            other => text_or_number(field, other).map(|text| Some(text).filter(|text| !text.is_empty())),
        }
    }

    /// A text, or a number as the text that it is written as.
    pub fn text_or_number(field: &str, value: Value) -> Result<String, ApiError> {
        match value {
            Value::Number(number) => Ok(number.to_string()),
            Value::String(text) => Ok(text),
            other => Err(wrong(field, "a text or a number", &other)),
        }
    }

    /// A list of texts.
    pub fn texts(field: &str, value: Value) -> Result<Vec<String>, ApiError> {
        let Value::Array(items) = value else {
            return Err(wrong(field, "a list of texts", &value));
        };
        items.into_iter().map(|item| text(field, item)).collect()
    }
}
