//! The Router: where every message goes. It appends what upstream brokers want to the log, hands local
//! subscribers theirs, keeps retained messages, and looks after the actors of the upstream brokers. It never
//! waits and does no I/O.

mod lifecycle;
mod preview;
mod retained;
mod routing;
mod subscriptions;
mod upstreams;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::acknowledgement::Acknowledgements;
use crate::bridge::{Bridge, BridgeOptions};
use crate::message_log::MessageLog;
use crate::messages::{
    BrokersChanged, CollectRetained, Collected, Drain, GetRouterSnapshot, Replay, ReplayError, RetainedWish,
    RetryNow, Route, Routed, RouterSnapshot, StopReplay, Subscribe, Subscribed, Unsubscribe,
};
use crate::store::{Change, StoredRetained, StoredUpstream};
use crate::timestamp::unix_micros;
use crate::upstream_broker::UpstreamContext;
use crate::{BrokerId, Metrics, Origin, limits};
use retained::{Retained, SearchBudget};

pub use retained::RetainedLimits;
use subscriptions::Subscriptions;
use upstreams::Upstreams;

/// What the Router is told at start.
#[derive(Clone, Copy, Debug)]
pub struct RouterLimits {
    /// How many retained messages are kept.
    pub retained: RetainedLimits,
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
    acknowledgements: Arc<Acknowledgements>,
    /// What keeps messages from going round.
    bridge: Arc<Bridge>,
    /// The revision of the broker definitions that are in force.
    revision: u64,
    /// Told whenever an upstream broker's connection comes or goes, or another broker is there.
    state_changes: Arc<Notify>,
}

impl Router {
    /// A Router without brokers and subscriptions that appends to `log`.
    pub fn new(log: Arc<MessageLog>, metrics: Arc<Metrics>, limits: RouterLimits) -> Router {
        Router {
            subscriptions: Subscriptions::new(),
            retained: Retained::new(limits.retained),
            upstreams: Upstreams::default(),
            acknowledgements: Arc::default(),
            bridge: Arc::new(Bridge::new(&BridgeOptions::default(), Uuid::new_v4())),
            log,
            metrics,
            limits,
            revision: 0,
            state_changes: Arc::default(),
        }
    }

    /// Who wants to know at once when the state of an upstream broker changes.
    pub fn announcing(mut self, state_changes: Arc<Notify>) -> Router {
        self.state_changes = state_changes;
        self
    }

    /// What keeps messages from going round.
    pub fn with_bridge(mut self, bridge: Arc<Bridge>) -> Router {
        self.bridge = bridge;
        self
    }

    /// What acknowledgements wait for.
    pub fn with_acknowledgements(mut self, acknowledgements: Arc<Acknowledgements>) -> Router {
        self.acknowledgements = acknowledgements;
        self
    }

    /// What there was before a restart.
    pub fn restored(
        mut self,
        retained: Vec<StoredRetained>,
        upstreams: HashMap<BrokerId, StoredUpstream>,
    ) -> Router {
        self.retained.restore(retained, unix_micros());
        self.upstreams = Upstreams::restored(upstreams);
        self
    }

    /// Retained messages that are no more are not to come back after a restart.
    fn record_forgotten(&mut self) {
        let topic_names = self.retained.take_forgotten();
        if !topic_names.is_empty() && self.log.is_durable() {
            self.log.append_changes(&[Change::RetainedForgotten { topic_names }], unix_micros());
        }
    }

    fn upstream_context(&self, context: &Context<Self>) -> UpstreamContext {
        UpstreamContext {
            router: context.address().recipient(),
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            packet_bytes_max: self.limits.packet_bytes_max,
            bridge: self.bridge.clone(),
            state_changes: self.state_changes.clone(),
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        context.run_interval(limits::SUPERVISION_TICK, |router, context| {
            let upstream_context = router.upstream_context(context);
            let now = Instant::now();
            router.upstreams.supervise(&upstream_context, now);
            router.retained.sweep(now);
            router.record_forgotten();
        });
    }
}

impl Handler<Route> for Router {
    type Result = Routed;

