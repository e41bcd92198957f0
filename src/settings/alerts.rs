//! `[alerts]`: what is worth an alert, and who is told.

use std::time::Duration;

use actors::alerts::{AlertMetric, AlertRule, check_rules};
use actors::broker::Secret;
use config::ValueKind;
use mqtt::TopicName;
use serde::{Deserialize, Serialize};
use toml::de::DeTable;
use ureq::http::Uri;

use super::layer;

/// The checked section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// What is worth an alert.
    pub rules: Vec<AlertRule>,
    /// Alerts are published below this topic.
    pub topic: TopicName,
    /// Where they are posted to.
    pub webhook: Option<WebhookSettings>,
}

/// Where alerts are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// `http://` or `https://`.
    pub url: String,
    /// Signs the bodies; `None` leaves them unsigned.
    pub secret: Option<Secret>,
}

/// Where alerts are published, unless the settings say otherwise.
const TOPIC: &str = "$SYS/broker/alerts";

/// The longest time that a rule may wait.
const LASTING_SECS_MAX: u64 = 24 * 60 * 60;

impl Default for AlertSettings {
    fn default() -> AlertSettings {
        let topic = TopicName::new(TOPIC).expect("it has no wildcards");
        AlertSettings { rules: Vec::new(), topic, webhook: None }
    }
}

/// The section of a file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlerts {
    webhook_url: String,
    webhook_secret: String,
    topic: String,
    // The crate `config` leaves out empty lists among the defaults.
    #[serde(default)]
    rules: Vec<RawAlertRule>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlertRule {
    name: String,
    #[serde(default = "every_broker")]
    broker: String,
    metric: String,
    above: u64,
    #[serde(default)]
    for_secs: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clear_below: Option<u64>,
}

fn every_broker() -> String {
    "*".to_owned()
}

impl RawAlerts {
    /// Every value was checked in its layer already; this says so where one was not.
    pub fn check(self) -> Result<AlertSettings, String> {
        let rules = self.rules.into_iter().map(RawAlertRule::check).collect::<Result<Vec<_>, _>>();
        let rules = rules.and_then(|rules| check_rules(&rules).map(|()| rules));
        let topic = TopicName::new(self.topic).map_err(|error| format!("alerts.topic: {error}"))?;
        let secret = Some(self.webhook_secret).filter(|secret| !secret.is_empty()).map(Secret::new);
        Ok(AlertSettings {
            rules: rules.map_err(|problem| format!("alerts.rules: {problem}"))?,
            topic,
            webhook: (!self.webhook_url.is_empty())
                .then_some(WebhookSettings { url: self.webhook_url, secret }),
        })
    }

    /// The section as a file would say it, the secret hidden.
    pub fn shown(alerts: &AlertSettings) -> RawAlerts {
        let webhook = alerts.webhook.as_ref();
        let has_secret = webhook.is_some_and(|webhook| webhook.secret.is_some());
        RawAlerts {
            webhook_url: webhook.map(|webhook| webhook.url.clone()).unwrap_or_default(),
            webhook_secret: if has_secret { "***".to_owned() } else { String::new() },
            topic: alerts.topic.to_string(),
            rules: alerts.rules.iter().map(RawAlertRule::shown).collect(),
        }
    }
}

impl RawAlertRule {
    fn check(self) -> Result<AlertRule, String> {
        let metrics = AlertMetric::NAMES.join(", ");
        let metric = AlertMetric::parse(&self.metric);
        let metric = metric.ok_or_else(|| format!("metric must be one of {metrics}"))?;
        if self.for_secs > LASTING_SECS_MAX {
            return Err(format!("for_secs must be a whole number from 0 to {LASTING_SECS_MAX}"));
        }
        Ok(AlertRule {
            name: self.name,
            broker: Some(self.broker).filter(|broker| broker != "*"),
            metric,
            above: self.above,
            lasting: Duration::from_secs(self.for_secs),
            clear_below: self.clear_below,
        })
    }

    fn shown(rule: &AlertRule) -> RawAlertRule {
        RawAlertRule {
            name: rule.name.clone(),
            broker: rule.broker.clone().unwrap_or_else(every_broker),
            metric: rule.metric.as_str().to_owned(),
            above: rule.above,
            for_secs: rule.lasting.as_secs(),
            clear_below: rule.clear_below,
        }
    }
}

/// What is wrong with a value of `alerts.rules`; `None` where nothing is.
pub(super) fn problem(value: &ValueKind) -> Option<String> {
    let ValueKind::Array(tables) = value else { return Some(format!("must be {}", allowed())) };
    let mut rules = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let rule = match &table.kind {
            ValueKind::Table(fields) => read_rule(fields).and_then(RawAlertRule::check),
            _ => Err(format!("must be one of {}", allowed())),
        };
        match rule {
            Ok(rule) => rules.push(rule),
            Err(problem) => return Some(format!("rule {}: {problem}", index + 1)),
        }
    }
    check_rules(&rules).err()
}

/// What rules are, to stand after "must be".
pub(super) fn allowed() -> String {
    "tables with name, metric and above, and if you like broker, for_secs and clear_below".to_owned()
}

