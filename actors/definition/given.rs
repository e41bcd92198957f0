//! A value as what its field must be, or a text that says what it must be. The value itself is not shown where it may
//! be a password in the wrong place.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

fn wrong(expected: &str, value: &Value) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("must be {expected}, not {found}")
}

/// A text.
pub fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong("a text", &other)),
    }
}

/// A text, or `None` for `null` and the empty text.
pub fn optional_text(value: Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        other => Err(wrong("a text or null", &other)),
    }
}

/// A text, or a number as the text that it is written as.
pub fn text_or_number(value: Value) -> Result<String, String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text),
        other => Err(wrong("a text or a number", &other)),
    }
}

/// True or false.
pub fn boolean(value: Value) -> Result<bool, String> {
    match value {
        Value::Bool(boolean) => Ok(boolean),
        other => Err(wrong("true or false", &other)),
    }
}

/// True, false, or `None` for `null`.
pub fn optional_boolean(value: Value) -> Result<Option<bool>, String> {
    match value {
        Value::Null => Ok(None),
        other => boolean(other).map(Some),
    }
}

/// A whole number within bounds.
pub fn number(value: Value, allowed: RangeInclusive<u64>) -> Result<u64, String> {
    let Value::Number(number) = &value else {
        return Err(wrong("a number", &value));
    };
    let whole = number.as_u64().filter(|whole| allowed.contains(whole));
    let (least, most) = allowed.into_inner();
    whole.ok_or_else(|| match most {
        u64::MAX => format!("{number} is not a whole number of {least} or more"),
        _ => format!("{number} is not within {least} to {most}"),
    })
}

/// A whole number within bounds, or `None` for `null`.
pub fn optional_number(value: Value, allowed: RangeInclusive<u64>) -> Result<Option<u64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(_) => number(value, allowed).map(Some),
        other => Err(wrong("a number or null", &other)),
    }
}

/// A list of texts.
pub fn texts(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.into_iter().map(text).collect(),
        other => Err(wrong("a list of texts", &other)),
    }
}

/// A list.
pub fn list(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong("a list", &other)),
    }
}

/// An object.
pub fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong("an object", &other)),
    }
}

/// One of a few words.
pub fn choice<T>(value: Value, parse: fn(&str) -> Option<T>, allowed: &str) -> Result<T, String> {
    let text = text(value)?;
    parse(&text).ok_or_else(|| format!("{text:?} is not {allowed}"))
}
