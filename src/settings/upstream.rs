//! `--upstream URL`: reads the URL of an upstream broker, and writes one with its password hidden.

use actors::broker::{BrokerSource, Transport, is_reference};
use actors::definition::{self, Field, Kind};
use actors::{Broker, BrokerChanges, BrokerId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use super::{SettingsError, UpstreamArgument};

/// What the rest of the URL says, or what has no meaning in one.
const NO_PARAMETERS: [&str; 9] =
    ["address", "port", "transport", "ws_path", "use_tls", "username", "password", "enabled", "paused"];

/// What is always shown, also where it is the default.
const ALWAYS_SHOWN: [&str; 5] = ["name", "version", "client_id_prefix", "keep_alive_secs", "clean_session"];

/// The fields that may stand behind the `?`. Other users of the machine see a command line, so of a secret only where
/// it is to be found.
fn parameters() -> impl Iterator<Item = &'static Field> {
    definition::fields().filter(|field| !NO_PARAMETERS.contains(&field.name))
}

/// What is percent-encoded in a URL that is shown.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Reads the URLs of all `--upstream` flags. Each problem is one line without any password.
pub(super) fn read_all(urls: &[String]) -> Result<Vec<UpstreamArgument>, SettingsError> {
    let mut problems = Vec::new();
    let mut upstreams = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for url in urls {
        match read(url) {
            Err(problem) => problems.push(format!("--upstream {}: {problem}", described(url))),
            Ok((_, broker)) if names.contains(&broker.name) => problems.push(format!(
                "--upstream {}: another one has the name {:?} already; add ?name= with a name of its own",
                described(url),
                broker.name
            )),
            Ok((changes, broker)) => {
                names.push(broker.name);
                upstreams.push(UpstreamArgument { changes });
            }
        }
    }
    let max = actors::limits::BROKERS_MAX;
    if urls.len() > max {
        problems.push(format!("--upstream: {} brokers are given, at most {max} may be", urls.len()));
    }
    SettingsError::none_of(problems).map(|()| upstreams)
}

/// Reads one URL and proves that it makes a broker.
fn read(url: &str) -> Result<(BrokerChanges, Broker), String> {
    let unknown = "must start with mqtt://, mqtts://, ws:// or wss://";
    let (scheme, rest) = url.split_once("://").ok_or(unknown)?;
    let (transport, use_tls) = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => ("tcp", false),
        "mqtts" => ("tcp", true),
        "ws" => ("ws", false),
        "wss" => ("ws", true),
        _ => return Err(unknown.to_owned()),
    };
    if rest.contains('#') {
        return Err("write # as %23".to_owned());
    }
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    // Without this a '/' or '?' in a password would cut it in two, and its rest would be shown as something else.
    if !authority.contains('@') && rest.contains('@') {
        return Err("an @ after the host; write / as %2F, ? as %3F and @ as %40 in user and password \
                    (and @ as %40 in parameters)"
            .to_owned());
    }
    let mut changes = BrokerChanges::new().with("transport", transport).with("use_tls", use_tls);
    match (transport, path) {
        ("ws", path) if before_query.contains('/') => changes = changes.with("ws_path", format!("/{path}")),
        (_, "") => {}
        _ => return Err("must not have a path after the host".to_owned()),
    }
    changes = read_authority(authority, changes)?;
    for (index, parameter) in query.split('&').enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let repeated = query.split('&').take(index).any(|other| other.split('=').next() == Some(name));
        if repeated {
            return Err(format!("{} is given twice", shown_name(name)));
        }
        let field = parameters().find(|field| field.name == name).ok_or_else(|| {
            let known: Vec<_> = parameters().map(|field| field.name).collect();
            format!("unknown {}; known are {}", shown_name(name), known.join(", "))
        })?;
        changes = changes.with(name, read_value(field, value)?);
    }
    let broker = changes.clone().create(BrokerId(Uuid::nil()), BrokerSource::CommandLine);
    let in_url = |problem: &str| {
        let problem = problem.replace("with use_tls only", "with mqtts:// or wss:// only");
        problem.replace("with bidirectional only", "with bidirectional=true only")
    };
    let broker = broker.map_err(|error| in_url(&error.to_string()))?;
    Ok((changes, broker))
}

