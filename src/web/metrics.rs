//! `/metrics`: the counters as they are, the gauges as the actors say them at this moment, in Prometheus' text format.

use std::collections::HashSet;

use actix_web::HttpResponse;
use actix_web::web::Data;
use actors::Metrics;
use actors::broker::SharedBroker;
use actors::health::Health;
use actors::messages::{ListBrokers, RouterSnapshot, SessionsSnapshot, UpstreamSnapshot, UpstreamState};
use actors::upstream_broker::CircuitState;
use log::warn;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

use super::error::ApiError;
use super::{WebState, ask, dto, process};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`. Where an actor does not answer, its gauges keep their last value: the counters matter most then.
pub async fn metrics(state: Data<WebState>) -> Result<HttpResponse, ApiError> {
    let brokers = ask(state.config_store.send(ListBrokers));
    match tokio::try_join!(brokers, state.router_snapshot(), state.sessions_snapshot()) {
        Ok((brokers, router, sessions)) => {
            refresh_totals(&state.metrics, &router, sessions);
            refresh_brokers(&state.metrics, &brokers, &router);
            refresh_groups(&state.metrics, &router);
        }
        Err(error) => warn!("metrics without fresh gauges: {error}"),
    }
    let encoded = state.metrics.encode();
    let mut text = encoded.map_err(|error| ApiError::unavailable(format!("metrics: {error}")))?;
    text.push_str(&process::metrics());
    let uptime = state.started.elapsed().as_secs_f64();
    process::append(&mut text, "mqtt_proxy_uptime_seconds", "gauge", "seconds since the start", uptime);
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

fn refresh_totals(metrics: &Metrics, router: &RouterSnapshot, sessions: SessionsSnapshot) {
    metrics.sessions.set(gauge(sessions.sessions));
    metrics.subscriptions.set(gauge(router.subscriptions));
    metrics.shared_subscriptions.set(gauge(router.shared_subscriptions));
    metrics.retained_messages.set(gauge(router.retained));
    metrics.retained_bytes.set(gauge(router.retained_bytes));
    metrics.log_head_bytes.set(gauge(router.log.head_bytes));
    metrics.log_next_offset.set(gauge(router.log.next_offset));
    metrics.log_file_bytes.set(gauge(router.log.file_bytes));
    metrics.log_stored_offset.set(gauge(router.log.stored));
    metrics.log_synced_offset.set(gauge(router.log.synced));
    metrics.log_failing.set(router.log.failure.is_some().into());
}

fn refresh_brokers(metrics: &Metrics, brokers: &[SharedBroker], router: &RouterSnapshot) {
    let live = dto::by_id(router);
    for broker in brokers {
        let Some(upstream) = live.get(&broker.id) else { continue };
        let label = [broker.name.as_str()];
        let connected = i64::from(upstream.state == UpstreamState::Connected);
        metrics.broker_connection_status.with_label_values(&label).set(connected);
        metrics.broker_paused.with_label_values(&label).set((broker.enabled && broker.paused).into());
        let remaining = upstream.draining.map_or(0, |draining| draining.remaining);
        metrics.broker_drain_remaining.with_label_values(&label).set(gauge(remaining));
        metrics.broker_lag.with_label_values(&label).set(gauge(upstream.lag));
        metrics.broker_in_flight.with_label_values(&label).set(gauge(upstream.in_flight));
        metrics.broker_lag_bytes.with_label_values(&label).set(gauge(upstream.lag_bytes));
        let oldest_unsent_secs = upstream.oldest_unsent.map_or(0, |age| age.as_secs());
        metrics.broker_oldest_unsent.with_label_values(&label).set(gauge(oldest_unsent_secs));
        refresh_supervision(metrics, &label, upstream);
    }
    let names: HashSet<&str> = brokers.iter().map(|broker| broker.name.as_str()).collect();
    for gauges in [
        &metrics.broker_connection_status,
        &metrics.broker_lag,
        &metrics.broker_in_flight,
        &metrics.broker_lag_bytes,
        &metrics.broker_oldest_unsent,
        &metrics.broker_paused,
        &metrics.broker_drain_remaining,
        &metrics.broker_circuit,
        &metrics.broker_degraded,
        &metrics.broker_last_acknowledged,
    ] {
        forget_others(gauges, &names);
    }
    forget_others(&metrics.broker_canary, &names);
}

/// What is not there at the moment has no line at all: a time of 0 would be a good one.
fn refresh_supervision(metrics: &Metrics, label: &[&str; 1], upstream: &UpstreamSnapshot) {
    let circuit = match upstream.circuit.state {
        CircuitState::Closed => 0,
        CircuitState::HalfOpen => 1,
        CircuitState::Open => 2,
    };
    metrics.broker_circuit.with_label_values(label).set(circuit);
    metrics.broker_degraded.with_label_values(label).set((upstream.health == Health::Degraded).into());
    if let Some(age) = upstream.last_acknowledged {
        metrics.broker_last_acknowledged.with_label_values(label).set(gauge(age.as_secs()));
    }
    match upstream.canary.and_then(|canary| canary.round_trip) {
        Some(time) => metrics.broker_canary.with_label_values(label).set(time.as_secs_f64()),
        None => drop(metrics.broker_canary.remove_label_values(label)),
    }
}

fn refresh_groups(metrics: &Metrics, router: &RouterSnapshot) {
    for live in &router.groups {
        let label = [live.group.name.as_str()];
        metrics.group_lag.with_label_values(&label).set(gauge(live.lag));
        let oldest_unsent_secs = live.oldest_unsent.map_or(0, |age| age.as_secs());
        metrics.group_oldest_unsent.with_label_values(&label).set(gauge(oldest_unsent_secs));
        let active = live.members.iter().filter(|member| member.state == "active").count();
        metrics.group_active.with_label_values(&label).set(gauge(active as u64));
    }
    let names: HashSet<&str> = router.groups.iter().map(|live| live.group.name.as_str()).collect();
    for gauges in [&metrics.group_lag, &metrics.group_oldest_unsent, &metrics.group_active] {
        forget_others(gauges, &names);
    }
}

/// Removes the gauges of brokers and groups that were removed or renamed: a lag that nobody has would alarm for ever.
fn forget_others<T: MetricVecBuilder>(gauges: &MetricVec<T>, names: &HashSet<&str>) {
    for family in gauges.collect() {
        for metric in family.get_metric() {
            for label in metric.get_label() {
                if !names.contains(label.value()) {
                    // An error means that another scrape was faster.
                    let _ = gauges.remove_label_values(&[label.value()]);
                }
            }
        }
    }
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
