//! What a session writes down so that it survives the process: its beginning and end, its subscriptions, and how far
//! its messages are. A session that ends with its connection writes nothing.

use std::task::Context as Task;
use std::time::{Duration, Instant};

use actix::prelude::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bytes::Bytes;
use mqtt::packet::{SubscriptionOptions, Will};
use mqtt::property::PropertyId;
use mqtt::session::SessionExpiry;
use mqtt::{Message, Properties, Property, QoS, TopicFilter, TopicName};

use super::DeviceSession;
use crate::acknowledgement::Policy;
use crate::limits;
use crate::message_log::Mark;
use crate::messages::{Delivery, RetainedWish, Subscribe};
use crate::promise::Promise;
use crate::store::{Change, SessionKey, StoredSession};
use crate::timestamp::{age, unix_micros};

impl DeviceSession {
    /// A connection of a session begins: from now on it is durable if it outlives the connection.
    pub(super) fn record_connected(&mut self, session_present: bool) {
        let outlives =
            self.durable.is_some() || (!self.expiry.ends_with_connection() && self.shared.log.is_durable());
        self.has_stored_will = self.will.is_some() && self.shared.log.is_durable();
        if !outlives && !self.has_stored_will {
            return;
        }
        let session = SessionKey::of_client(&self.client_id);
        self.durable = outlives.then_some(session);
        self.is_stored = true;
        let mut changes = vec![Change::SessionConnected {
            session,
            client_id: self.client_id.clone(),
            is_new: !session_present,
            expiry_secs: self.expiry.interval_secs(),
        }];
        if let Some(will) = self.will.as_deref() {
            changes.push(Change::Will { session, will: Some(stored_will(will)) });
        }
        // CONNACK says that there is a session: it goes out when that is stored.
        self.output_gate = self.record_for(&changes);
    }

    /// The Will was published, or will never be: a restart is not to publish it. `None` where none is stored.
    pub(super) fn will_done(&mut self) -> Option<Change> {
        let session = SessionKey::of_client(&self.client_id);
        std::mem::take(&mut self.has_stored_will).then_some(Change::Will { session, will: None })
    }

    /// The Will is not to be published.
    pub(super) fn drop_will(&mut self) {
        (self.will, self.will_at) = (None, None);
        if let Some(done) = self.will_done() {
            self.record_for(&[done]);
        }
    }

    /// The connection ended.
    pub(super) fn record_disconnected(&mut self) {
        if let Some(session) = self.durable {
            let (expiry_secs, at_micros) = (self.expiry.interval_secs(), unix_micros());
            self.record(&[Change::SessionDisconnected { session, expiry_secs, at_micros }]);
        }
    }

    /// The session is over, and no other one has taken its place.
    pub(super) fn record_ended(&mut self) {
        (self.durable, self.has_stored_will) = (None, false);
        if std::mem::take(&mut self.is_stored) && !self.superseded {
            let session = SessionKey::of_client(&self.client_id);
            self.record_for(&[Change::SessionEnded { session }]);
        }
    }

    pub(super) fn record_subscriptions(
        &mut self,
        subscriptions: &[(TopicFilter, SubscriptionOptions)],
        identifier: Option<u32>,
    ) -> Promise {
        let Some(session) = self.durable else { return Promise::Nothing };
        let changes: Vec<_> = subscriptions
            .iter()
            .map(|(filter, options)| Change::Subscribed {
                session,
                filter: filter.clone(),
                options: *options,
                identifier,
            })
            .collect();
        self.record(&changes)
    }

    pub(super) fn record_unsubscribed(&mut self, filters: &[TopicFilter]) -> Promise {
        let Some(session) = self.durable else { return Promise::Nothing };
        let unsubscribed = |filter: &TopicFilter| Change::Unsubscribed { session, filter: filter.clone() };
        self.record(&filters.iter().map(unsubscribed).collect::<Vec<_>>())
    }

    /// Messages for the client that did not come through the log, such as retained ones.
    pub(super) fn record_queued(&mut self, deliveries: &mut [Delivery]) {
        let Some(session) = self.durable else { return };
        for delivery in deliveries.iter_mut().filter(|delivery| delivery.qos > QoS::AtMostOnce) {
            let waited = delivery.received_at.elapsed();
            let queued = Change::Queued {
                session,
                qos: delivery.qos,
                retain: delivery.retain,
                subscription_identifiers: delivery.subscription_identifiers.clone(),
                received_at_micros: unix_micros().saturating_sub(waited.as_micros() as u64),
                message: (*delivery.message).clone(),
            };
            delivery.offset = Some(self.record_for(&[queued]) - 1);
        }
    }

    /// What happened to deliveries since the last time. What must not be repeated after a restart holds back the
    /// output until it is stored.
    pub(super) fn record_moves(&mut self) {
        let moves = self.outbound.take_moves();
        self.waiting.set(self.outbound.len());
        let Some(session) = self.durable else { return };
        if moves.is_empty() {
            return;
        }
        let mut changes = Vec::with_capacity(3);
        if !moves.sent.is_empty() {
            changes.push(Change::DeliverySent { session, deliveries: moves.sent });
        }
        if !moves.received.is_empty() {
            changes.push(Change::DeliveryReceived { session, packet_ids: moves.received });
        }
        if !moves.done.is_empty() {
            changes.push(Change::DeliveryDone { session, offsets: moves.done });
        }
        let end = self.record_for(&changes);
        if moves.hold_output {
            self.output_gate = end;
        }
    }