/// `[user[:password]@]host[:port]`; the name becomes `host:port`.
fn read_authority(authority: &str, mut changes: BrokerChanges) -> Result<BrokerChanges, String> {
    let (user, host_and_port) = match authority.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, authority),
    };
    if let Some(user) = user {
        let (user, password) =
            user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
        let user = decoded("user", user)?;
        if !user.is_empty() {
            changes = changes.with("username", user);
        }
        if let Some(password) = password {
            changes = changes.with("password", decoded("password", password)?);
        }
    }
    let (host, port) = split_port(host_and_port)?;
    let port = match port {
        None => None,
        Some(digits) => Some(
            digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or("the port behind the host must be a number from 1 to 65535")?,
        ),
    };
    let host = decoded("host", host)?;
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    changes = changes.with("address", host);
    let port = match port {
        Some(port) => port,
        None => default_port(&changes)?,
    };
    Ok(changes.with("port", port).with("name", format!("{bracketed}:{port}")))
}

/// The port that such servers have.
fn default_port(changes: &BrokerChanges) -> Result<u16, String> {
    let unnamed = changes.clone().with("name", "default port").with("version", "5");
    let broker = unnamed.create(BrokerId(Uuid::nil()), BrokerSource::CommandLine);
    broker.map(|broker| broker.port).map_err(|error| error.to_string())
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the ] behind the IPv6 address is missing")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("between [ and ] there must be an IPv6 address".to_owned());
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("behind ] there may be only a port, such as ]:1883".to_owned()),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address must be in brackets, such as [::1]:1883".to_owned())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// The value of a parameter as its field wants it.
fn read_value(field: &Field, value: &str) -> Result<Value, String> {
    let name = field.name;
    let text = || decoded(name, value);
    Ok(match field.kind {
        Kind::Text | Kind::TextOrNumber => text()?.into(),
        Kind::Number => text()?.parse::<u64>().map_err(|_| format!("{name}: must be a whole number"))?.into(),
        Kind::Boolean => {
            text()?.parse::<bool>().map_err(|_| format!("{name}: must be true or false"))?.into()
        }
        Kind::Texts => list(name, value)?.into(),
        Kind::Structure => {
            serde_json::from_str(&text()?).map_err(|error| format!("{name}: must be JSON: {error}"))?
        }
        Kind::Secret { .. } => match text()? {
            reference if is_reference(&reference) => reference.into(),
            _ => {
                return Err(format!(
                    "{name}: must be env:NAME or file:/path, because a command line is no secret"
                ));
            }
        },
    })
}

/// A parameter's name for a message, if it looks like a name: what does not may be a part of a password.
fn shown_name(name: &str) -> String {
    let harmless = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if harmless { format!("parameter {name}") } else { "parameter".to_owned() }
}

fn decoded(what: &str, text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let broken = (0..bytes.len()).filter(|index| bytes[*index] == b'%').any(|index| {
        let digits = bytes.get(index + 1..index + 3).unwrap_or_default();
        digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit)
    });
    if broken {
        return Err(format!("{what}: behind each % there must be two hexadecimal digits (% itself is %25)"));
    }
    let text = percent_decode_str(text).decode_utf8();
    text.map(String::from).map_err(|_| format!("{what}: must be UTF-8 when it is decoded"))
}

/// Commas separate; a comma within is `%2C`.
fn list(name: &str, value: &str) -> Result<Vec<String>, String> {
    value.split(',').filter(|part| !part.is_empty()).map(|part| decoded(name, part)).collect()
}

/// The URL for a message: scheme, host and port, and nothing that can be a part of a password.
fn described(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) || scheme.is_empty() {
        return "URL".to_owned();
    }
    let (user, host) = match rest.rsplit_once('@') {
        Some((_, host)) => ("***@", host),
        None => ("", rest),
    };
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let bracketed = host.split_once(']').map(|(address, _)| address.trim_start_matches('['));
    if let Some(address) = bracketed.filter(|address| address.parse::<std::net::Ipv6Addr>().is_ok()) {
        return format!("{scheme}://{user}[{address}]");
    }
    // `mqtt://user:password` without a host looks like a host with a port.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    format!("{scheme}://{user}{host}")
}

