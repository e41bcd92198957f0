//! The actor that says below `$SYS` how the proxy is: retained messages with the names and texts of mosquitto, each
//! published again when it has changed. Counters follow at an interval, connections to upstream brokers at once.

mod load;
mod topics;
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use mqtt::{Message as ApplicationMessage, Properties, QoS};
use tokio::sync::Notify;

use crate::messages::{
    Drain, GetRouterSnapshot, GetSessionsSnapshot, Route, RouterSnapshot, SessionsSnapshot,
};
use crate::{Metrics, Origin, limits};
use topics::Topics;
pub use topics::level;
use values::{Counters, Statistics};

/// Where the actor learns what it says, and where that goes.
pub struct SysSources {
    /// Where messages go.
    pub router: Recipient<Route>,
    /// What the Router counts, and how the upstream brokers are.
    pub router_snapshot: Recipient<GetRouterSnapshot>,
    /// How many sessions there are.
    pub sessions_snapshot: Recipient<GetSessionsSnapshot>,
    /// Told whenever an upstream broker's connection comes or goes.
    pub state_changes: Arc<Notify>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The actor. One round follows the other: ask, publish what is new, wait.
pub struct SysTopics {
    sources: SysSources,
    interval: Duration,
    /// When the counters are due again.
    due_at: Instant,
    statistics: Statistics,
    topics: Topics,
}

impl SysTopics {
    /// An actor that publishes counters at this interval.
    pub fn new(sources: SysSources, interval: Duration) -> SysTopics {
        let now = Instant::now();
        SysTopics {
            sources,
            interval,
            due_at: now,
            statistics: Statistics::new(now),
            topics: Topics::default(),
        }
    }

    /// Asks how things are; counters only where they are due.
    fn ask(&mut self, context: &mut Context<Self>) {
        let now = Instant::now();
        let is_due = now >= self.due_at;
        if is_due {
            let next = self.due_at + self.interval;
            // What a busy process missed is not made up for.
            self.due_at = if next > now { next } else { now + self.interval };
        }
        let router = self.sources.router_snapshot.send(GetRouterSnapshot);
        let sessions = is_due.then(|| self.sources.sessions_snapshot.send(GetSessionsSnapshot));
        let answers = async move {
            let sessions = match sessions {
                Some(sessions) => Some(sessions.await?),
                None => None,
            };
            Ok::<_, MailboxError>((router.await?, sessions))
        };
        context.spawn(answers.into_actor(self).map(|answers, actor, context| match answers {
            Ok((router, sessions)) => actor.publish(&router, sessions, context),
            // Who does not answer is gone, so the process is ending.
            Err(_) => context.stop(),
        }));
    }

    /// Publishes what is not as it was.
    fn publish(
        &mut self,
        router: &RouterSnapshot,
        sessions: Option<SessionsSnapshot>,
        context: &mut Context<Self>,
    ) {
        let connections =
            router.upstreams.iter().map(|upstream| (upstream.name.as_str(), upstream.state, upstream.health));
        let mut changed = self.topics.set_connections(connections);
        if let Some(sessions) = sessions {
            let counters = Counters::of(&self.sources.metrics);
            let values = self.statistics.values(router, sessions, &counters, Instant::now());
            changed.extend(self.topics.set_values(values));
        }
        if changed.is_empty() {
            return self.wait(context);
        }
        let route = Route::new(Origin::System, changed.into_iter().map(message).collect());
        let routed = self.sources.router.send(route).into_actor(self);
        context.spawn(routed.map(|routed, actor, context| match routed {
            Ok(_) => actor.wait(context),
            Err(_) => context.stop(),
        }));
    }

    /// Waits until there may be something new.
    fn wait(&mut self, context: &mut Context<Self>) {
        let (state_changes, due_at) = (self.sources.state_changes.clone(), self.due_at);
        let waited = async move {
            tokio::select! {
                () = state_changes.notified() => {}
                () = tokio::time::sleep_until(due_at.into()) => {}
            }
        };
        context.spawn(waited.into_actor(self).map(|(), actor, context| actor.ask(context)));
    }
}

/// A message of the proxy's own. At QoS 0 nobody keeps it for those who are away: they find it retained.
fn message((topic_name, text): (mqtt::TopicName, String)) -> ApplicationMessage {
    ApplicationMessage {
        topic_name,
        qos: QoS::AtMostOnce,
        retain: true,
        properties: Properties::default(),
        payload: Bytes::from(text),
    }
}

impl Actor for SysTopics {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        self.ask(context);
    }
}

impl Handler<Drain> for SysTopics {
    type Result = ();

    /// The others are about to go; nothing more is said.
    fn handle(&mut self, _: Drain, context: &mut Context<Self>) {
        context.stop();
    }
}

#[cfg(test)]
mod tests;
