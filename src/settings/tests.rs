//! Tests of the settings as a whole: which layer wins, and what each mistake is told.

use std::fs;
use std::path::PathBuf;

use actors::acknowledgement::{OnDeadline, Policy};
use actors::alerts::{AlertMetric, AlertRule};
use actors::bridge::BridgeOptions;
use actors::broker::TlsVersion;
use actors::delivery_queue::{AbsentSubscriber, SlowSubscriber};
use actors::device_session::OnMessageRate;

use super::*;

/// A directory of its own for one test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("mqtt-proxy-settings-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn absent() -> PathBuf {
    std::env::temp_dir().join("mqtt-proxy-settings-absent/default.toml")
}

fn load(flags: &Flags, environment: &Environment) -> Result<Settings, SettingsError> {
    Settings::load_from(&absent(), flags, environment)
}

/// The problems of a file with this text; `{file}` stands for its path.
fn problems_of_file(text: &str) -> Vec<String> {
    let directory = Directory::new();
    let path = directory.file("site.toml", text);
    let flags = Flags { config: Some(path.clone()), ..Flags::default() };
    let error = load(&flags, &Environment::default()).expect_err(text);
    let name = path.display().to_string();
    error.problems().iter().map(|problem| problem.replace(&name, "{file}")).collect()
}

fn problems_of_variable(name: &str, value: &str) -> Vec<String> {
    let error = load(&Flags::default(), &Environment::from([(name, value)])).expect_err(name);
    error.problems().to_vec()
}

#[test]
fn without_anything_the_defaults_hold() {
    let settings = load(&Flags::default(), &Environment::default()).unwrap();
    assert_eq!(settings.server.listen, ["0.0.0.0:1883".parse().unwrap()]);
    assert_eq!(settings.server.connect_timeout, Duration::from_secs(10));
    assert_eq!(settings.server.drain_timeout, Duration::from_secs(5));
    assert_eq!(settings.server.response_information, "");
    assert_eq!(settings.server.server_reference, None);
    assert!(!settings.server.check_payload_format);
    assert_eq!(settings.auth, None);
    assert_eq!(settings.web.listen, "0.0.0.0:3000".parse().unwrap());
    assert_eq!(settings.web.static_dir, PathBuf::from("static"));
    assert_eq!(settings.data_dir, PathBuf::from("data"));
    assert_eq!(
        settings.log,
        LogSettings {
            head_bytes_max: 33_554_432,
            segment_bytes: 67_108_864,
            retention_bytes_max: 4_294_967_296,
            retention: Some(Duration::from_secs(604_800)),
            history_bytes_max: 268_435_456,
            sync_interval: Duration::from_secs(1),
            persist_qos0: false,
        }
    );
    assert_eq!(
        settings.bridge,
        BridgeOptions {
            origin_property: "mqtt-proxy-origin".to_owned(),
            hops_property: "mqtt-proxy-hops".to_owned(),
            hops_max: 8,
            strip_for_devices: true,
        }
    );
    assert_eq!(settings.acknowledgements, Acknowledgements::default());
    assert_eq!(settings.acknowledgements.deadline, Duration::from_millis(5_000));
    assert_eq!(
        settings.limits,
        Limits {
            packet_bytes_max: 16_777_216,
            receiving_bytes_max: 268_435_456,
            topic_bytes_max: 65_535,
            topic_levels_max: 65_536,
            receive_maximum: 1_000,
            inflight_messages_max: 1_000,
            topic_alias_maximum: 64,
            subscriptions_per_client_max: 1_000,
            connections_max: 15_000,
            connections_per_address_max: 0,
            accepts_per_second_max: 0,
            sessions_max: 100_000,
            session_expiry_secs_max: 604_800,
            queued_messages_max: 1_000,
            queued_bytes_max: 8_388_608,
            slow_subscriber: SlowSubscriber::DropNewest,
            slow_subscriber_secs: 10,
            absent_subscriber: AbsentSubscriber::DropNewest,
            messages_per_second_max: 0,
            on_message_rate: OnMessageRate::Wait,
            retained_messages_max: 100_000,
            retained_bytes_max: 268_435_456,
            keep_alive_secs_max: 0,
        }
    );
    assert_eq!(settings.alerts, AlertSettings::default());
    assert_eq!((settings.alerts.topic.as_str(), &settings.alerts.webhook), ("$SYS/broker/alerts", &None));
    assert!(settings.upstreams.is_empty());
    assert_eq!(settings.secret, None);
}