/// The whole definition as a URL, the password hidden.
pub(super) fn shown(upstream: &UpstreamArgument) -> String {
    let created = upstream.changes.clone().create(BrokerId(Uuid::nil()), BrokerSource::CommandLine);
    let Ok(broker) = created else { return "(not a valid broker)".to_owned() };
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let scheme = match (&broker.transport, broker.tls.is_some()) {
        (Transport::Tcp, false) => "mqtt",
        (Transport::Tcp, true) => "mqtts",
        (Transport::WebSocket { .. }, false) => "ws",
        (Transport::WebSocket { .. }, true) => "wss",
    };
    let user = match (&broker.username, &broker.password) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", encode(user.as_deref().unwrap_or_default())),
        (user, Some(_)) => format!("{}:***@", encode(user.as_deref().unwrap_or_default())),
    };
    let host =
        if broker.address.contains(':') { format!("[{}]", broker.address) } else { encode(&broker.address) };
    let path = match &broker.transport {
        Transport::Tcp => "",
        Transport::WebSocket { path } => path,
    };
    let usual = usual(&broker);
    let mut shown = Vec::new();
    for field in parameters() {
        let value = (field.get)(&broker);
        let is_usual = usual.as_ref().is_some_and(|usual| (field.get)(usual) == value);
        if !is_usual || ALWAYS_SHOWN.contains(&field.name) {
            shown.push(format!("{}={}", field.name, shown_value(&value, &encode)));
        }
    }
    format!("{scheme}://{user}{host}:{}{path}?{}", broker.port, shown.join("&"))
}

/// A broker at the same place that says nothing else.
fn usual(broker: &Broker) -> Option<Broker> {
    let same = ["address", "transport", "use_tls"];
    let mut changes = BrokerChanges::new().with("name", "usual");
    for field in same.into_iter().filter_map(definition::field) {
        changes = changes.with(field.name, (field.get)(broker));
    }
    changes.create(broker.id, BrokerSource::CommandLine).ok()
}

