//! The actor that watches over the upstream brokers: it holds how they are against rules, and says once when an alert
//! fires and once when it clears: in the log, in a topic, and to a webhook.

mod body;
mod courier;
mod ledger;
mod machine;
mod mail;
mod rule;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use mqtt::{Message as ApplicationMessage, Properties, QoS, TopicName};

pub use courier::Post;
pub use rule::{AlertMetric, AlertRule, check_rules};

use crate::messages::{Drain, GetRouterSnapshot, Route, RouterSnapshot, UpstreamSnapshot, UpstreamState};
use crate::sys_topics::level;
use crate::timestamp::unix_micros;
use crate::{Metrics, Origin, limits};
use courier::Courier;
use ledger::Ledger;
use machine::{Alert, AlertMachine, AlertState, Reading};

/// What is watched, and who is told.
pub struct AlertSettings {
    /// What is worth an alert.
    pub rules: Vec<AlertRule>,
    /// Alerts are published below this topic, by rule and broker.
    pub topic: TopicName,
    /// The file of what fires.
    pub ledger: PathBuf,
    /// The webhook, where there is one.
    pub post: Option<Post>,
}

/// Where the actor learns how the brokers are, and where alerts go.
pub struct AlertSources {
    /// Where messages go.
    pub router: Recipient<Route>,
    /// How the upstream brokers are.
    pub router_snapshot: Recipient<GetRouterSnapshot>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The actor. One look follows the other: ask, compare, tell, wait.
pub struct Alerts {
    sources: AlertSources,
    topic: TopicName,
    machine: AlertMachine,
    courier: Courier,
    /// What fired before the restart is to be found in its topic again.
    is_restored: bool,
}

impl Alerts {
    /// The actor; `None` where there is nothing to watch and nothing left of before.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub fn open(settings: AlertSettings, sources: AlertSources) -> std::io::Result<Option<Alerts>> {
        let AlertSettings { rules, topic, ledger: path, post } = settings;
        let ledger = Ledger::read(&path);
        if rules.is_empty() && ledger.is_empty() {
            return Ok(None);
        }
        let machine = AlertMachine::new(rules).restored(ledger.firing.clone(), Instant::now());
        let courier = Courier::start(path, ledger, post)?;
        Ok(Some(Alerts { sources, topic, machine, courier, is_restored: false }))
    }

    fn ask(&mut self, context: &mut Context<Self>) {
        let snapshot = self.sources.router_snapshot.send(GetRouterSnapshot).into_actor(self);
        context.spawn(snapshot.map(|snapshot, actor, context| match snapshot {
            Ok(snapshot) => actor.look(&snapshot, context),
            // Who does not answer is gone, so the process is ending.
            Err(_) => context.stop(),
        }));
    }

    fn look(&mut self, router: &RouterSnapshot, context: &mut Context<Self>) {
        // Before the definitions are known, everything would look as if it were over.
        if !router.are_brokers_known {
            return self.wait(context);
        }
        let mut batch = Vec::new();
        if !std::mem::replace(&mut self.is_restored, true) {
            for alert in self.machine.firing() {
                self.show(&alert);
                batch.extend(self.messages(&alert));
            }
        }
        let readings: Vec<Reading> = router.upstreams.iter().filter_map(reading).collect();
        let alerts = self.machine.look(Instant::now(), unix_micros(), &readings);
        for alert in &alerts {
            log_alert(alert);
            self.show(alert);
            batch.extend(self.messages(alert));
        }
        if !alerts.is_empty() {
            self.courier.take(alerts, self.machine.firing());
        }
        if batch.is_empty() {
            return self.wait(context);
        }
        let routed = self.sources.router.send(Route::new(Origin::System, batch)).into_actor(self);
        context.spawn(routed.map(|routed, actor, context| match routed {
            Ok(_) => actor.wait(context),
            Err(_) => context.stop(),
        }));
    }

    /// Shows in the metrics what fires.
    fn show(&self, alert: &Alert) {
        let label = [alert.rule.as_str(), alert.broker.as_str()];
        match alert.state {
            AlertState::Firing => self.sources.metrics.alerts_firing.with_label_values(&label).set(1),
            // A label that is not there is no harm.
            AlertState::Resolved => drop(self.sources.metrics.alerts_firing.remove_label_values(&label)),
        }
    }

    /// The last word on an alert is retained, unless it is about what is no more.
    fn messages(&self, alert: &Alert) -> Vec<ApplicationMessage> {
        let name = format!("{}/{}/{}", self.topic, level(&alert.rule), level(&alert.broker));
        let topic_name = match TopicName::new(name) {
            Ok(topic_name) => topic_name,
            Err(error) => {
                log::warn!("alert {} of broker {} has no topic: {error}", alert.rule, alert.broker);
                return Vec::new();
            }
        };
        let message = |retain: bool, payload: String| ApplicationMessage {
            topic_name: topic_name.clone(),
            // Below $SYS nobody keeps messages for those who are away; elsewhere these are worth it.
            qos: if topic_name.is_sys() { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            retain,
            properties: Properties::default(),
            payload: Bytes::from(payload),
        };
        let said = message(!alert.is_moot, body::body_of(alert));
        // An empty one takes the retained one away `[MQTT-3.3.1-6]`.
        let removed = alert.is_moot.then(|| message(true, String::new()));
        std::iter::once(said).chain(removed).collect()
    }

    fn wait(&mut self, context: &mut Context<Self>) {
        context.run_later(limits::ALERT_INTERVAL, |actor, context| actor.ask(context));
    }
}

/// An enabled broker as the machine sees it.
fn reading(upstream: &UpstreamSnapshot) -> Option<Reading> {
    (upstream.state != UpstreamState::Disabled).then(|| Reading {
        id: upstream.id,
        name: upstream.name.clone(),
        oldest_unsent: upstream.oldest_unsent.unwrap_or(Duration::ZERO),
        lag: upstream.lag,
        disconnected: upstream.disconnected,
        dropped: upstream.dropped.values().sum(),
    })
}

fn log_alert(alert: &Alert) {
    let Alert { rule, broker, value, threshold, .. } = alert;
    let metric = alert.metric.as_str();
    match alert.state {
        AlertState::Firing => {
            log::warn!("alert {rule} fires: broker {broker}: {metric} is {value}, above {threshold}");
        }
        AlertState::Resolved if alert.is_moot => {
            log::info!("alert {rule} is over: broker {broker} is not watched any more");
        }
        AlertState::Resolved => log::info!("alert {rule} is over: broker {broker}: {metric} is {value}"),
    }
}

impl Actor for Alerts {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        self.ask(context);
    }
}

impl Handler<Drain> for Alerts {
    type Result = ();

    /// Brokers that are left because the proxy stops are no reason for an alert.
    fn handle(&mut self, _: Drain, context: &mut Context<Self>) {
        context.stop();
    }
}
