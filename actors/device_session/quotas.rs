//! What a client wants beyond its quotas: it is told so, counted, and named in the log once a connection.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context as Task;
use std::time::Instant;

use mqtt::packet::SubscriptionOptions;
use mqtt::{DecodeError, QoS, ReasonCode, TopicFilter, TopicName};
use tokio::time::Sleep;

use super::{DeviceSession, Ending, OnMessageRate};
use crate::Quota;
use crate::token_bucket::TokenBucket;

/// How fast the client of a connection may publish.
pub struct MessageRate {
    bucket: Option<TokenBucket>,
    /// While the next message is not due: when it is.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MessageRate {
    /// A rate with a full burst; 0 is no bound.
    pub fn new(per_second: u32, now: Instant) -> MessageRate {
        MessageRate { bucket: TokenBucket::new(per_second, now), timer: None }
    }

    /// Whether nothing is taken from the client until a message is due.
    pub fn is_waiting(&self) -> bool {
        self.timer.is_some()
    }
}

impl DeviceSession {
    /// Counts it, and says so once.
    pub(super) fn exceeded(&mut self, quota: Quota, what: &str) {
        self.shared.metrics.exceeded(quota);
        self.report(quota, what);
    }

    /// Says so once a connection.
    pub(super) fn report(&mut self, quota: Quota, what: &str) {
        if self.reported.is_first(quota) {
            log::warn!("client {}: quota {}: {what}", self.client_id, quota.name());
        }
    }

    /// The end of a connection that brought bytes which are no packets, or too long a one.
    pub(super) fn undecodable(&mut self, error: &DecodeError) -> Ending {
        if let DecodeError::PacketTooLarge { .. } = error {
            self.exceeded(Quota::PacketBytes, &error.to_string());
        }
        Ending::by_server(error.reason_code(), &error.to_string())
    }

    /// Whether a Topic Name is one that a message may go to; the Reason Code for its acknowledgement otherwise.
    ///
    /// # Errors
    /// Where the client cannot be told, the connection ends.
    pub(super) fn check_topic_name(&mut self, name: &TopicName, qos: QoS) -> Result<ReasonCode, Ending> {
        if !self.shared.limits.topics.admit_name(name) {
            self.exceeded(Quota::Topic, "a topic name is too long or has too many levels");
            let is_v5 = self.attachment.as_ref().is_some_and(|attachment| attachment.client.version.is_v5());
            return match is_v5 && qos > QoS::AtMostOnce {
                true => Ok(ReasonCode::TopicNameInvalid),
                false => {
                    Err(Ending::by_server(ReasonCode::TopicNameInvalid, "topic name too long or too deep"))
                }
            };
        }
        // `$SYS` is ours to write.
        match name.is_sys() {
            true => Ok(ReasonCode::NotAuthorized),
            false => Ok(ReasonCode::Success),
        }
    }

    /// What a subscription is granted.
    pub(super) fn grant(&mut self, filter: &TopicFilter, options: SubscriptionOptions) -> ReasonCode {
        let limits = &self.shared.limits;
        if !limits.topics.admit_filter(filter) {
            self.exceeded(Quota::Topic, "a topic filter is too long or has too many levels");
            return ReasonCode::TopicFilterInvalid;
        }
        if self.subscriptions.len() >= limits.subscriptions_max && !self.subscriptions.contains(filter) {
            self.exceeded(Quota::Subscriptions, "no more subscriptions");
            return ReasonCode::QuotaExceeded;
        }
        match options.qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        }
    }

    /// Whether the next message of the client is due. If not, the client waits, or goes, but not before the earlier ones of
    /// the batch are routed.
    pub(super) fn is_message_due(&mut self, has_earlier: bool) -> Result<bool, Ending> {
        let Some(attachment) = &mut self.attachment else { return Ok(false) };
        let MessageRate { bucket: Some(bucket), timer } = &mut attachment.rate else { return Ok(true) };
        let Err(due_at) = bucket.take(Instant::now()) else { return Ok(true) };
        if has_earlier {
            return Ok(false);
        }
        *timer = Some(Box::pin(tokio::time::sleep_until(due_at.into())));
        let limits = &self.shared.limits;
        let what = format!("more than {} messages a second", limits.messages_per_second_max);
        let is_to_go = limits.on_message_rate == OnMessageRate::Disconnect;
        self.exceeded(Quota::MessageRate, &what);
        match is_to_go {
            true => Err(Ending::by_server(ReasonCode::MessageRateTooHigh, &what)),
            false => Ok(false),
        }
    }

    /// Whether the client has to wait because of its rate.
    pub(super) fn is_slowed_down(&self) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| attachment.rate.is_waiting())
    }

    /// Whether messages of the client may be taken, as far as their rate is concerned; if not, the session is woken when
    /// they may.
    pub(super) fn rate_allows(&mut self, task: &mut Task<'_>) -> bool {
        let Some(attachment) = &mut self.attachment else { return true };
        let Some(timer) = &mut attachment.rate.timer else { return true };
        if timer.as_mut().poll(task).is_pending() {
            return false;
        }
        attachment.rate.timer = None;
        // What it sent meanwhile was not read.
        attachment.keep_alive.received(Instant::now());
        true
    }
}
