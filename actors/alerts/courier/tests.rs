//! The thread with a webhook that the test scripts.

use std::sync::mpsc;

use uuid::Uuid;

use super::super::machine::AlertState;
use super::super::rule::AlertMetric;
use super::*;
use crate::BrokerId;

const PATIENCE: Duration = Duration::from_secs(20);

fn alert(rule: &str, state: AlertState) -> Alert {
    Alert {
        rule: rule.to_owned(),
        state,
        broker_id: BrokerId(Uuid::from_u128(1)),
        broker: "b".to_owned(),
        metric: AlertMetric::Lag,
        value: 2,
        threshold: 1,
        since_micros: 0,
        at_micros: unix_micros(),
        is_moot: false,
    }
}

fn said(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let text = |name: &str| body[name].as_str().expect("a text").to_owned();
    format!("{} {}", text("alert"), text("state"))
}

/// A ledger's path in a directory of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        let directory = std::env::temp_dir().join(format!("mqtt-proxy-courier-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a directory");
        Place(directory.join("alerts.json"))
    }

    /// Waits until the ledger says this.
    fn until(&self, is_so: impl Fn(&Ledger) -> bool) -> Ledger {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ledger = Ledger::read(&self.0);
            if is_so(&ledger) {
                return ledger;
            }
            assert!(Instant::now() < deadline, "the ledger still says {ledger:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("it has a directory"));
    }
}

#[test]
fn a_webhook_that_fails_gets_everything_once_it_works() {
    let place = Place::new();
    let (arrived, arrivals) = mpsc::channel();
    let mut failures = 2;
    let post: Post = Box::new(move |body| {
        if failures > 0 {
            failures -= 1;
            return Err("not now".to_owned());
        }
        arrived.send(said(body)).map_err(|error| error.to_string())
    });
    let courier = Courier::start(place.0.clone(), Ledger::default(), Some(post)).expect("a thread");
    courier.take(vec![alert("late", AlertState::Firing)], vec![alert("late", AlertState::Firing)]);
    courier.take(vec![alert("late", AlertState::Resolved)], Vec::new());
    assert_eq!(arrivals.recv_timeout(PATIENCE).as_deref(), Ok("late firing"));
    assert_eq!(arrivals.recv_timeout(PATIENCE).as_deref(), Ok("late resolved"));
    place.until(Ledger::is_empty);
}

#[test]
fn what_was_not_delivered_is_delivered_after_a_restart() {
    let place = Place::new();
    let dead: Post = Box::new(|_| Err("nobody is there".to_owned()));
    let courier = Courier::start(place.0.clone(), Ledger::default(), Some(dead)).expect("a thread");
    courier.take(vec![alert("late", AlertState::Firing)], vec![alert("late", AlertState::Firing)]);
    let ledger = place.until(|ledger| !ledger.is_empty());
    assert_eq!((ledger.firing.len(), ledger.waiting.len()), (1, 1));
    drop(courier);

    let (arrived, arrivals) = mpsc::channel();
    let works: Post = Box::new(move |body| arrived.send(said(body)).map_err(|error| error.to_string()));
    let _courier = Courier::start(place.0.clone(), ledger, Some(works)).expect("a thread");
    assert_eq!(arrivals.recv_timeout(PATIENCE).as_deref(), Ok("late firing"));
    assert_eq!(place.until(|ledger| ledger.waiting.is_empty()).firing.len(), 1);
}

#[test]
fn without_a_webhook_what_fires_is_written_down_all_the_same() {
    let place = Place::new();
    let courier = Courier::start(place.0.clone(), Ledger::default(), None).expect("a thread");
    courier.take(vec![alert("late", AlertState::Firing)], vec![alert("late", AlertState::Firing)]);
    let ledger = place.until(|ledger| !ledger.firing.is_empty());
    assert!(ledger.waiting.is_empty());
    courier.take(vec![alert("late", AlertState::Resolved)], Vec::new());
    place.until(Ledger::is_empty);
}
