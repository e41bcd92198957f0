//! Tells the Router about every change, again and again until it has heard.

use std::time::Duration;

use actix::prelude::*;
use log::{debug, warn};
use tokio::sync::watch;

use super::ConfigStore;
use crate::broker::SharedBroker;
use crate::broker_group::SharedGroup;
use crate::messages::ConfigError;

/// The upstream brokers as they are now; answers with the revision that the Router holds afterwards.
#[derive(Clone, Message)]
#[rtype(result = "u64")]
pub struct BrokersChanged {
    /// Counts the changes; a lower one than the Router holds is stale.
    pub revision: u64,
    /// All brokers, enabled or not.
    pub brokers: Vec<SharedBroker>,
    /// The groups that have members.
    pub groups: Vec<SharedGroup>,
}

/// How long the Router may take to answer before it is told again.
const ROUTER_ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// The pause before the Router is told again.
const REPEAT_AFTER: Duration = Duration::from_millis(100);

/// How long the answer to a change waits for the Router, so that it means "acts now".
const CHANGE_ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// Repetitions between two warnings about a Router that does not hear.
const REPEATS_PER_WARNING: u64 = 100;

/// Whom to tell, and what was heard.
#[derive(Default)]
pub struct Announcer {
    router: Option<Recipient<BrokersChanged>>,
    /// The newest revision that the Router answered with.
    heard: watch::Sender<u64>,
    /// Whether a `BrokersChanged` or the pause before the next one is under way.
    is_busy: bool,
    /// Repetitions since the Router heard.
    repeats: u64,
}

impl Announcer {
    /// Names the Router.
    pub fn set_router(&mut self, router: Recipient<BrokersChanged>) {
        self.router = Some(router);
    }
}

impl ConfigStore {
    /// Tells the Router unless that is under way already, in which case it is told the newest when that ends.
    pub(super) fn announce(&mut self, ctx: &mut Context<ConfigStore>) {
        let Some(router) = &self.announcer.router else { return };
        if self.announcer.is_busy || *self.announcer.heard.borrow() >= self.revision {
            return;
        }
        self.announcer.is_busy = true;
        let sent = self.revision;
        let request = router.send(self.current()).timeout(ROUTER_ANSWER_DEADLINE);
        let told = request.into_actor(self).map(move |answer, store, ctx| {
            store.announcer.is_busy = false;
            let problem = match answer {
                Ok(heard) if heard >= sent => {
                    store.announcer.repeats = 0;
                    store.announcer.heard.send_replace(heard);
                    // The newest may be newer than what was sent.
                    return store.announce(ctx);
                }
                Ok(heard) => format!("it holds revision {heard}"),
                Err(error) => error.to_string(),
            };
            store.repeat(sent, &problem, ctx);
        });
        ctx.spawn(told);
    }

    fn repeat(&mut self, sent: u64, problem: &str, ctx: &mut Context<ConfigStore>) {
        if self.announcer.repeats.is_multiple_of(REPEATS_PER_WARNING) {
            warn!("router has not taken revision {sent} of the brokers, telling it again: {problem}");
        } else {
            debug!("router has not taken revision {sent} of the brokers: {problem}");
        }
        self.announcer.repeats += 1;
        self.announcer.is_busy = true;
        ctx.run_later(REPEAT_AFTER, |store, ctx| {
            store.announcer.is_busy = false;
            store.announce(ctx);
        });
    }

    /// The answer to a change: at once where it failed, else when the Router has heard or the wait is over.
    pub(super) fn answer_when_told<T: 'static>(
        &mut self,
        outcome: Result<T, ConfigError>,
        ctx: &mut Context<ConfigStore>,
    ) -> ResponseFuture<Result<T, ConfigError>> {
        if outcome.is_err() || self.announcer.router.is_none() {
            return Box::pin(std::future::ready(outcome));
        }
        self.announce(ctx);
        let revision = self.revision;
        let mut heard = self.announcer.heard.subscribe();
        Box::pin(async move {
            let told = heard.wait_for(|heard| *heard >= revision);
            if tokio::time::timeout(CHANGE_ANSWER_DEADLINE, told).await.is_err() {
                warn!("revision {revision} of the brokers is stored, but the router has not taken it yet");
            }
            outcome
        })
    }
}