    fn handle(&mut self, route: Route, _: &mut Context<Self>) -> Routed {
        let is_of_client = route.publisher.is_some() && route.origin != Origin::Will;
        let count = route.batch.len();
        let routed = self.route_with_patience(route);
        if is_of_client {
            // What is returned comes again.
            self.metrics.messages_received.inc_by((count - routed.returned.len()) as u64);
        }
        routed
    }
}

impl Handler<Subscribe> for Router {
    type Result = Subscribed;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Context<Self>) -> Subscribed {
        let mut subscribed = Subscribed::default();
        let (now, mut budget) = (Instant::now(), SearchBudget::of_batch());
        for (filter, options) in &subscribe.subscriptions {
            if filter.shared().is_some() {
                // No retained messages for these: every member would get all of them.
                subscribed.groups.push(self.subscriptions.join(&subscribe, filter, *options));
                continue;
            }
            let identifier = subscribe.subscription_identifier;
            let is_new = self.subscriptions.add(&subscribe, filter, *options);
            let search = self.retained.search_for(filter, *options, identifier, is_new);
            subscribed.searches.extend(search.and_then(|search| match subscribe.retained {
                RetainedWish::None => None,
                RetainedWish::Later => Some(search),
                RetainedWish::Now => self.retained.search(search, &mut budget, now, &mut subscribed.retained),
            }));
        }
        subscribed
    }
}

impl Handler<CollectRetained> for Router {
    type Result = Collected;

    fn handle(&mut self, CollectRetained(search): CollectRetained, _: &mut Context<Self>) -> Collected {
        let mut retained = Vec::new();
        let rest = self.retained.search(search, &mut SearchBudget::of_batch(), Instant::now(), &mut retained);
        Collected { retained, rest }
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
            self.upstreams.apply(changed.brokers, changed.groups, &upstream_context);
        }
        self.revision
    }
}

impl Handler<GetRouterSnapshot> for Router {
    type Result = RouterSnapshot;

    fn handle(&mut self, _: GetRouterSnapshot, _: &mut Context<Self>) -> RouterSnapshot {
        RouterSnapshot {
            are_brokers_known: self.revision > 0,
            upstreams: self.upstreams.snapshots(),
            groups: self.upstreams.group_snapshots(),
            received: self.metrics.messages_received.get(),
            delivered: self.metrics.messages_delivered.get(),
            retained: self.retained.len() as u64,
            retained_bytes: self.retained.bytes() as u64,
            subscriptions: self.subscriptions.len() as u64,
            shared_subscriptions: self.subscriptions.shared_len() as u64,
            log: self.log.snapshot(),
        }
    }
}

impl Handler<Replay> for Router {
    type Result = ResponseFuture<Result<(), ReplayError>>;

    fn handle(&mut self, replay: Replay, _: &mut Context<Self>) -> Self::Result {
        // A group that balances has several places in the log.
        let addresses = self.upstreams.addresses_of(replay.broker).into_iter();
        let asked: Vec<_> = addresses.map(|address| address.send(replay.clone())).collect();
        Box::pin(async move {
            let mut started = Err(ReplayError::NotRunning);
            for asked in asked {
                started = asked.await.unwrap_or(Err(ReplayError::NotRunning));
                started.clone()?;
            }
            started
        })
    }
}

impl Handler<StopReplay> for Router {
    type Result = ResponseFuture<Result<bool, ReplayError>>;

    fn handle(&mut self, stop: StopReplay, _: &mut Context<Self>) -> Self::Result {
        let addresses = self.upstreams.addresses_of(stop.0).into_iter();
        let asked: Vec<_> = addresses.map(|address| address.send(stop)).collect();
        Box::pin(async move {
            let mut stopped = Err(ReplayError::NotRunning);
            for asked in asked {
                let ran = asked.await.unwrap_or(Err(ReplayError::NotRunning))?;
                stopped = Ok(stopped.unwrap_or(false) || ran);
            }
            stopped
        })
    }
}

impl Handler<RetryNow> for Router {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, retry: RetryNow, _: &mut Context<Self>) -> Self::Result {
        let told = self.upstreams.retry_now(retry);
        Box::pin(async move {
            let is_known = !told.is_empty();
            for told in told {
                // An actor that is gone is replaced at the next look.
                let _ = told.await;
            }
            is_known
        })
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
