//! `ETag` and `If-Match`: whoever changes a broker can say which revision of it was seen.

use std::future::{Ready, ready};

use actix::dev::ToEnvelope;
use actix::{Handler, Message};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use actors::BrokerId;
use actors::config_store::ConfigStore;
use actors::messages::{AtRevision, ConfigError};

use super::dto::BrokerJson;
use super::error::ApiError;
use super::{WebState, ask};

/// What `If-Match` says: the revision that must be in force, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precondition(Option<u64>);

impl Precondition {
    /// `"7"` is a revision, `*` is any.
    fn parse(text: &str) -> Result<Precondition, ApiError> {
        if text.trim() == "*" {
            return Ok(Precondition(None));
        }
        let bare = text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        // Another kind of tag is one that no revision of ours ever had.
        let revision = bare.and_then(|bare| bare.parse().ok());
        let unknown =
            || ApiError::new(StatusCode::PRECONDITION_FAILED, format!("If-Match: {text} is no revision"));
        revision.map(|revision| Precondition(Some(revision))).ok_or_else(unknown)
    }
}

impl FromRequest for Precondition {
    type Error = ApiError;
    type Future = Ready<Result<Precondition, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get(IF_MATCH).map(|value| value.to_str().unwrap_or_default());
        ready(header.map_or(Ok(Precondition(None)), Precondition::parse))
    }
}

impl WebState {
    /// Gives the ConfigStore an order for a broker, where that is still what the precondition says.
    pub async fn order<M, T>(
        &self,
        broker: BrokerId,
        Precondition(revision): Precondition,
        order: M,
    ) -> Result<T, ApiError>
    where
        M: Message<Result = Result<T, ConfigError>> + Send + 'static,
        T: Send + 'static,
        ConfigStore: Handler<M> + Handler<AtRevision<M>>,
        <ConfigStore as actix::Actor>::Context:
            ToEnvelope<ConfigStore, M> + ToEnvelope<ConfigStore, AtRevision<M>>,
    {
        let done = match revision {
            None => ask(self.config_store.send(order)).await?,
            Some(revision) => ask(self.config_store.send(AtRevision { revision, broker, order })).await?,
        };
        Ok(done?)
    }
}

/// A broker with its revision as `ETag`.
pub fn tagged(status: StatusCode, broker: &BrokerJson) -> HttpResponse {
    HttpResponse::build(status).insert_header((ETAG, format!("\"{}\"", broker.revision()))).json(broker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_revision_in_quotes() {
        assert_eq!(Precondition::parse("\"7\"").unwrap(), Precondition(Some(7)));
        assert_eq!(Precondition::parse(" * ").unwrap(), Precondition(None));
        for wrong in ["7", "\"x\"", "W/\"7\"", "", "\"7"] {
            assert!(Precondition::parse(wrong).unwrap_err().to_string().starts_with("412: "), "{wrong}");
        }
    }
}
