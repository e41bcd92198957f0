//! The machine with a clock that the test moves.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rule(metric: AlertMetric, above: u64, lasting_secs: u64, clear_below: Option<u64>) -> AlertRule {
    AlertRule {
        name: "late".to_owned(),
        broker: None,
        metric,
        above,
        lasting: Duration::from_secs(lasting_secs),
        clear_below,
    }
}

fn reading(name: &str, lag: u64) -> Reading {
    let id = BrokerId(Uuid::from_u128(name.bytes().map(u128::from).sum()));
    Reading { id, name: name.to_owned(), oldest_unsent: Duration::ZERO, lag, disconnected: None, dropped: 0 }
}

struct Scene {
    machine: AlertMachine,
    now: Instant,
    micros: u64,
}

impl Scene {
    fn new(rules: Vec<AlertRule>) -> Scene {
        Scene { machine: AlertMachine::new(rules), now: Instant::now(), micros: 0 }
    }

    /// A second later: what fires (`+`) and clears (`-`), with broker and value.
    fn look(&mut self, readings: &[Reading]) -> Vec<String> {
        self.now += SECOND;
        self.micros += 1_000_000;
        let alerts = self.machine.look(self.now, self.micros, readings);
        let sign = |alert: &Alert| if alert.state == AlertState::Firing { '+' } else { '-' };
        alerts.iter().map(|alert| format!("{}{} {}", sign(alert), alert.broker, alert.value)).collect()
    }

    fn lags(&mut self, lags: &[u64]) -> Vec<String> {
        lags.iter().flat_map(|lag| self.look(&[reading("a", *lag)])).collect()
    }
}

#[test]
fn an_alert_fires_once_and_clears_once() {
    let mut scene = Scene::new(vec![rule(AlertMetric::Lag, 10, 0, None)]);
    assert_eq!(scene.lags(&[10, 10]), Vec::<String>::new());
    assert_eq!(scene.lags(&[11, 50, 12]), ["+a 11"]);
    assert_eq!(scene.lags(&[10, 0, 0]), ["-a 10"]);
    assert_eq!(scene.lags(&[11]), ["+a 11"]);
}

#[test]
fn an_alert_waits_until_the_bound_was_passed_without_a_break() {
    let mut scene = Scene::new(vec![rule(AlertMetric::Lag, 10, 3, None)]);
    assert_eq!(scene.lags(&[11, 11, 11, 9]), Vec::<String>::new());
    assert_eq!(scene.lags(&[11, 11, 11]), Vec::<String>::new());
    assert_eq!(scene.lags(&[20]), ["+a 20"]);
    let since = scene.machine.firing()[0].since_micros;
    assert_eq!(since, 5_000_000, "it was above the bound from the fifth look on");
}

#[test]
fn hysteresis_keeps_an_alert_from_fluttering() {
    let mut scene = Scene::new(vec![rule(AlertMetric::Lag, 10, 0, Some(5))]);
    assert_eq!(scene.lags(&[11, 9, 11, 5, 11, 6]), ["+a 11"]);
    assert_eq!(scene.lags(&[4, 6, 10]), ["-a 4"]);
}

#[test]
fn each_broker_has_alerts_of_its_own_unless_the_rule_names_one() {
    let named = AlertRule {
        broker: Some("b".to_owned()),
        name: "b only".to_owned(),
        ..rule(AlertMetric::Lag, 1, 0, None)
    };
    let mut scene = Scene::new(vec![rule(AlertMetric::Lag, 10, 0, None), named]);
    assert_eq!(scene.look(&[reading("a", 11), reading("b", 12)]), ["+a 11", "+b 12", "+b 12"]);
    assert_eq!(scene.look(&[reading("a", 0), reading("b", 5)]), ["-a 0", "-b 5"]);
    assert_eq!(scene.look(&[reading("a", 0), reading("b", 1)]), ["-b 1"]);
}

#[test]
fn a_broker_that_is_renamed_or_gone_clears_its_alerts() {
    let mut scene = Scene::new(vec![rule(AlertMetric::Lag, 10, 0, None)]);
    assert_eq!(scene.look(&[reading("a", 11), reading("b", 11)]), ["+a 11", "+b 11"]);
    let renamed = Reading { name: "c".to_owned(), ..reading("a", 12) };
    assert_eq!(scene.look(&[renamed]), ["-a 0", "-b 0", "+c 12"]);
    scene.now += SECOND;
    let alerts = scene.machine.look(scene.now, 9, &[]);
    assert!(alerts.len() == 1 && alerts[0].is_moot && alerts[0].broker == "c", "{alerts:?}");
    assert!(scene.machine.firing().is_empty());
}