fn read_rule(fields: &config::Map<String, config::Value>) -> Result<RawAlertRule, String> {
    let text = |name: &str| match fields.get(name).map(|value| &value.kind) {
        None => Ok(None),
        Some(ValueKind::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name} must be a text")),
    };
    let number = |name: &str| match fields.get(name).map(|value| &value.kind) {
        None => Ok(None),
        Some(ValueKind::I64(number)) if *number >= 0 => Ok(Some(number.unsigned_abs())),
        Some(_) => Err(format!("{name} must be a whole number, 0 or more")),
    };
    let known = ["name", "broker", "metric", "above", "for_secs", "clear_below"];
    if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("{unknown} is not known; a rule has {}", known.join(", ")));
    }
    let missing = |name: &str| format!("{name} must be given");
    Ok(RawAlertRule {
        name: text("name")?.ok_or_else(|| missing("name"))?,
        broker: text("broker")?.unwrap_or_else(every_broker),
        metric: text("metric")?.ok_or_else(|| missing("metric"))?,
        above: number("above")?.ok_or_else(|| missing("above"))?,
        for_secs: number("for_secs")?.unwrap_or(0),
        clear_below: number("clear_below")?,
    })
}

/// The rules that a text of the environment stands for: a list of tables as TOML writes it; anything else stays a text.
pub(super) fn read(text: &str) -> ValueKind {
    if text.trim().is_empty() {
        return ValueKind::Array(Vec::new());
    }
    let document = format!("rules = {text}");
    let parsed = DeTable::parse(&document).ok();
    let parsed = parsed.filter(|table| table.get_ref().len() == 1);
    let rules = parsed.and_then(|table| Some(layer::value_of(table.get_ref().get("rules")?.get_ref())));
    rules.unwrap_or_else(|| text.into())
}

/// Whether alerts can be posted there; nothing at all is allowed too.
pub(super) fn is_webhook_url(text: &str) -> bool {
    let is_good = |uri: &Uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        is_http && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    };
    text.is_empty() || text.parse::<Uri>().is_ok_and(|uri| is_good(&uri) && uri.host() != Some(""))
}

/// Whether alerts can be published below it.
pub(super) fn is_topic(text: &str) -> bool {
    let is_ours = |name: &TopicName| !name.is_dollar() || text.starts_with("$SYS/");
    // Rule and broker follow, each in full.
    text.len() <= 1_024 && TopicName::new(text.to_owned()).is_ok_and(|name| is_ours(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem_of(text: &str) -> Option<String> {
        problem(&read(text))
    }

    #[test]
    fn rules_are_read_from_one_line() {
        assert_eq!(problem_of(""), None);
        assert_eq!(problem_of("[]"), None);
        let good = "[{name='a', metric='lag', above=1}, {name='b', broker='x', metric='disconnected_secs', above=0, \
                    for_secs=10}, {name='c', broker='*', metric='oldest_unsent_secs', above=60, clear_below=10}]";
        assert_eq!(problem_of(good), None);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_told() {
        for (text, start) in [
            ("late", "must be tables with name, metric and above"),
            ("3", "must be tables"),
            ("[1]", "rule 1: must be one of tables"),
            ("[{metric='lag', above=1}]", "rule 1: name must be given"),
            ("[{name='a', metric='lag'}]", "rule 1: above must be given"),
            ("[{name='a', metric='lag', above='1'}]", "rule 1: above must be a whole number, 0 or more"),
            ("[{name='a', metric='lag', above=-1}]", "rule 1: above must be a whole number, 0 or more"),
            (
                "[{name='a', metric='lags', above=1}]",
                "rule 1: metric must be one of oldest_unsent_secs, lag, ",
            ),
            ("[{name='a', metric='lag', above=1, after=3}]", "rule 1: after is not known; a rule has name, "),
            (
                "[{name='a', metric='lag', above=1, for_secs=86401}]",
                "rule 1: for_secs must be a whole number",
            ),
            ("[{name='', metric='lag', above=1}]", "rule 1 (): name must have 1 to 128 characters"),
            (
                "[{name='a', metric='lag', above=1},{name='a', metric='lag', above=2}]",
                "rule 2: the name a is in use",
            ),
            ("[] \n web = 3", "must be tables"),
        ] {
            let problem = problem_of(text).expect(text);
            assert!(problem.starts_with(start), "{text}: {problem}");
        }
    }

    #[test]
    fn only_web_addresses_are_posted_to() {
        for good in ["", "http://127.0.0.1:8080/hook", "https://example.org", "https://[::1]/a?b=c"] {
            assert!(is_webhook_url(good), "{good}");
        }
        for bad in
            ["example.org/hook", "ftp://example.org", "http://", "http://u:p@example.org", "http://a b/"]
        {
            assert!(!is_webhook_url(bad), "{bad}");
        }
    }

    #[test]
    fn alerts_go_below_a_topic_that_is_ours_to_write() {
        assert!(is_topic("$SYS/broker/alerts") && is_topic("site/alerts"));
        for bad in ["", "#", "a/+", "$share/g/a", "$SYS", "$other/a"] {
            assert!(!is_topic(bad), "{bad}");
        }
    }
}
