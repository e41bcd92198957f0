//! Makes metrics and registers them.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::LATENCY_BUCKETS;
use crate::Quota;

/// Makes and registers metrics.
pub struct Maker<'a>(pub &'a Registry);

impl Maker<'_> {
    pub fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A counter that has every quota from the start, so that an alarm can be set on each.
    pub fn quotas(&self) -> Result<IntCounterVec, prometheus::Error> {
        let help = "how often clients wanted more than a quota allows";
        let counters = self.counters("mqtt_quota_exceeded_total", help, &["quota"])?;
        for quota in Quota::ALL {
            counters.with_label_values(&[quota.name()]).inc_by(0);
        }
        Ok(counters)
    }

    /// A counter that has every reason from the start, because the first drop is worth an alarm too.
    pub fn delivery_drops(&self) -> Result<IntCounterVec, prometheus::Error> {
        let help = "messages that a local subscriber will not get";
        let counters = self.counters("mqtt_deliveries_dropped_total", help, &["reason"])?;
        for reason in ["slow_client", "absent_client", "expired", "too_large", "no_member"] {
            counters.with_label_values(&[reason]).inc_by(0);
        }
        Ok(counters)
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub fn latency(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))?)
    }
}