#[test]
fn without_anything_there_is_no_tls() {
    let settings = load(&Flags::default(), &Environment::default()).unwrap();
    let no_tls = TlsSettings {
        listen: Vec::new(),
        cert_path: PathBuf::new(),
        key_path: PathBuf::new(),
        client_ca_path: None,
        min_version: TlsVersion::V1_2,
    };
    assert_eq!(settings.server.tls, no_tls);
}

#[test]
fn the_default_file_says_every_key_with_its_default() {
    let text = include_str!("../../settings/default.toml");
    let layer = layer::of_text("default.toml", text).unwrap();
    let mut said: Vec<&str> = layer.iter().map(|(key, _)| *key).collect();
    let mut known: Vec<&str> = keys::KEYS.iter().map(|key| key.path).collect();
    said.sort_unstable();
    known.sort_unstable();
    assert_eq!(said, known);
    assert!(merge(vec![layer]).is_ok_and(|raw| raw == RawSettings::default()));
    // Not through the layers, so that they cannot be wrong in the same way.
    assert!(toml::from_str::<RawSettings>(text).is_ok_and(|raw| raw == RawSettings::default()));
}

#[test]
fn the_built_in_defaults_are_allowed_and_each_has_its_key() {
    let text = toml::to_string(&RawSettings::default()).unwrap();
    let layer = layer::of_text("defaults", &text).unwrap();
    assert_eq!(layer.len(), keys::KEYS.len());
}

#[test]
fn origin_and_hops_need_names_of_their_own() {
    let one = Environment::from([("MQTT_PROXY__BRIDGE__HOPS_PROPERTY", "mqtt-proxy-origin")]);
    let error = load(&Flags::default(), &one).unwrap_err().to_string();
    assert!(error.contains("bridge.origin_property and bridge.hops_property"), "{error}");
    for (variable, value) in [("ORIGIN_PROPERTY", ""), ("HOPS_MAX", "0"), ("HOPS_MAX", "256")] {
        let variable = format!("MQTT_PROXY__BRIDGE__{variable}");
        let error = load(&Flags::default(), &Environment::from([(variable.as_str(), value)])).unwrap_err();
        assert!(error.to_string().contains(&variable), "{error}");
    }
}

#[test]
fn a_later_layer_wins() {
    let directory = Directory::new();
    let default_file = directory
        .file("default.toml", "limits.receive_maximum = 2\nweb.listen = '1.1.1.1:2'\ndata.dir = 'a'");
    let site = directory.file(
        "site.toml",
        "[limits]\nreceive_maximum = 3\n[server]\nlisten = ['1.1.1.1:3', '1.1.1.2:3']\n[data]\ndir = 'b'\n",
    );
    let with_file = Flags { config: Some(site), ..Flags::default() };
    let none = Environment::default();
    let variables = Environment::from([
        ("MQTT_PROXY__LIMITS__RECEIVE_MAXIMUM", "4"),
        ("MQTT_PROXY__SERVER__LISTEN", "1.1.1.1:4, [::1]:4"),
        ("MQTT_PROXY__DATA__DIR", "c"),
    ]);
    let load = |flags: &Flags, environment| Settings::load_from(&default_file, flags, environment).unwrap();

    assert_eq!(load(&Flags::default(), &none).limits.receive_maximum, 2);
    let settings = load(&with_file, &none);
    assert_eq!(settings.limits.receive_maximum, 3);
    assert_eq!(settings.server.listen.len(), 2);
    assert_eq!(settings.web.listen, "1.1.1.1:2".parse().unwrap());
    let settings = load(&with_file, &variables);
    assert_eq!(settings.limits.receive_maximum, 4);
    assert_eq!(settings.server.listen, ["1.1.1.1:4".parse().unwrap(), "[::1]:4".parse().unwrap()]);
    let flags = Flags {
        listen: vec!["1.1.1.1:5".to_owned()],
        web: Some("[::]:5".to_owned()),
        data: Some("d".to_owned()),
        ..with_file
    };
    let settings = load(&flags, &variables);
    assert_eq!(settings.limits.receive_maximum, 4);
    assert_eq!(settings.server.listen, ["1.1.1.1:5".parse().unwrap()]);
    assert_eq!(settings.web.listen, "[::]:5".parse().unwrap());
    assert_eq!(settings.data_dir, PathBuf::from("d"));
}