#[test]
fn a_broker_that_leaves_while_its_alert_is_pending_starts_over() {
    let mut scene = Scene::new(vec![rule(AlertMetric::Lag, 10, 2, None)]);
    assert_eq!(scene.lags(&[11, 11]), Vec::<String>::new());
    assert_eq!(scene.look(&[]), Vec::<String>::new());
    assert_eq!(scene.lags(&[11, 11]), Vec::<String>::new());
    assert_eq!(scene.lags(&[11]), ["+a 11"]);
}

#[test]
fn a_broker_is_disconnected_until_it_is_connected() {
    let mut scene = Scene::new(vec![rule(AlertMetric::DisconnectedSecs, 30, 0, None)]);
    let away = |secs| Reading { disconnected: Some(Duration::from_secs(secs)), ..reading("a", 0) };
    assert_eq!(scene.look(&[away(30)]), Vec::<String>::new());
    assert_eq!(scene.look(&[away(31)]), ["+a 31"]);
    assert_eq!(scene.look(&[away(0)]), Vec::<String>::new(), "the clock began anew, that is all");
    assert_eq!(scene.look(&[reading("a", 0)]), ["-a 0"]);
}

#[test]
fn drops_are_counted_by_the_minute() {
    let mut scene = Scene::new(vec![rule(AlertMetric::DroppedPerMinute, 9, 0, None)]);
    let dropped = |total| Reading { dropped: total, ..reading("a", 0) };
    assert_eq!(scene.look(&[dropped(3)]), Vec::<String>::new());
    assert_eq!(scene.look(&[dropped(10)]), ["+a 10"]);
    let cleared: Vec<_> = (0..70).map(|_| scene.look(&[dropped(10)])).collect();
    let at = cleared.iter().position(|alerts| !alerts.is_empty());
    assert_eq!(at, Some(58), "the first three are a minute old");
    assert_eq!(cleared[58], ["-a 7"]);
    // A broker that comes back has its old drops behind it.
    scene.look(&[]);
    assert_eq!(scene.look(&[dropped(10)]), Vec::<String>::new());
}

#[test]
fn what_fired_before_a_restart_does_not_fire_again_and_clears_when_it_is_over() {
    let rules = vec![rule(AlertMetric::Lag, 10, 0, None)];
    let mut before = Scene::new(rules.clone());
    assert_eq!(before.look(&[reading("a", 11), reading("b", 11)]), ["+a 11", "+b 11"]);
    let firing = before.machine.firing();

    let mut after = Scene::new(Vec::new());
    after.machine = AlertMachine::new(rules).restored(firing.clone(), after.now);
    assert_eq!(after.machine.firing(), firing);
    // What is not known yet looks like nothing.
    assert_eq!(after.look(&[reading("a", 0), reading("b", 11)]), Vec::<String>::new());
    after.now += limits::ALERT_RESTORE_PAUSE;
    assert_eq!(after.look(&[reading("a", 0), reading("b", 11)]), ["-a 0"]);
    assert_eq!(after.look(&[reading("a", 0)]), ["-b 0"]);
}

#[test]
fn a_rule_that_is_no_more_clears_its_alerts() {
    let mut before = Scene::new(vec![rule(AlertMetric::Lag, 10, 0, None)]);
    before.look(&[reading("a", 11)]);
    let mut after = Scene::new(Vec::new());
    after.machine = AlertMachine::new(Vec::new()).restored(before.machine.firing(), after.now);
    assert_eq!(after.look(&[reading("a", 11)]), ["-a 0"]);
}

proptest! {
    #[test]
    fn firing_and_resolved_take_turns(
        steps in proptest::collection::vec((0_u64..20, any::<bool>()), 1..200),
        (above, lasting_secs, below) in (1_u64..15, 0_u64..4, 1_u64..15),
    ) {
        let clear_below = (below <= above).then_some(below);
        let mut machine = AlertMachine::new(vec![rule(AlertMetric::Lag, above, lasting_secs, clear_below)]);
        let (mut now, mut is_firing) = (Instant::now(), false);
        for (lag, is_there) in steps {
            now += SECOND;
            let readings = if is_there { vec![reading("a", lag)] } else { Vec::new() };
            for alert in machine.look(now, 1, &readings) {
                prop_assert_eq!(alert.state == AlertState::Firing, !is_firing, "each state once");
                is_firing = alert.state == AlertState::Firing;
                if is_firing {
                    prop_assert!(alert.value > above);
                } else if !alert.is_moot {
                    prop_assert!(alert.value <= above);
                }
            }
            prop_assert_eq!(!machine.firing().is_empty(), is_firing);
            prop_assert!(is_there || !is_firing);
        }
    }
}