    /// Whether what is encoded may go out. While the disk fails it may: exactly-once across a crash is then not kept.
    pub(super) fn may_send(&mut self, task: &Task<'_>) -> bool {
        let watermarks = self.shared.log.watermarks();
        watermarks.poll_passed(Mark::Stored, self.output_gate, &mut self.gate_registration, task)
            || watermarks.is_failing()
    }

    /// What an acknowledgement of everything below `end` waits for.
    pub(super) fn state_promise(&self, end: u64) -> Promise {
        match self.shared.acknowledgements.policy {
            Policy::Memory => Promise::Nothing,
            Policy::Synced => Promise::Synced(end),
            _ => Promise::Stored(end),
        }
    }

    /// Writes changes down; the answer waits for them.
    pub(super) fn record(&mut self, changes: &[Change]) -> Promise {
        let end = self.record_for(changes);
        self.state_promise(end)
    }

    pub(super) fn record_for(&self, changes: &[Change]) -> u64 {
        self.shared.log.append_changes(changes, unix_micros())
    }

    /// The session as it was before a restart, without a connection.
    pub fn restored(mut self, stored: StoredSession) -> DeviceSession {
        self.durable = Some(stored.key);
        self.is_stored = true;
        self.expiry = SessionExpiry::from_connect(Some(stored.expiry_secs), u32::MAX);
        let now_micros = unix_micros();
        let ago = |age: Duration| Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        // One that was connected lost its connection with the process.
        let absent_for =
            stored.disconnected_at_micros.map_or(Duration::ZERO, |at_micros| age(at_micros, now_micros));
        self.ends_at = self
            .expiry
            .ends_at(Instant::now())
            .map(|at| at.checked_sub(absent_for).unwrap_or_else(Instant::now));
        if let Some((delay_secs, message)) = stored.will {
            let delay = Duration::from_secs(delay_secs.into());
            let due = Instant::now() + delay.saturating_sub(absent_for);
            // Who was connected when the process died could not do otherwise than leave: it is given time to return.
            let grace = Instant::now() + self.shared.limits.restart_will_grace;
            let was_connected = stored.disconnected_at_micros.is_none();
            self.will = Some(Box::new(will_of(message, delay_secs)));
            // Not before the Router knows its upstream brokers, who are to get it too.
            let earliest = Instant::now() + limits::RESTORED_WILL_PAUSE;
            let (due, grace) = (due.max(earliest), grace.max(earliest));
            self.will_at = Some(if was_connected { due.max(grace) } else { due });
            self.has_stored_will = true;
            self.may_return = was_connected;
            self.ends_at = self.ends_at.map(|at| at.max(if was_connected { grace } else { earliest }));
        }
        self.inflow.restore(stored.awaiting_release);
        let deliveries = stored.deliveries.into_iter().map(|stored| {
            let delivery = Delivery {
                // Where PUBREC came, only PUBREL can still go out: the message is not needed.
                message: stored.message.unwrap_or_else(nothing).into(),
                qos: stored.qos,
                retain: stored.retain,
                subscription_identifiers: stored.subscription_identifiers,
                received_at: ago(age(stored.received_at_micros, now_micros)),
                offset: Some(stored.offset),
                share: None,
            };
            (stored.stage, delivery)
        });
        self.outbound.restore(deliveries.collect());
        self.waiting.set(self.outbound.len());
        self.shared.metrics.subscriptions.add(stored.subscriptions.len() as i64);
        self.subscriptions = stored.subscriptions.iter().map(|(filter, ..)| filter.clone()).collect();
        self.to_subscribe = stored.subscriptions;
        self
    }

    /// Makes the subscriptions of before the restart again.
    pub(super) fn subscribe_again(&mut self, context: &mut Context<Self>) {
        for (filter, options, subscription_identifier) in std::mem::take(&mut self.to_subscribe) {
            let subscribe = Subscribe {
                session_id: self.id,
                queue: self.outbound.queue().clone(),
                subscriptions: vec![(filter, options)],
                subscription_identifier,
                durable: self.durable,
                retained: RetainedWish::None,
            };
            let subscribed = self.shared.subscribe.send(subscribe).into_actor(self);
            context.wait(subscribed.map(move |subscribed, session, _| {
                if let Ok(subscribed) = subscribed {
                    session.recognise_shared(&subscribed.groups, subscription_identifier);
                }
            }));
        }
    }
}

/// A Will as it is written down: Will Delay Interval in seconds, and the message.
fn stored_will(will: &Will) -> (u32, Message) {
    let delay_secs = will.properties.will_delay_interval().unwrap_or(0);
    (delay_secs, will_message(will.clone()))
}

/// The message that a Will publishes: its delay is no business of those who get it.
pub(super) fn will_message(will: Will) -> Message {
    Message {
        topic_name: will.topic_name,
        qos: will.qos,
        retain: will.retain,
        properties: will.properties.without(|id| id == PropertyId::WillDelayInterval),
        payload: will.payload,
    }
}

fn will_of(message: Message, delay_secs: u32) -> Will {
    Will {
        topic_name: message.topic_name,
        qos: message.qos,
        retain: message.retain,
        properties: match delay_secs {
            0 => message.properties,
            _ => message.properties.with(Property::WillDelayInterval(delay_secs)),
        },
        payload: message.payload,
    }
}

/// Stands for a message that is not needed any more.
fn nothing() -> Message {
    Message {
        topic_name: TopicName::new("-").expect("a hyphen is a Topic Name"),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::new(),
    }
}
