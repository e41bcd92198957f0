//! The Router: where every message goes. It appends what upstream brokers want to the log, hands local
//! subscribers theirs, keeps retained messages, and looks after the actors of the upstream brokers. It never
//! waits and does no I/O.

mod retained;
mod subscriptions;
mod upstreams;

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use mqtt::Message as ApplicationMessage;

use crate::message_log::MessageLog;
use crate::messages::{
    BrokersChanged, Drain, GetRouterSnapshot, Route, Routed, RouterSnapshot, Subscribe, Subscribed,
    Unsubscribe,
};
use crate::upstream_broker::{UpstreamContext, unix_micros};
use crate::{Metrics, Origin, limits};
use retained::Retained;
use subscriptions::Subscriptions;
use upstreams::Upstreams;

/// What the Router is told at start.
#[derive(Clone, Copy, Debug)]
pub struct RouterLimits {
    /// The most retained messages.
    pub retained_messages_max: usize,
    /// The longest packet that is accepted from an upstream broker.
    pub packet_bytes_max: usize,
}

/// The actor.
pub struct Router {
    log: Arc<MessageLog>,
    metrics: Arc<Metrics>,
    limits: RouterLimits,
    subscriptions: Subscriptions,
    retained: Retained,
    upstreams: Upstreams,
    /// The revision of the broker definitions that are in force.
    revision: u64,
}

impl Router {
    /// A Router without brokers and subscriptions that appends to `log`.
    pub fn new(log: Arc<MessageLog>, metrics: Arc<Metrics>, limits: RouterLimits) -> Router {
        Router {
            subscriptions: Subscriptions::new(metrics.clone()),
            retained: Retained::new(limits.retained_messages_max),
            upstreams: Upstreams::default(),
            log,
            metrics,
            limits,
            revision: 0,
        }
    }

    fn upstream_context(&self, context: &Context<Self>) -> UpstreamContext {
        UpstreamContext {
            router: context.address().recipient(),
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            packet_bytes_max: self.limits.packet_bytes_max,
        }
    }

    /// Appends what any upstream broker wants, and wakes them.
    fn append(&mut self, batch: &[ApplicationMessage], origin: Origin) -> bool {
        if self.upstreams.is_empty() {
            return false;
        }
        let now_micros = unix_micros();
        let appended = match self.upstreams.want_all_topics() {
            true if !batch.iter().any(|message| message.topic_name.is_dollar()) => {
                self.log.append(batch.iter(), origin, now_micros)
            }
            _ => {
                let upstreams = &mut self.upstreams;
                let wanted = batch.iter().filter(|message| upstreams.want(&message.topic_name));
                self.log.append(wanted, origin, now_micros)
            }
        };
        self.upstreams.wake();
        appended.wait_for_room
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        context.run_interval(limits::SUPERVISION_TICK, |router, context| {
            let upstream_context = router.upstream_context(context);
            router.upstreams.supervise(&upstream_context, Instant::now());
        });
    }
}

impl Handler<Route> for Router {
    type Result = Routed;

    fn handle(&mut self, route: Route, _: &mut Context<Self>) -> Routed {
        let Route { origin, publisher, batch } = route;
        if origin == Origin::Device {
            self.metrics.messages_received.inc_by(batch.len() as u64);
        }
        let wait_for_room = self.append(&batch, origin);
        if batch.iter().any(|message| message.retain) {
            let now = Instant::now();
            for message in batch.iter().filter(|message| message.retain) {
                self.retained.set(message, now);
            }
        }
        if !self.subscriptions.is_empty() {
            self.subscriptions.deliver(batch, publisher);
        }
        Routed { wait_for_room }
    }
}

impl Handler<Subscribe> for Router {
    type Result = Subscribed;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Context<Self>) -> Subscribed {
        let mut retained = Vec::new();
        let now = Instant::now();
        for (filter, options) in &subscribe.subscriptions {
            let identifier = subscribe.subscription_identifier;
            let is_new = self.subscriptions.add(
                subscribe.session_id,
                &subscribe.deliver,
                filter,
                *options,
                identifier,
            );
            self.retained.collect(filter, *options, identifier, is_new, now, &mut retained);
        }
        Subscribed { retained }
    }
}

impl Handler<Unsubscribe> for Router {
    type Result = MessageResult<Unsubscribe>;

    fn handle(&mut self, unsubscribe: Unsubscribe, _: &mut Context<Self>) -> Self::Result {
        let filters = unsubscribe.topic_filters.iter();
        MessageResult(
            filters.map(|filter| self.subscriptions.remove(unsubscribe.session_id, filter)).collect(),
        )
    }
}

impl Handler<BrokersChanged> for Router {
    type Result = u64;

    fn handle(&mut self, changed: BrokersChanged, context: &mut Context<Self>) -> u64 {
        if changed.revision > self.revision {
            self.revision = changed.revision;
            let upstream_context = self.upstream_context(context);
            self.upstreams.apply(changed.brokers, &upstream_context);
        }
        self.revision
    }
}

impl Handler<GetRouterSnapshot> for Router {
    type Result = RouterSnapshot;

    fn handle(&mut self, _: GetRouterSnapshot, _: &mut Context<Self>) -> RouterSnapshot {
        RouterSnapshot {
            upstreams: self.upstreams.snapshots(),
            received: self.metrics.messages_received.get(),
            delivered: self.metrics.messages_delivered.get(),
            retained: self.retained.len() as u64,
            subscriptions: self.subscriptions.len() as u64,
            log_head_bytes: self.log.head_bytes() as u64,
            next_offset: self.log.next_offset(),
        }
    }
}

impl Handler<Drain> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.upstreams.drain())
    }
}

#[cfg(test)]
mod tests;