#[test]
fn text_from_the_environment_stays_the_text_that_it_is() {
    let variables = Environment::from([
        ("MQTT_PROXY__AUTH__REQUIRE_AUTH", "true"),
        ("MQTT_PROXY__AUTH__USERNAME", "1e5"),
        ("MQTT_PROXY__AUTH__PASSWORD", "007"),
        ("MQTT_PROXY_SECRET", "key"),
        ("MQTT_PROXY_SERVICE_HOST", "10.0.0.1"),
    ]);
    let settings = load(&Flags::default(), &variables).unwrap();
    let credentials = settings.auth.unwrap();
    assert_eq!((credentials.username.as_str(), credentials.password.reveal()), ("1e5", "007"));
    assert_eq!(settings.secret, Some(Secret::new("key")));
    let empty = load(&Flags::default(), &Environment::from([("MQTT_PROXY_SECRET", "")])).unwrap();
    assert_eq!(empty.secret, None);
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_known_one() {
    for (text, expected) in [
        (
            "[server]\nlisten = ['1.1.1.1:1']\nconnect_timeout = 3",
            "{file}: line 3: server.connect_timeout: unknown key; did you mean server.connect_timeout_secs?",
        ),
        ("[server]\nlistne = 3", "{file}: line 2: server.listne: unknown key; did you mean server.listen?"),
        ("[sever]\n\nlisten = 3", "{file}: line 3: sever.listen: unknown key; did you mean server.listen?"),
        ("listen = 3", "{file}: line 1: listen: unknown key; did you mean server.listen?"),
        (
            "[log]\npacket_bytes_max = 3",
            "{file}: line 2: log.packet_bytes_max: unknown key; did you mean limits.packet_bytes_max?",
        ),
        ("[brokers]\n", "{file}: line 1: brokers: unknown key; settings/default.toml lists every key"),
        (
            "[auth.ldap]\nurl = ''",
            "{file}: line 2: auth.ldap.url: unknown key; settings/default.toml lists every key",
        ),
        ("server = 3", "{file}: line 1: server: must be a section, [server]"),
    ] {
        assert_eq!(problems_of_file(text), [expected], "{text}");
    }
    assert_eq!(
        problems_of_variable("MQTT_PROXY__LIMITS__RECIEVE_MAXIMUM", "3"),
        ["environment variable MQTT_PROXY__LIMITS__RECIEVE_MAXIMUM: unknown; did you mean \
          MQTT_PROXY__LIMITS__RECEIVE_MAXIMUM?"]
    );
}

#[test]
fn a_syntax_error_has_line_and_column() {
    for (text, place) in [
        ("[server]\nlisten = [\"1.1.1.1:1\"\n[web]\n", "{file}: line 3, column 1: "),
        ("[server]\n listen == 3", "{file}: line 2, column 10: "),
        ("[web]\nstatic_dir = \"a\nb\"", "{file}: line 2, column "),
        ("[web]\n[web]", "{file}: line 2, column 2: "),
    ] {
        let problems = problems_of_file(text);
        assert!(problems.len() == 1 && problems[0].starts_with(place), "{text}: {problems:?}");
        assert!(!problems[0].contains('\n'), "{problems:?}");
    }
}

const ADDRESSES: &str =
    "at least one IP address with a port, each only once, such as \"0.0.0.0:1883\" or \"[::]:1883\"";
const TLS_ADDRESSES: &str =
    "IP addresses with ports, each only once, such as \"0.0.0.0:8883\" or \"[::]:8883\"";
const ADDRESS: &str = "an IP address and a port, such as \"0.0.0.0:3000\" or \"[::1]:3000\"";
const POLICIES: &str = "one of memory, stored, synced, any, quorum, all";
const RULES: &str = "rules such as \"plant/# = synced\": a topic filter, =, and one of memory, stored, synced, any, \
                     quorum, all";

#[test]
fn a_wrong_value_is_told_with_its_place_and_what_is_allowed() {
    assert_told(&[
        ("server.listen", "'1.1.1.1:1'", ADDRESSES),
        ("server.listen", "[]", ADDRESSES),
        ("server.listen", "[1883]", ADDRESSES),
        ("server.listen", "['localhost:1883']", ADDRESSES),
        ("server.listen", "['1.1.1.1:1', '1.1.1.1:1']", ADDRESSES),
        ("server.tls_listen", "'1.1.1.1:1'", TLS_ADDRESSES),
        ("server.tls_listen", "['8883']", TLS_ADDRESSES),
        ("server.tls_listen", "['1.1.1.1:1', '1.1.1.1:1']", TLS_ADDRESSES),
        ("server.tls_cert_path", "['a', 'b']", "a string of at most 65535 bytes"),
        ("server.tls_min_version", "'1.1'", "one of 1.2, 1.3"),
        ("server.tls_min_version", "1.3", "one of 1.2, 1.3"),
        ("server.connect_timeout_secs", "0", "a whole number from 1 to 86400"),
        ("server.drain_timeout_secs", "-1", "a whole number from 0 to 86400"),
        ("auth.require_auth", "'true'", "true or false"),
        ("auth.username", "3", "a string of at most 65535 bytes"),
        ("web.listen", "'1.1.1.1'", ADDRESS),
        ("web.listen", "['1.1.1.1:1']", ADDRESS),
        ("web.static_dir", "''", "a path, not empty"),
        ("data.dir", "false", "a path, not empty"),
        ("log.head_bytes_max", "1048575", "a whole number, 1048576 or more"),
        ("log.head_bytes_max", "99999999999999999999", "a whole number, 1048576 or more"),
        ("log.segment_bytes", "65535", "a whole number from 65536 to 1073741824"),
        ("log.segment_bytes", "1073741825", "a whole number from 65536 to 1073741824"),
        ("log.retention_bytes_max", "1048575", "a whole number, 1048576 or more"),
        ("log.retention_secs_max", "-1", "a whole number from 0 to 4294967295"),
        ("log.history_bytes_max", "-1", "a whole number, 0 or more"),
        ("log.sync_interval_ms", "9", "a whole number from 10 to 60000"),
        ("log.sync_interval_ms", "60001", "a whole number from 10 to 60000"),
        ("log.persist_qos0", "0", "true or false"),
        ("acknowledgement.policy", "'Stored'", POLICIES),
        ("acknowledgement.policy", "['stored']", POLICIES),
        ("acknowledgement.rules", "'a = all'", RULES),
        ("acknowledgement.rules", "[1]", RULES),
        ("acknowledgement.deadline_ms", "0", "a whole number from 1 to 86400000"),
        ("acknowledgement.on_deadline", "'drop'", "one of acknowledge, withhold"),
    ]);
}

#[test]
fn a_wrong_limit_is_told_with_its_place_and_what_is_allowed() {
    assert_told(&[
        ("limits.packet_bytes_max", "63", "a whole number from 64 to 268435460"),
        ("limits.packet_bytes_max", "268435461", "a whole number from 64 to 268435460"),
        ("limits.receive_maximum", "0", "a whole number from 1 to 65535"),
        ("limits.receive_maximum", "'10'", "a whole number from 1 to 65535"),
        ("limits.receiving_bytes_max", "1048575", "a whole number, 1048576 or more"),
        ("limits.topic_bytes_max", "65536", "a whole number from 1 to 65535"),
        ("limits.topic_levels_max", "0", "a whole number from 1 to 65536"),
        ("limits.inflight_messages_max", "0", "a whole number from 1 to 65535"),
        ("limits.subscriptions_per_client_max", "0", "a whole number, 1 or more"),
        ("limits.connections_per_address_max", "-1", "a whole number, 0 or more"),
        ("limits.accepts_per_second_max", "4294967296", "a whole number from 0 to 4294967295"),
        ("limits.sessions_max", "0", "a whole number, 1 or more"),
        ("limits.slow_subscriber", "'drop'", "one of drop_newest, drop_oldest, disconnect"),
        ("limits.slow_subscriber_secs", "0", "a whole number from 1 to 86400"),
        ("limits.absent_subscriber", "'disconnect'", "one of drop_newest, drop_oldest"),
        ("limits.messages_per_second_max", "4294967296", "a whole number from 0 to 4294967295"),
        ("limits.on_message_rate", "'drop'", "one of wait, disconnect"),
        ("limits.retained_bytes_max", "-1", "a whole number, 0 or more"),
        ("limits.topic_alias_maximum", "65536", "a whole number from 0 to 65535"),
        ("limits.connections_max", "0", "a whole number, 1 or more"),
        ("limits.connections_max", "1.5", "a whole number, 1 or more"),
        ("limits.session_expiry_secs_max", "4294967296", "a whole number from 0 to 4294967295"),
        ("limits.queued_messages_max", "0", "a whole number, 1 or more"),
        ("limits.queued_bytes_max", "{ a = 1 }", "a whole number, 1 or more"),
        ("limits.retained_messages_max", "-1", "a whole number, 0 or more"),
        ("limits.keep_alive_secs_max", "1979-05-27", "a whole number from 0 to 65535"),
    ]);
}

/// Each key with a wrong value, and what is allowed there.
fn assert_told(rows: &[(&str, &str, &str)]) {
    for (key, value, allowed) in rows {
        let expected = format!("{{file}}: line 1: {key}: '{value}' must be {allowed}");
        assert_eq!(problems_of_file(&format!("{key} = {value}")), [expected]);
    }
}

#[test]
fn a_wrong_value_of_the_environment_or_a_flag_is_told_with_its_place() {
    for (variable, value, allowed) in [
        ("MQTT_PROXY__SERVER__LISTEN", "1.1.1.1:1,", ADDRESSES),
        ("MQTT_PROXY__SERVER__TLS_LISTEN", "8883", TLS_ADDRESSES),
        ("MQTT_PROXY__SERVER__TLS_MIN_VERSION", "TLSv1.2", "one of 1.2, 1.3"),
        ("MQTT_PROXY__WEB__LISTEN", "3000", ADDRESS),
        ("MQTT_PROXY__AUTH__REQUIRE_AUTH", "yes", "true or false"),
        ("MQTT_PROXY__ACKNOWLEDGEMENT__POLICY", "disk", POLICIES),
        ("MQTT_PROXY__ACKNOWLEDGEMENT__RULES", "a all", RULES),
        ("MQTT_PROXY__LIMITS__RECEIVE_MAXIMUM", "many", "a whole number from 1 to 65535"),
    ] {
        let expected = format!("environment variable {variable}: '{value}' must be {allowed}");
        assert_eq!(problems_of_variable(variable, value), [expected]);
    }
    let flags = Flags { listen: vec!["1883".to_owned()], web: Some("x".to_owned()), ..Flags::default() };
    assert_eq!(
        load(&flags, &Environment::default()).unwrap_err().problems(),
        [format!("--listen: '1883' must be {ADDRESSES}"), format!("--web: 'x' must be {ADDRESS}")]
    );
}

#[test]
fn an_address_for_tls_needs_a_certificate_and_a_key_and_a_port_of_its_own() {
    let needs = |key: &str, content: &str| {
        format!(
            "server.{key} is '' and server.tls_listen has 1.1.1.1:8883; it must be the path of a PEM file with {content}"
        )
    };
    let (cert, key) = (
        needs("tls_cert_path", "the certificate, and its chain behind it"),
        needs("tls_key_path", "the key of the certificate"),
    );
    let listen = "[server]\ntls_listen = ['1.1.1.1:8883']\n";
    assert_eq!(problems_of_file(listen), [cert.clone(), key.clone()]);
    assert_eq!(problems_of_file(&format!("{listen}tls_cert_path = 'a'")), [key]);
    assert_eq!(problems_of_file(&format!("{listen}tls_key_path = 'a'\ntls_client_ca_path = 'b'")), [cert]);
    assert_eq!(
        problems_of_file(&format!(
            "{listen}tls_cert_path = 'a'\ntls_key_path = 'b'\nlisten = ['1.1.1.1:8883']"
        )),
        ["server.tls_listen: 1.1.1.1:8883 is in server.listen too; each must have a port of its own"]
    );
    // Port 0 is a new one each time, and what is not listened for needs nothing.
    let none = "[server]\ntls_listen = []\ntls_cert_path = '/nowhere'\n";
    let zero = "[server]\nlisten = ['1.1.1.1:0']\ntls_listen = ['1.1.1.1:0']\ntls_cert_path = 'a'\ntls_key_path = 'b'";
    for text in [none, zero] {
        let directory = Directory::new();
        let flags = Flags { config: Some(directory.file("site.toml", text)), ..Flags::default() };
        assert!(load(&flags, &Environment::default()).is_ok(), "{text}");
    }
}

#[test]
fn flags_for_tls_win_over_the_environment_which_may_turn_it_off() {
    let variables = Environment::from([
        ("MQTT_PROXY__SERVER__TLS_LISTEN", "1.1.1.1:1, [::1]:1"),
        ("MQTT_PROXY__SERVER__TLS_CERT_PATH", "cert.pem"),
        ("MQTT_PROXY__SERVER__TLS_KEY_PATH", "key.pem"),
        ("MQTT_PROXY__SERVER__TLS_MIN_VERSION", "1.3"),
    ]);
    let tls = load(&Flags::default(), &variables).unwrap().server.tls;
    assert_eq!((tls.listen.len(), tls.min_version, tls.client_ca_path), (2, TlsVersion::V1_3, None));
    let flags = Flags {
        tls_listen: vec!["1.1.1.1:2".to_owned()],
        tls_cert: Some("other.pem".to_owned()),
        tls_key: Some("other.key".to_owned()),
        ..Flags::default()
    };
    let tls = load(&flags, &variables).unwrap().server.tls;
    assert_eq!(tls.listen, ["1.1.1.1:2".parse().unwrap()]);
    assert_eq!((tls.cert_path, tls.key_path), (PathBuf::from("other.pem"), PathBuf::from("other.key")));
    let off = Environment::from([("MQTT_PROXY__SERVER__TLS_LISTEN", "")]);
    assert!(load(&Flags::default(), &off).unwrap().server.tls.listen.is_empty());
}

#[test]
fn the_one_rule_that_is_wrong_is_shown() {
    for (rules, shown) in [
        ("['a = all', 'b/#/c = all']", "b/#/c = all"),
        ("['a = all', 'b = al', 'c']", "b = al"),
        ("['$share/g/a = all']", "$share/g/a = all"),
    ] {
        let problems = problems_of_file(&format!("acknowledgement.rules = {rules}"));
        let start = format!("{{file}}: line 1: acknowledgement.rules: '{shown}' must be rules such as");
        assert!(problems.len() == 1 && problems[0].starts_with(&start), "{problems:?}");
    }
    // A comma is the end of a rule in the environment, so it cannot be in a filter there.
    let problems = problems_of_variable("MQTT_PROXY__ACKNOWLEDGEMENT__RULES", "a,b = all");
    assert!(problems[0].contains("'a' must be rules such as"), "{problems:?}");
}

#[test]
fn acknowledgements_are_set_in_a_file_and_in_the_environment() {
    let directory = Directory::new();
    let file = directory.file(
        "site.toml",
        "[acknowledgement]\npolicy = 'any'\nrules = ['a,b=c = all', '# = memory']\ndeadline_ms = 1\n\
         on_deadline = 'withhold'\n[log]\nretention_secs_max = 0\npersist_qos0 = true",
    );
    let flags = Flags { config: Some(file), ..Flags::default() };
    let settings = load(&flags, &Environment::default()).unwrap();
    let rules = |settings: &Settings| {
        let rules = settings.acknowledgements.rules.iter();
        rules.map(|(filter, policy)| format!("{filter} {}", policy.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(settings.acknowledgements.policy, Policy::Any);
    assert_eq!(rules(&settings), ["a,b=c all", "# memory"]);
    assert_eq!(settings.acknowledgements.deadline, Duration::from_millis(1));
    assert_eq!(settings.acknowledgements.on_deadline, OnDeadline::Withhold);
    assert_eq!((settings.log.retention, settings.log.persist_qos0), (None, true));

    let variables = Environment::from([
        ("MQTT_PROXY__ACKNOWLEDGEMENT__POLICY", "synced"),
        ("MQTT_PROXY__ACKNOWLEDGEMENT__RULES", "b=x = quorum, c/# = any"),
        ("MQTT_PROXY__LOG__SYNC_INTERVAL_MS", "20"),
    ]);
    let settings = load(&flags, &variables).unwrap();
    assert_eq!(settings.acknowledgements.policy, Policy::Synced);
    assert_eq!(rules(&settings), ["b=x quorum", "c/# any"]);
    assert_eq!(settings.log.sync_interval, Duration::from_millis(20));
    let none = Environment::from([("MQTT_PROXY__ACKNOWLEDGEMENT__RULES", "")]);
    assert!(!load(&flags, &none).unwrap().acknowledgements.has_rules());
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = problems_of_file("[web]\nlisten = 1\nstatic = 2\n[data]\ndir = ''\n");
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn keys_that_do_not_fit_together_are_told() {
    let auth = "auth.require_auth is true, so auth.username and auth.password must be given too";
    assert_eq!(problems_of_file("auth.require_auth = true"), [auth]);
    assert_eq!(problems_of_file("[auth]\nrequire_auth = true\nusername = 'a'"), [auth]);
    assert_eq!(
        problems_of_file("[log]\nhead_bytes_max = 1048576\n[limits]\npacket_bytes_max = 2000000"),
        ["log.head_bytes_max is 1048576; it must be at least limits.packet_bytes_max, which is 2000000"]
    );
    let directory = Directory::new();
    let path = directory.file("site.toml", "[log]\nhead_bytes_max = 2000000");
    let flags = Flags { config: Some(path), ..Flags::default() };
    let small = load(&flags, &Environment::default()).expect("settings");
    assert_eq!(small.limits.packet_bytes_max, 2_000_000, "the default gives way");
    assert_eq!(
        problems_of_file("[limits]\nreceiving_bytes_max = 1048576\npacket_bytes_max = 2000000"),
        [
            "limits.receiving_bytes_max is 1048576; it must be at least limits.packet_bytes_max, which is 2000000"
        ]
    );
    assert_eq!(
        problems_of_file("[log]\nretention_bytes_max = 100000000"),
        [
            "log.retention_bytes_max is 100000000; it must be at least twice log.segment_bytes, which is 67108864"
        ]
    );
}

#[test]
fn the_file_of_config_must_exist() {
    let flags = Flags { config: Some(absent()), ..Flags::default() };
    let error = load(&flags, &Environment::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", absent().display())), "{error}");
}

#[test]
fn no_secret_is_shown() {
    let variables = Environment::from([
        ("MQTT_PROXY__AUTH__REQUIRE_AUTH", "true"),
        ("MQTT_PROXY__AUTH__USERNAME", "user"),
        ("MQTT_PROXY__AUTH__PASSWORD", "hunter2"),
        ("MQTT_PROXY__ALERTS__WEBHOOK_URL", "https://example.org/hook"),
        ("MQTT_PROXY__ALERTS__WEBHOOK_SECRET", "hunter2"),
        ("MQTT_PROXY_SECRET", "hunter2"),
    ]);
    let flags = Flags { upstream: vec!["mqtt://user:hunter2@host".to_owned()], ..Flags::default() };
    let settings = load(&flags, &variables).unwrap();
    let shown = settings.to_toml();
    assert!(!shown.contains("hunter2") && !format!("{settings:?}").contains("hunter2"));
    for part in ["password = \"***\"", "mqtt://user:***@host:1883?", "MQTT_PROXY_SECRET='***'"] {
        assert!(shown.contains(part), "{shown}");
    }
    let wrong = problems_of_file("[auth]\npassword = ['hunter2']");
    assert_eq!(wrong, ["{file}: line 2: auth.password: must be a string of at most 65535 bytes"]);
}

#[test]
fn what_check_shows_is_a_file_with_the_same_settings() {
    let directory = Directory::new();
    let flags = Flags {
        listen: vec!["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()],
        data: Some("/tmp/a \"b\"".to_owned()),
        upstream: vec!["mqtts://host?name=x".to_owned()],
        ..Flags::default()
    };
    let variables = Environment::from([
        ("MQTT_PROXY__SERVER__TLS_LISTEN", "127.0.0.1:8883,[::1]:8883"),
        ("MQTT_PROXY__SERVER__TLS_CERT_PATH", "cert.pem"),
        ("MQTT_PROXY__SERVER__TLS_KEY_PATH", "key.pem"),
        ("MQTT_PROXY__SERVER__TLS_CLIENT_CA_PATH", "ca.pem"),
        ("MQTT_PROXY__SERVER__TLS_MIN_VERSION", "1.3"),
        ("MQTT_PROXY__LOG__HEAD_BYTES_MAX", "2000000"),
        ("MQTT_PROXY__LOG__RETENTION_SECS_MAX", "0"),
        ("MQTT_PROXY__LOG__SYNC_INTERVAL_MS", "1500"),
        ("MQTT_PROXY__ACKNOWLEDGEMENT__POLICY", "quorum"),
        ("MQTT_PROXY__ACKNOWLEDGEMENT__RULES", "a=\"b\" = all,# = memory"),
        ("MQTT_PROXY__ACKNOWLEDGEMENT__ON_DEADLINE", "withhold"),
        ("MQTT_PROXY__ALERTS__TOPIC", "site/alerts"),
        (
            "MQTT_PROXY__ALERTS__RULES",
            "[{name='a', metric='lag', above=9, clear_below=3}, {name='b', broker='x', metric='disconnected_secs', \
             above=30, for_secs=5}]",
        ),
    ]);
    let settings = load(&flags, &variables).unwrap();
    let file = directory.file("shown.toml", &settings.to_toml());
    let again = load(&Flags { config: Some(file), ..Flags::default() }, &Environment::default()).unwrap();
    assert_eq!(again.server, settings.server);
    assert_eq!(again.server.tls.client_ca_path, Some(PathBuf::from("ca.pem")));
    assert_eq!(again.data_dir, settings.data_dir);
    assert_eq!(again.log, settings.log);
    assert_eq!(again.acknowledgements, settings.acknowledgements);
    assert_eq!(again.limits, settings.limits);
    assert_eq!(again.alerts, settings.alerts);
    assert_eq!(settings.alerts.rules.len(), 2);
}

#[test]
fn rules_for_alerts_are_tables_in_a_file() {
    let directory = Directory::new();
    let late = "[[alerts.rules]]\nname = 'late'\nmetric = 'oldest_unsent_secs'\nabove = 60\n";
    let file = directory.file("site.toml", &format!("{late}for_secs = 10\nclear_below = 30"));
    let flags = Flags { config: Some(file), ..Flags::default() };
    let rules = load(&flags, &Environment::default()).unwrap().alerts.rules;
    let wanted = AlertRule {
        name: "late".to_owned(),
        broker: None,
        metric: AlertMetric::OldestUnsentSecs,
        above: 60,
        lasting: Duration::from_secs(10),
        clear_below: Some(30),
    };
    assert_eq!(rules, [wanted]);
    assert_eq!(
        problems_of_file(&format!("{late}above_all = 1")),
        [
            "{file}: line 1: alerts.rules: rule 1: above_all is not known; a rule has name, broker, metric, above, \
          for_secs, clear_below"
        ]
    );
    assert_eq!(
        problems_of_file(&format!("[alerts]\ntopic = 'a'\n{late}\n{late}")),
        ["{file}: line 3: alerts.rules: rule 2: the name late is in use by an earlier rule"]
    );
}

#[test]
fn what_clients_are_told_is_something_that_they_can_use() {
    let read = |text: &str| {
        let directory = Directory::new();
        let flags = Flags { config: Some(directory.file("site.toml", text)), ..Flags::default() };
        load(&flags, &Environment::default()).map(|settings| settings.server)
    };
    let server =
        read("server.response_information = 'r/{client_id}/'\nserver.server_reference = 'a b:1883'").unwrap();
    assert_eq!(server.response_information, "r/{client_id}/");
    assert_eq!(server.server_reference.as_deref(), Some("a b:1883"));
    for text in ["a/+", "#", "$share/g/", "$SYS/", "a\\u0000"] {
        let problem = read(&format!("server.response_information = \"{text}\"")).expect_err(text);
        assert!(problem.problems()[0].contains("must be what topics begin with"), "{problem:?}");
    }
    let problem = read("server.server_reference = \"a\\nb\"").expect_err("two lines");
    assert!(problem.problems()[0].contains("must be one or more servers"), "{problem:?}");
}
