//! Tests of the store as a whole: the file on disk, and the actor with a Router that hears well or badly.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::*;
use crate::broker::Backlog;
use crate::start_position::StartPosition;

/// A directory that is gone with the test.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        let path = std::env::temp_dir().join(format!("config-store-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        TestDir(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("brokers.json")
    }

    fn with(content: &str) -> TestDir {
        let dir = TestDir::new();
        fs::write(dir.file(), content).unwrap();
        dir
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(dir: &TestDir) -> ConfigStore {
    ConfigStore::open(&dir.0, None, Vec::new()).unwrap()
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}

fn problem(data_dir: &Path, secret: Option<Secret>, command_line: Vec<BrokerChanges>) -> String {
    let line = ConfigStore::open(data_dir, secret, command_line).err().expect("must not open").to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

fn named(name: &str) -> BrokerChanges {
    BrokerChanges::new().with("name", name).with("address", "127.0.0.1")
}

fn full(name: &str) -> BrokerChanges {
    let fields = serde_json::json!({
        "port": 8_883, "client_id_prefix": "prefix", "username": "user", "password": "top secret",
        "enabled": false, "version": "5", "keep_alive_secs": 17, "clean_session": true, "use_tls": true,
        "insecure_skip_verify": true, "ca_cert_path": "/etc/ca.pem", "client_cert_path": "/etc/cert.pem",
        "client_key_pem": "-----BEGIN PRIVATE KEY-----", "client_key_password": "env:KEY_PASSWORD",
        "topics": ["a/#", "b/+"], "max_qos": 1, "start_at": "2026-01-31T08:00:00Z",
        "queue_bytes_max": 65_536, "on_full": "reject", "max_rate_messages": 100, "max_rate_bytes": 1_000_000,
        "live_first": true, "bidirectional": true, "subscription_topics": ["down/#"], "subscription_qos": 2,
        "rewrite": [{"from": "a/#", "to": "x/{#}"}], "user_properties": {"site": "7"},
    });
    let fields = fields.as_object().unwrap().clone();
    fields.into_iter().fold(named(name), |changes, (field, value)| changes.with(&field, value))
}

fn names(store: &ConfigStore) -> Vec<&str> {
    store.brokers().iter().map(|broker| broker.name.as_str()).collect()
}

#[test]
fn a_new_store_is_empty_private_and_keeps_its_instance_id() {
    let dir = TestDir::new();
    let deep = dir.0.join("made/where/missing");
    let first = ConfigStore::open(&deep, None, Vec::new()).unwrap();
    let instance_id = first.file.instance_id();
    assert!(first.brokers().is_empty());
    drop(first);
    let mode = fs::metadata(deep.join("brokers.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ConfigStore::open(&deep, None, Vec::new()).unwrap().file.instance_id(), instance_id);
}

#[test]
fn every_field_survives_a_restart_and_the_order_too() {
    let dir = TestDir::new();
    let mut store = open(&dir);
    for changes in [full("zeta"), named("alpha"), named("mid")] {
        store.add(changes).unwrap();
    }
    let before = store.brokers().to_vec();
    drop(store);
    let store = open(&dir);
    assert_eq!(store.brokers(), before);
    assert_eq!(names(&store), ["zeta", "alpha", "mid"]);
}

#[test]
fn a_password_is_encrypted_under_a_secret_and_in_the_clear_without() {
    let dir = TestDir::new();
    let mut store = open(&dir);
    store.add(full("a")).unwrap();
    assert!(store.warned_of_clear_passwords);
    drop(store);
    assert!(fs::read_to_string(dir.file()).unwrap().contains(r#""password": "top secret""#));

    let mut store = ConfigStore::open(&dir.0, secret("key"), Vec::new()).unwrap();
    assert!(!store.warned_of_clear_passwords);
    let text = fs::read_to_string(dir.file()).unwrap();
    assert!(!text.contains("top secret"), "sealed from the start on: {text}");
    store.add(named("b")).unwrap();
    drop(store);
    let text = fs::read_to_string(dir.file()).unwrap();
    assert!(!text.contains("top secret") && text.contains("password_encrypted"), "{text}");
    assert!(!text.contains("PRIVATE KEY") && text.contains("client_key_pem_encrypted"), "{text}");
    assert!(text.contains("env:KEY_PASSWORD"), "a reference is no secret: {text}");

    let store = ConfigStore::open(&dir.0, secret("key"), Vec::new()).unwrap();
    assert_eq!(store.brokers()[0].password, secret("top secret"));
    drop(store);

    for wrong in [secret("another"), None] {
        let line = problem(&dir.0, wrong, Vec::new());
        assert!(
            line.contains("broker \"a\": password_encrypted") && line.contains("MQTT_PROXY_SECRET"),
            "{line}"
        );
    }
    assert_eq!(fs::read_to_string(dir.file()).unwrap(), text, "never overwritten");
}

#[test]
fn what_is_wrong_with_the_file_is_said_in_one_line_and_the_file_stays() {
    let broker = |fields: &str| {
        format!(r#"{{"version":1,"brokers":[{{"name":"a","address":"h"}},{{"name":"b",{fields}}}]}}"#)
    };
    let cases = [
        ("{\n  \"version\": 1,\n  \"brokers\": [}\n".to_owned(), vec!["line 3 column 15"]),
        (broker(r#""address":"h","password":4711"#), vec!["broker \"b\": password: must be a text"]),
        (String::new(), vec!["line 1 column 0"]),
        (r#"{"version": 2, "future": []}"#.to_owned(), vec!["version 2 is not known"]),
        (r#"{"brokers": []}"#.to_owned(), vec!["version is missing"]),
        (r#"{"version": 1, "brokers": [], "brokerz": []}"#.to_owned(), vec!["brokerz", "line 1 column"]),
        (broker(r#""adress":"h""#), vec!["broker \"b\": adress: is not a field"]),
        (broker(r#""address":5"#), vec!["broker \"b\": address: must be a text, not a number"]),
        (broker(r#""address":"h","port":70000"#), vec!["broker \"b\": port: 70000"]),
        (broker(r#""address":"h","topics":["a/#/b"]"#), vec!["broker \"b\": topics: \"a/#/b\""]),
        (
            broker(r#""address":"h","start_at":true"#),
            vec!["broker \"b\": start_at: must be a text or a number"],
        ),
        (broker(r#""address":"h","start_at":"later""#), vec!["broker \"b\": start_at: \"later\""]),
        (broker(r#""address":"h","start_at":1.5"#), vec!["broker \"b\": start_at: \"1.5\""]),
        (
            broker(r#""address":"h","queue_bytes_max":1"#),
            vec!["broker \"b\": queue_bytes_max: must be 65536"],
        ),
        (broker(r#""address":"h","on_full":"wait""#), vec!["broker \"b\": on_full: \"wait\""]),
        (broker(r#""address":"h","max_rate_messages":0"#), vec!["broker \"b\": max_rate_messages: 0"]),
        (broker(r#""port":1883"#), vec!["broker \"b\": address: must be given"]),
        (r#"{"version":1,"brokers":[{"address":"h"}]}"#.to_owned(), vec!["broker number 1: name"]),
        (broker(r#""address":"h"},{"name":"b","address":"i""#), vec!["broker \"b\": name: another"]),
        (broker(r#""address":"h","password":"x","password_encrypted":"y""#), vec!["remove one"]),
    ];
    for (content, expected) in cases {
        let dir = TestDir::with(&content);
        let line = problem(&dir.0, None, Vec::new());
        assert!(!line.contains("4711"), "a password in {line:?}");
        for part in expected.iter().chain(&["brokers.json"]) {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
        assert_eq!(fs::read_to_string(dir.file()).unwrap(), content);
    }
}

#[test]
fn an_encryption_that_is_not_ours_is_refused() {
    let good = r#"{"version":1,"brokers":[],"encryption":{"cipher":"aes-256-gcm",
        "key_derivation":"pbkdf2-hmac-sha256","rounds":100000,"salt":"AAAA"}}"#;
    let cases = [("aes-256-gcm", "rot13"), ("pbkdf2-hmac-sha256", "md5"), ("100000", "1"), ("AAAA", "?")];
    for (from, to) in cases {
        let dir = TestDir::with(&good.replace(from, to));
        assert!(problem(&dir.0, secret("key"), Vec::new()).contains("encryption: "));
    }
    let dir = TestDir::with(good);
    assert!(ConfigStore::open(&dir.0, secret("key"), Vec::new()).is_ok());
}

#[test]
fn a_file_written_by_hand_is_completed_once() {
    let dir = TestDir::with(r#"{"version": 1, "brokers": [{"name": "a", "address": "h", "use_tls": true}]}"#);
    let first = open(&dir).brokers().to_vec();
    assert_eq!((first[0].port, first[0].enabled), (8_883, true));
    assert_eq!(open(&dir).brokers(), first, "the identity was stored");
}

#[test]
fn a_file_from_before_there_was_a_backlog_means_the_defaults_and_an_offset_may_be_a_number() {
    let dir = TestDir::with(
        r#"{"version": 1, "brokers": [{"name": "a", "address": "h"}, {"name": "b", "address": "h", "start_at": 17}]}"#,
    );
    let store = open(&dir);
    assert_eq!(store.brokers()[0].backlog, Backlog::default());
    assert_eq!(store.brokers()[1].backlog.start_at, StartPosition::Offset(17));
}

#[test]
fn a_torn_write_is_harmless() {
    let dir = TestDir::new();
    open(&dir).add(named("a")).unwrap();
    fs::write(dir.0.join("brokers.json.new"), r#"{"version": 1, "bro"#).unwrap();
    let mut store = open(&dir);
    assert_eq!(names(&store), ["a"]);
    store.add(named("b")).unwrap();
    drop(store);
    assert_eq!(names(&open(&dir)), ["a", "b"]);
    let mode = fs::metadata(dir.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_failed_write_changes_nothing() {
    let dir = TestDir::new();
    let mut store = open(&dir);
    let kept = store.add(named("kept")).unwrap();
    let (text, revision) = (fs::read_to_string(dir.file()).unwrap(), store.revision);
    // A directory in the place of the new file fails the write for every user, root too.
    let obstacle = dir.0.join("brokers.json.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(matches!(store.add(named("b")), Err(ConfigError::Storage(_))));
    assert!(matches!(store.update(kept.id, named("c")), Err(ConfigError::Storage(_))));
    assert!(matches!(store.toggle(kept.id), Err(ConfigError::Storage(_))));
    assert!(matches!(store.remove(kept.id), Err(ConfigError::Storage(_))));
    assert_eq!(store.brokers(), std::slice::from_ref(&kept));
    assert_eq!(store.revision, revision);
    assert_eq!(fs::read_to_string(dir.file()).unwrap(), text);
    fs::remove_dir(obstacle).unwrap();
    store.add(named("b")).unwrap();
}

#[test]
fn a_seed_is_taken_by_a_new_directory_only() {
    let dir = TestDir::new();
    let seed = dir.0.join("seed.json");
    let data = dir.0.join("data");
    let opened = |seed: &Path| ConfigStore::open_seeded(&data, None, Vec::new(), Some(seed));
    for (content, problem) in [
        ("{", "seed.json: EOF"),
        (r#"{"brokers": [], "version": 1}"#, "unknown field `version`"),
        (r#"{"brokers": [{"name": "a", "adress": "h"}]}"#, "seed.json: broker \"a\": adress: is not a field"),
    ] {
        fs::write(&seed, content).unwrap();
        let line = opened(&seed).err().expect("a bad seed").to_string();
        assert!(line.contains(problem), "{line}");
        assert!(!data.join("brokers.json").exists(), "nothing begins with a bad seed");
    }
    fs::write(&seed, r#"{"brokers": [{"name": "a", "address": "h"}, {"name": "b", "address": "i"}]}"#)
        .unwrap();
    let mut store = opened(&seed).unwrap();
    assert_eq!(names(&store), ["a", "b"]);
    let removed = store.brokers()[0].id;
    store.remove(removed).unwrap();
    drop(store);
    assert_eq!(names(&opened(&seed).unwrap()), ["b"], "what was removed does not come back");
    fs::remove_file(&seed).unwrap();
    assert_eq!(names(&opened(&seed).unwrap()), ["b"], "nobody looks for it any more");
}

#[test]
fn two_proxies_never_share_a_directory() {
    let dir = TestDir::new();
    let first = open(&dir);
    assert!(problem(&dir.0, None, Vec::new()).contains("in use by another proxy"));
    drop(first);
    open(&dir);
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named() {
    let dir = TestDir::with("{}");
    let line = problem(&dir.file(), None, Vec::new());
    assert!(line.contains("data directory") && line.contains("brokers.json"), "{line}");
}

#[test]
fn brokers_of_the_command_line_come_first_keep_their_identity_and_are_not_stored() {
    let dir = TestDir::new();
    open(&dir).add(named("stored")).unwrap();
    let store = ConfigStore::open(&dir.0, None, vec![named("b"), named("a")]).unwrap();
    assert_eq!(names(&store), ["b", "a", "stored"]);
    let ids: Vec<_> = store.brokers().iter().map(|broker| broker.id).collect();
    assert_eq!(store.brokers()[0].source, BrokerSource::CommandLine);
    drop(store);
    let store = ConfigStore::open(&dir.0, None, vec![named("a"), named("b")]).unwrap();
    assert_eq!(store.brokers()[0].id, ids[1]);
    assert_eq!(store.brokers()[1].id, ids[0]);
    drop(store);
    assert_eq!(names(&open(&dir)), ["stored"]);

    let elsewhere = TestDir::new();
    let other = ConfigStore::open(&elsewhere.0, None, vec![named("a")]).unwrap();
    assert_ne!(other.brokers()[0].id, ids[1], "another installation, another broker");
}

#[test]
fn names_are_unique_over_both_sources() {
    let dir = TestDir::new();
    open(&dir).add(named("a")).unwrap();
    assert!(problem(&dir.0, None, vec![named("a")]).contains("\"a\" is in use by a stored broker"));
    assert!(problem(&dir.0, None, vec![named("b"), named("b")]).contains("two brokers have the name \"b\""));
    let nameless = BrokerChanges::new().with("address", "h");
    assert!(problem(&dir.0, None, vec![nameless]).contains("name: must be given"));

    let mut store = ConfigStore::open(&dir.0, None, vec![named("b")]).unwrap();
    for name in ["a", "b", " a "] {
        assert!(matches!(store.add(named(name)), Err(ConfigError::NameInUse(_))));
    }
    let stored = store.brokers()[1].clone();
    assert!(matches!(store.update(stored.id, named("b")), Err(ConfigError::NameInUse(_))));
    store.update(stored.id, named("a")).unwrap();
}

#[test]
fn there_are_no_more_brokers_than_there_may_be() {
    let dir = TestDir::new();
    let entry = |index| format!(r#"{{"name":"{index}","address":"h"}}"#);
    let entries: Vec<_> = (0..limits::BROKERS_MAX).map(entry).collect();
    fs::write(dir.file(), format!(r#"{{"version":1,"brokers":[{}]}}"#, entries.join(","))).unwrap();
    let mut store = open(&dir);
    assert_eq!(store.add(named("one more")), Err(ConfigError::TooMany(limits::BROKERS_MAX)));
    drop(store);
    assert!(problem(&dir.0, None, vec![named("one more")]).contains("at most"));
}

/// A Router that writes down what it hears and misses the first few.
struct FakeRouter {
    heard: Arc<Mutex<Vec<(u64, usize)>>>,
    misses: usize,
}

impl Actor for FakeRouter {
    type Context = Context<Self>;
}

impl Handler<BrokersChanged> for FakeRouter {
    type Result = u64;

    fn handle(&mut self, changed: BrokersChanged, _: &mut Self::Context) -> u64 {
        self.heard.lock().unwrap().push((changed.revision, changed.brokers.len()));
        if self.misses > 0 {
            self.misses -= 1;
            return 0;
        }
        changed.revision
    }
}

type Heard = Arc<Mutex<Vec<(u64, usize)>>>;

fn start(dir: &TestDir, command_line: Vec<BrokerChanges>, misses: usize) -> (Addr<ConfigStore>, Heard) {
    let heard = Heard::default();
    let router = FakeRouter { heard: heard.clone(), misses }.start();
    let mut store = ConfigStore::open(&dir.0, None, command_line).unwrap();
    store.set_router(router.recipient());
    (store.start(), heard)
}

#[actix::test]
async fn every_change_is_stored_and_told_before_it_is_answered() {
    let dir = TestDir::new();
    let (store, heard) = start(&dir, Vec::new(), 0);
    let last = || heard.lock().unwrap().last().copied();
    let broker = store.send(AddBroker(named("a"))).await.unwrap().unwrap();
    assert_eq!(last(), Some((2, 1)));
    assert!(fs::read_to_string(dir.file()).unwrap().contains(r#""name": "a""#));

    let changes = BrokerChanges::new().with("port", 1_884);
    let changed = store.send(UpdateBroker(broker.id, changes)).await.unwrap().unwrap();
    assert_eq!((changed.port, changed.name.as_str(), changed.id), (1_884, "a", broker.id));
    assert_eq!(last(), Some((3, 1)));

    assert!(!store.send(ToggleBroker(broker.id)).await.unwrap().unwrap().enabled);
    assert!(store.send(ToggleBroker(broker.id)).await.unwrap().unwrap().enabled);
    assert_eq!(last(), Some((5, 1)));
    // The same as before both toggles, but changed twice more.
    let changed = SharedBroker::new(Broker { revision: changed.revision + 2, ..Broker::clone(&changed) });
    assert_eq!(store.send(GetBroker(broker.id)).await.unwrap(), Some(changed.clone()));
    assert_eq!(store.send(ListBrokers).await.unwrap(), [changed]);

    store.send(RemoveBroker(broker.id)).await.unwrap().unwrap();
    assert_eq!(last(), Some((6, 0)));
    assert_eq!(store.send(GetBroker(broker.id)).await.unwrap(), None);
    assert!(!fs::read_to_string(dir.file()).unwrap().contains(r#""name": "a""#));
}

#[actix::test]
async fn what_cannot_be_done_is_refused_and_told_to_nobody() {
    let dir = TestDir::new();
    let (store, heard) = start(&dir, vec![named("fixed")], 0);
    let fixed = store.send(ListBrokers).await.unwrap()[0].id;
    let absent = BrokerId(Uuid::new_v4());
    let not_found = ConfigError::NotFound(absent);
    let read_only = ConfigError::ReadOnly("fixed".to_owned());
    for (id, error) in [(absent, not_found), (fixed, read_only)] {
        assert_eq!(store.send(UpdateBroker(id, named("b"))).await.unwrap(), Err(error.clone()));
        assert_eq!(store.send(ToggleBroker(id)).await.unwrap(), Err(error.clone()));
        assert_eq!(store.send(RemoveBroker(id)).await.unwrap(), Err(error));
    }
    let taken = ConfigError::NameInUse("fixed".to_owned());
    assert_eq!(store.send(AddBroker(named("fixed"))).await.unwrap(), Err(taken));
    let wrong = store.send(AddBroker(BrokerChanges::default())).await.unwrap();
    assert!(matches!(wrong, Err(ConfigError::Field(FieldError { field, .. })) if field == "name"));
    assert_eq!(*heard.lock().unwrap(), [(1, 1)]);
}

#[actix::test]
async fn a_router_that_misses_a_revision_is_told_again() {
    let dir = TestDir::new();
    let (store, heard) = start(&dir, Vec::new(), 3);
    store.send(AddBroker(named("a"))).await.unwrap().unwrap();
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert_eq!(heard[3], (2, 1), "the newest is what is repeated");
}

#[actix::test]
async fn a_deaf_router_delays_the_answer_but_not_the_change() {
    let dir = TestDir::new();
    let (store, _) = start(&dir, Vec::new(), usize::MAX);
    let asked = std::time::Instant::now();
    store.send(AddBroker(named("a"))).await.unwrap().unwrap();
    let waited = asked.elapsed().as_millis();
    assert!((900..5_000).contains(&waited), "{waited} ms");
    assert_eq!(store.send(ListBrokers).await.unwrap().len(), 1);
}
