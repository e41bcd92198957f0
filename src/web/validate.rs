//! A dry run of a definition: everything that is wrong with it, or how it would look and what is dangerous in it.

use actix_web::web::{Data, Json};
use actors::messages::{ValidateBroker, Validation};
use actors::{BrokerChanges, BrokerId, FieldError};
use serde::Serialize;
use serde_json::Value;

use super::body::{Body, Fields};
use super::dto::{self, DefinitionJson};
use super::error::ApiError;
use super::{WebState, ask};

/// What a dry run came to.
#[derive(Serialize)]
pub struct ValidationJson {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<DefinitionJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<WarningJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ErrorJson>>,
}

/// Something that is legal and dangerous.
#[derive(Serialize)]
pub struct WarningJson {
    field: String,
    warning: String,
}

impl WarningJson {
    /// A warning of a field.
    pub fn new(field: impl Into<String>, warning: impl Into<String>) -> WarningJson {
        WarningJson { field: field.into(), warning: warning.into() }
    }
}

#[derive(Serialize)]
struct ErrorJson {
    /// `null` where no single field is wrong.
    field: Option<String>,
    error: String,
}

/// `POST /api/brokers/validate`: a definition as for `POST /api/brokers`, or changes to the broker of the `id` that is given.
/// Nothing is stored.
pub async fn validate(state: Data<WebState>, body: Body) -> Result<Json<ValidationJson>, ApiError> {
    let Read { id, changes, errors } = read(body.fields()?)?;
    let validation = ask(state.config_store.send(ValidateBroker(id, changes))).await??;
    Ok(Json(shown(validation, errors)))
}

/// A body, as far as it can be read.
struct Read {
    id: Option<BrokerId>,
    changes: BrokerChanges,
    errors: Vec<FieldError>,
}

fn read(fields: Fields) -> Result<Read, ApiError> {
    let mut read = Read { id: None, changes: BrokerChanges::new(), errors: Vec::new() };
    for (name, value) in fields.into_pairs() {
        let given = match (name.as_str(), value) {
            ("id", Value::Null) => Ok(()),
            ("id", Value::String(text)) => match text.parse() {
                Ok(id) => {
                    read.id = Some(BrokerId(id));
                    Ok(())
                }
                Err(error) => return Err(ApiError::field("id", error)),
            },
            ("id", _) => return Err(ApiError::field("id", "must be a text")),
            (name, value) => dto::give(&mut read.changes, name, value),
        };
        if let Err(error) = given {
            read.errors.push(error);
        }
    }
    Ok(read)
}

fn shown(validation: Validation, mut errors: Vec<FieldError>) -> ValidationJson {
    let (definition, warnings) = match validation {
        Validation::Valid { broker, warnings } => (Some(DefinitionJson::new(&broker)), warnings),
        Validation::Invalid(others) => {
            errors.extend(others);
            (None, Vec::new())
        }
    };
    let valid = errors.is_empty();
    let error = |FieldError { field, problem }| match field.is_empty() {
        true => ErrorJson { field: None, error: problem },
        false => ErrorJson { error: format!("{field}: {problem}"), field: Some(field) },
    };
    let warning = |FieldError { field, problem }| WarningJson::new(field, problem);
    ValidationJson {
        valid,
        definition: definition.filter(|_| valid),
        warnings: valid.then(|| warnings.into_iter().map(warning).collect()),
        errors: (!valid).then(|| errors.into_iter().map(error).collect()),
    }
}
