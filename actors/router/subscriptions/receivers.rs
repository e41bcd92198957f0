//! Who gets a topic's messages, and how: all matching subscriptions of a session taken together, and the share groups.

use std::sync::Arc;

use mqtt::packet::SubscriptionOptions;
use mqtt::{Message as ApplicationMessage, QoS};

use crate::bridge::ForProxies;
use crate::delivery_queue::DeliveryQueue;
use crate::messages::SessionId;
use crate::share_group::ShareGroup;
use crate::store::{Recipient, SessionKey};

/// Everyone who gets a topic's messages.
#[derive(Default)]
pub struct Receivers {
    /// The sessions with ordinary subscriptions.
    pub sessions: Vec<Receiver>,
    /// The groups, of each of which one member gets the message.
    pub groups: Vec<Arc<ShareGroup>>,
}

impl Receivers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.groups.is_empty()
    }

    /// About how many bytes this takes, as long as it is kept.
    pub(super) fn bytes(&self) -> usize {
        let of_sessions: usize = self.sessions.iter().map(Receiver::bytes).sum();
        size_of::<Receivers>() + of_sessions + size_of_val(self.groups.as_slice())
    }
}

/// A message on its way into queues.
pub(super) struct Outgoing {
    pub(super) message: Arc<ApplicationMessage>,
    is_detached: bool,
}

impl Outgoing {
    pub(super) fn new(message: ApplicationMessage) -> Outgoing {
        Outgoing { message: Arc::new(message), is_detached: false }
    }

    /// The message for one more queue. Where it waits, it does not keep the whole read buffer that it came in: it is copied
    /// out, once for all who wait.
    pub(super) fn for_queue(&mut self, queue: &DeliveryQueue) -> Arc<ApplicationMessage> {
        if !self.is_detached && queue.is_behind() {
            (self.message, self.is_detached) = (Arc::new(self.message.detached()), true);
        }
        self.message.clone()
    }
}

/// Who published a message, and how it goes to clients that are proxies, where there are any.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The session that published it.
    pub publisher: Option<SessionId>,
    /// How it goes to other proxies.
    pub proxies: Option<&'a ForProxies>,
}

impl Source<'_> {
    /// Whether the session gets the message as proxies do.
    pub(super) fn concerns(&self, session: SessionId) -> bool {
        self.proxies.is_some_and(|proxies| proxies.concerns(session))
    }
}

/// One session that gets a topic's messages, with all its matching subscriptions taken together: one delivery
/// `[MQTT-3.3.4-2]`.
pub struct Receiver {
    pub(super) session_id: SessionId,
    pub(super) queue: Arc<DeliveryQueue>,
    pub(super) durable: Option<SessionKey>,
    /// By all matching subscriptions.
    terms: Terms,
    /// By those that want the session's own messages `[MQTT-3.8.3-3]`.
    own: OwnMessages,
}

/// How a session gets a message.
#[derive(Clone)]
pub(super) struct Terms {
    /// The highest QoS of the subscriptions that count.
    pub(super) qos: QoS,
    /// Whether one of them asks for the RETAIN flag as it was published.
    pub(super) retain_as_published: bool,
    /// The Subscription Identifiers of all of them `[MQTT-3.3.4-3]`.
    pub(super) identifiers: Vec<u32>,
}

/// What a session gets of what it publishes itself.
enum OwnMessages {
    /// All that others publish too: no matching subscription says No Local.
    AsOthers,
    /// Nothing: all matching subscriptions say No Local.
    None,
    /// What those subscriptions ask for that do not say No Local.
    Apart(Box<Terms>),
}

impl Terms {
    fn of(options: &SubscriptionOptions, identifier: Option<u32>) -> Terms {
        Terms {
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            identifiers: identifier.into_iter().collect(),
        }
    }

    fn add(&mut self, options: &SubscriptionOptions, identifier: Option<u32>) {
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.identifiers.extend(identifier);
    }
}

impl Receiver {
    /// A session with the first subscription that matches.
    pub(super) fn new(
        session_id: SessionId,
        queue: Arc<DeliveryQueue>,
        durable: Option<SessionKey>,
        options: &SubscriptionOptions,
        identifier: Option<u32>,
    ) -> Receiver {
        let own = if options.no_local { OwnMessages::None } else { OwnMessages::AsOthers };
        Receiver { session_id, queue, durable, terms: Terms::of(options, identifier), own }
    }

    fn bytes(&self) -> usize {
        let own = match &self.own {
            OwnMessages::Apart(own) => size_of::<Terms>() + size_of_val(own.identifiers.as_slice()),
            _ => 0,
        };
        size_of::<Receiver>() + size_of_val(self.terms.identifiers.as_slice()) + own
    }

    /// One more subscription of the session matches.
    pub(super) fn add(&mut self, options: &SubscriptionOptions, identifier: Option<u32>) {
        match (&mut self.own, options.no_local) {
            (OwnMessages::AsOthers, true) => self.own = OwnMessages::Apart(Box::new(self.terms.clone())),
            (OwnMessages::None, false) => {
                self.own = OwnMessages::Apart(Box::new(Terms::of(options, identifier)));
            }
            (OwnMessages::Apart(own), false) => own.add(options, identifier),
            _ => {}
        }
        self.terms.add(options, identifier);
    }

    /// How a message of this source goes there, if it does `[MQTT-3.8.3-3]`.
    pub(super) fn terms(&self, source: Source<'_>) -> Option<&Terms> {
        if source.proxies.is_some_and(|proxies| proxies.spares(self.session_id)) {
            return None;
        }
        if Some(self.session_id) != source.publisher {
            return Some(&self.terms);
        }
        match &self.own {
            OwnMessages::AsOthers => Some(&self.terms),
            OwnMessages::None => None,
            OwnMessages::Apart(own) => Some(own),
        }
    }

    /// What the message's record says of this receiver, if its session survives the process.
    pub fn recipient(&self, message: &ApplicationMessage, source: Source<'_>) -> Option<Recipient> {
        let session = self.durable?;
        let terms = self.terms(source)?;
        let qos = message.qos.min(terms.qos);
        (qos > QoS::AtMostOnce).then(|| Recipient {
            session,
            qos,
            retain: message.retain && terms.retain_as_published,
            subscription_identifiers: terms.identifiers.clone(),
        })
    }
}