fn shown_value(value: &Value, encode: &dyn Fn(&str) -> String) -> String {
    match value {
        Value::String(text) => encode(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(encode).collect::<Vec<_>>().join(",")
        }
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => encode(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::broker::{Backlog, OnFull, PemSource, Secret};
    use actors::start_position::StartPosition;
    use mqtt::{ProtocolVersion, QoS};

    fn broker(url: &str) -> Broker {
        read(url).unwrap_or_else(|problem| panic!("{url}: {problem}")).1
    }

    fn problem(url: &str) -> String {
        read_all(&[url.to_owned()]).err().unwrap_or_else(|| panic!("{url} was accepted")).to_string()
    }

    #[test]
    fn a_host_alone_is_enough() {
        for (url, address, port, name) in [
            ("mqtt://a", "a", 1883, "a:1883"),
            ("MQTT://a/", "a", 1883, "a:1883"),
            ("mqtts://a.example", "a.example", 8883, "a.example:8883"),
            ("mqtt://10.0.0.1:99?", "10.0.0.1", 99, "10.0.0.1:99"),
            ("mqtt://[::1]", "::1", 1883, "[::1]:1883"),
            ("mqtts://[fe80::1]:99", "fe80::1", 99, "[fe80::1]:99"),
            ("mqtt://a?name=b%20c", "a", 1883, "b c"),
            ("mqtt://u@a?name=x@y", "a", 1883, "x@y"),
        ] {
            let broker = broker(url);
            let read = (broker.address.as_str(), broker.port, broker.name.as_str());
            assert_eq!(read, (address, port, name), "{url}");
            assert_eq!(broker.tls.is_some(), url.starts_with("mqtts"), "{url}");
            assert_eq!(broker.source, BrokerSource::CommandLine);
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        for (url, user, password) in [
            ("mqtt://u@a", Some("u"), None),
            ("mqtt://u:p@a", Some("u"), Some("p")),
            ("mqtt://u:@a", Some("u"), Some("")),
            ("mqtt://u:p:q@a", Some("u"), Some("p:q")),
            ("mqtt://u:p@q@a", Some("u"), Some("p@q")),
            ("mqtt://%C3%BC%3A:%2F%3F%23%40%25+@a", Some("ü:"), Some("/?#@%+")),
            ("mqtt://:p@a?version=5", None, Some("p")),
        ] {
            let broker = broker(url);
            assert_eq!(broker.username.as_deref(), user, "{url}");
            assert_eq!(broker.password.as_ref().map(Secret::reveal), password, "{url}");
        }
    }

    #[test]
    fn every_parameter_arrives() {
        let url = "mqtts://a?name=x&version=5&max_qos=1&topics=a/%23,b/+,c%2Cd&bidirectional=true\
                   &client_id_prefix=p&keep_alive_secs=7&clean_session=true&insecure_skip_verify=true\
                   &ca_cert_path=/etc/ca%20file.pem&subscription_topics=down/%2B&subscription_qos=2\
                   &start_at=2026-01-31T08:00:00Z&queue_bytes_max=65536&on_full=reject&max_rate_messages=5\
                   &max_rate_bytes=6&live_first=true";
        let broker = broker(url);
        assert_eq!(broker.name, "x");
        assert_eq!(broker.version, ProtocolVersion::V5);
        assert_eq!(broker.rule.max_qos, Some(QoS::AtLeastOnce));
        let topics: Vec<_> = broker.rule.topics.iter().map(|topic| topic.as_str()).collect();
        assert_eq!(topics, ["a/#", "b/+", "c,d"]);
        let backlog = Backlog {
            start_at: StartPosition::Time(1_769_846_400_000_000),
            queue_bytes_max: Some(65_536),
            on_full: OnFull::Reject,
            max_rate_messages: Some(5),
            max_rate_bytes: Some(6),
            live_first: true,
        };
        assert_eq!(broker.backlog, backlog);
        assert_eq!(broker.client_id_prefix, "p");
        assert_eq!(broker.keep_alive_secs, 7);
        assert!(broker.clean_session);
        let tls = broker.tls.unwrap();
        assert!(tls.insecure_skip_verify);
        assert_eq!(tls.ca_cert, Some(PemSource::Path("/etc/ca file.pem".into())));
        let subscription = broker.subscription.unwrap();
        assert_eq!(subscription.topics[0].as_str(), "down/+");
        assert_eq!(subscription.qos, QoS::ExactlyOnce);
    }

    #[test]
    fn every_kind_of_parameter_arrives() {
        let broker = broker(
            "wss://a/x/y?fixed_client_id=me&tls_alpn=a,b&client_cert_path=/c&client_key_path=/k&\
             client_key_password=env:KEY&rewrite=%5B%7B%22from%22:%22a/%2B%22,%22to%22:%22b/%7B1%7D%22%7D%5D&\
             user_properties=%7B%22site%22:%227%22%7D&retain=clear&group=g&group_priority=2&stamp_origin=false",
        );
        assert_eq!((broker.port, broker.name.as_str()), (443, "a:443"));
        assert_eq!(broker.transport, Transport::WebSocket { path: "/x/y".to_owned() });
        let tls = broker.tls.unwrap();
        assert_eq!(tls.alpn, ["a", "b"]);
        assert_eq!(tls.client_key_password, Some(Secret::new("env:KEY")));
        assert_eq!(broker.rule.mapping.map("a/x").unwrap(), "b/x");
        assert_eq!(broker.rule.user_properties, [("site".to_owned(), "7".to_owned())]);
        assert_eq!((broker.group.unwrap().priority, broker.stamp_origin), (2, Some(false)));
    }

    #[test]
    fn what_is_shown_reads_as_the_same_broker() {
        for url in [
            "mqtt://a",
            "mqtt://a?start_at=17",
            "mqtt://a?start_at=2026-01-31T09:00:00.5%2B01:00&queue_bytes_max=65536&on_full=reject&live_first=true",
            "mqtt://a?max_rate_messages=5&max_rate_bytes=6",
            "mqtt://ü@a:99?topics=a/%23,b/%2B,c%2Cd&max_qos=0&name=a%26b",
            "ws://a",
            "wss://a:8443/path?tls_alpn=x,y&rewrite=%5B%7B%22from%22:%22a/%2B%22,%22to%22:%22b/%7B1%7D%22%7D%5D",
            "mqtt://a?group=g&group_priority=2&stamp_origin=true&user_properties=%7B%22a%22:%22b%22%7D",
            "mqtts://[::1]?version=5&bidirectional=true&subscription_qos=2&ca_cert_path=/a%20b&clean_session=true",
        ] {
            let (changes, broker) = read(url).unwrap();
            let shown = shown(&UpstreamArgument { changes });
            assert_eq!(read(&shown).unwrap().1, broker, "{url} became {shown}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (url, expected) in [
            ("a:1883", "--upstream URL: must start with mqtt://, mqtts://, ws:// or wss://"),
            ("http://a", "--upstream http://a: must start with mqtt://, mqtts://, ws:// or wss://"),
            ("mqtt://", "--upstream mqtt://: the host is missing"),
            ("mqtt://:1883", "--upstream mqtt://:1883: the host is missing"),
            (
                "mqtt://a:0",
                "--upstream mqtt://a:0: the port behind the host must be a number from 1 to 65535",
            ),
            ("mqtt://a:", "--upstream mqtt://a:: the port behind the host must be a number from 1 to 65535"),
            ("mqtt://a:+1", "--upstream mqtt://a: the port behind the host must be a number from 1 to 65535"),
            (
                "mqtt://a:99999",
                "--upstream mqtt://a:99999: the port behind the host must be a number from 1 to 65535",
            ),
            ("mqtt://::1", "--upstream mqtt://::1: an IPv6 address must be in brackets, such as [::1]:1883"),
            ("mqtt://[::1", "--upstream mqtt://[::1: the ] behind the IPv6 address is missing"),
            ("mqtt://[a]", "--upstream mqtt://[a]: between [ and ] there must be an IPv6 address"),
            ("mqtt://[::1]99", "--upstream mqtt://[::1]: behind ] there may be only a port, such as ]:1883"),
            ("mqtt://a/b", "--upstream mqtt://a: must not have a path after the host"),
            ("mqtt://a?topics=a/#", "--upstream mqtt://a: write # as %23"),
            ("mqtt://a?max_qos=1&max_qos=2", "--upstream mqtt://a: parameter max_qos is given twice"),
            ("mqtt://a?max_qos=3", "--upstream mqtt://a: max_qos: 3 is not 0, 1 or 2"),
            ("mqtt://a?subscription_qos=x", "--upstream mqtt://a: subscription_qos: must be a whole number"),
            ("mqtt://a?version=6", "--upstream mqtt://a: version: \"6\" is not \"3.1.1\" or \"5\""),
            ("mqtt://a?bidirectional", "--upstream mqtt://a: bidirectional: must be true or false"),
            ("mqtt://a?clean_session=1", "--upstream mqtt://a: clean_session: must be true or false"),
            (
                "mqtt://a?keep_alive_secs=65536",
                "--upstream mqtt://a: keep_alive_secs: 65536 is not within 0 to 65535",
            ),
            ("mqtt://a?name=", "--upstream mqtt://a: name: must have 1 to 128 characters"),
            (
                "mqtt://a?name=%2",
                "--upstream mqtt://a: name: behind each % there must be two hexadecimal digits (% itself is %25)",
            ),
            (
                "mqtt://a?name=%+1",
                "--upstream mqtt://a: name: behind each % there must be two hexadecimal digits (% itself is %25)",
            ),
            ("mqtt://a?name=%FF", "--upstream mqtt://a: name: must be UTF-8 when it is decoded"),
            (
                "mqtt://a?insecure_skip_verify=true",
                "--upstream mqtt://a: insecure_skip_verify: has a meaning with mqtts:// or wss:// only",
            ),
            (
                "mqtt://a?ca_cert_path=/a",
                "--upstream mqtt://a: ca_cert_path: has a meaning with mqtts:// or wss:// only",
            ),
            (
                "mqtt://a?subscription_topics=a",
                "--upstream mqtt://a: subscription_topics: has a meaning with bidirectional=true only",
            ),
            ("mqtt://:p@a", "--upstream mqtt://***@a: username: must be given with a password in MQTT 3.1.1"),
        ] {
            assert_eq!(problem(url), expected, "{url}");
        }
        let unknown = problem("mqtt://a?qos=1");
        assert!(unknown.starts_with("--upstream mqtt://a: unknown parameter qos; known are name, version, "));
        assert!(unknown.contains(", max_qos, ") && !unknown.contains(" address"), "{unknown}");
        let shown = problem("mqtts://a?tls_psk_identity=x&tls_psk=00ff");
        assert!(
            shown.ends_with("tls_psk: must be env:NAME or file:/path, because a command line is no secret")
        );
        let problem = problem("mqtt://a?topics=a/%23/b");
        assert!(problem.starts_with("--upstream mqtt://a: topics: \"a/#/b\": "), "{problem}");
    }

    #[test]
    fn each_mistake_in_a_backlog_is_named() {
        for (url, expected) in [
            (
                "mqtt://a?start_at=later",
                "--upstream mqtt://a: start_at: \"later\" is not \"now\", \"earliest\", an offset or a time such as \
                 2026-01-31T08:00:00Z",
            ),
            ("mqtt://a?queue_bytes_max=64k", "--upstream mqtt://a: queue_bytes_max: must be a whole number"),
            ("mqtt://a?queue_bytes_max=1", "--upstream mqtt://a: queue_bytes_max: must be 65536 or more"),
            (
                "mqtt://a?on_full=x",
                "--upstream mqtt://a: on_full: \"x\" is not \"drop_oldest\" or \"reject\"",
            ),
            (
                "mqtt://a?max_rate_messages=0",
                "--upstream mqtt://a: max_rate_messages: 0 is not within 1 to 4294967295",
            ),
            ("mqtt://a?max_rate_bytes=-1", "--upstream mqtt://a: max_rate_bytes: must be a whole number"),
            ("mqtt://a?live_first", "--upstream mqtt://a: live_first: must be true or false"),
        ] {
            assert_eq!(problem(url), expected, "{url}");
        }
    }

    #[test]
    fn two_brokers_must_not_have_one_name() {
        let urls = ["mqtt://a", "mqtt://b?name=a:1883"].map(str::to_owned);
        let problem = read_all(&urls).err().unwrap().to_string();
        let expected = "another one has the name \"a:1883\" already; add ?name= with a name of its own";
        assert_eq!(problem, format!("--upstream mqtt://b: {expected}"));
        let urls: Vec<String> = (0..300).map(|number| format!("mqtt://a?name={number}")).collect();
        assert!(
            read_all(&urls).err().unwrap().to_string().ends_with("300 brokers are given, at most 256 may be")
        );
    }

    #[test]
    fn no_mistake_shows_a_part_of_the_password() {
        for url in [
            "mqtt://user:hunter2",
            "mqtt://user:hunter2@",
            "mqtt://user:hunter2@a:x",
            "mqtt://user:hunter2@a?max_qos=9",
            "mqtt://user:hunter2@a/path",
            "mqtt://user:hunter2@a#",
            "mqtt://user:hunter2/x@a",
            "mqtt://user:x/hunter2@a",
            "mqtt://user:1?hunter2@a",
            "mqtt://user:1?x=hunter2@a",
            "mqtt://user:x@1?hunter2@a",
            "mqtt://user:hunter2#x@a",
            "mqtt://user:hunter2%@a",
            "mqtt://user:hunter2%00@a",
            "mqtt://user:hunter2@[::1",
            "mqtt:user:hunter2@a",
            "user:hunter2@a",
            "user:hunter2://@a",
            "ftp://user:hunter2@a",
            "mqtt://a?password=hunter2",
        ] {
            let problem = problem(url);
            assert!(!problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
