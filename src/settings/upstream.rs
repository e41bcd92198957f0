//! `--upstream URL`: reads the URL of an upstream broker, and writes one with its password hidden.

use actors::broker::{Backlog, BrokerSource, Secret};
use actors::{Broker, BrokerChanges, BrokerId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use uuid::Uuid;

use super::{SettingsError, UpstreamArgument};

/// The parameters that may stand behind the `?`.
const PARAMETERS: [&str; 18] = [
    "name",
    "version",
    "max_qos",
    "topics",
    "start_at",
    "queue_bytes_max",
    "on_full",
    "max_rate_messages",
    "max_rate_bytes",
    "live_first",
    "bidirectional",
    "client_id_prefix",
    "keep_alive_secs",
    "clean_session",
    "insecure_skip_verify",
    "ca_cert_path",
    "subscription_topics",
    "subscription_qos",
];

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
    let (scheme, rest) = url.split_once("://").ok_or("must start with mqtt:// or mqtts://")?;
    let use_tls = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err("must start with mqtt:// or mqtts://".to_owned()),
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
    if !path.is_empty() {
        return Err("must not have a path after the host".to_owned());
    }
    let mut changes = BrokerChanges { use_tls: Some(use_tls), ..BrokerChanges::default() };
    read_authority(authority, &mut changes)?;
    for (index, parameter) in query.split('&').enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let repeated = query.split('&').take(index).any(|other| other.split('=').next() == Some(name));
        if repeated {
            return Err(format!("{} is given twice", shown_name(name)));
        }
        read_parameter(name, value, &mut changes)?;
    }
    let broker = changes.clone().create(BrokerId(Uuid::nil()), BrokerSource::CommandLine).map_err(
        |error| match error.field {
            "insecure_skip_verify" | "ca_cert_path" if !use_tls => {
                format!("{}: has a meaning with mqtts:// only", error.field)
            }
            "subscription_topics" if changes.bidirectional != Some(true) => {
                "subscription_topics: has a meaning with bidirectional=true only".to_owned()
            }
            _ => error.to_string(),
        },
    )?;
    Ok((changes, broker))
}

/// `[user[:password]@]host[:port]`; the name becomes `host:port`.
fn read_authority(authority: &str, changes: &mut BrokerChanges) -> Result<(), String> {
    let (user, host_and_port) = match authority.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, authority),
    };
    if let Some(user) = user {
        let (user, password) =
            user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
        let user = decoded("user", user)?;
        changes.username = Some((!user.is_empty()).then_some(user));
        if let Some(password) = password {
            changes.password = Some(Some(Secret::new(decoded("password", password)?)));
        }
    }
    let (host, port) = split_port(host_and_port)?;
    let default_port = if changes.use_tls == Some(true) { 8883 } else { 1883 };
    let port = match port {
        None => default_port,
        Some(digits) => digits
            .parse::<u16>()
            .ok()
            .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or("the port behind the host must be a number from 1 to 65535")?,
    };
    let host = decoded("host", host)?;
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    changes.name =
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") });
    changes.address = Some(host);
    changes.port = Some(u32::from(port));
    Ok(())
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

fn read_parameter(name: &str, value: &str, changes: &mut BrokerChanges) -> Result<(), String> {
    let text = || decoded(name, value);
    match name {
        "name" => changes.name = Some(text()?),
        "version" => changes.version = Some(text()?),
        "max_qos" => changes.max_qos = Some(Some(qos(name, &text()?)?)),
        "topics" => changes.topics = Some(list(name, value)?),
        "start_at" => changes.start_at = Some(Some(text()?)),
        "queue_bytes_max" => changes.queue_bytes_max = Some(Some(whole_number(name, &text()?)?)),
        "on_full" => changes.on_full = Some(Some(text()?)),
        "max_rate_messages" => changes.max_rate_messages = Some(Some(whole_number(name, &text()?)?)),
        "max_rate_bytes" => changes.max_rate_bytes = Some(Some(whole_number(name, &text()?)?)),
        "live_first" => changes.live_first = Some(boolean(name, &text()?)?),
        "bidirectional" => changes.bidirectional = Some(boolean(name, &text()?)?),
        "client_id_prefix" => changes.client_id_prefix = Some(text()?),
        "keep_alive_secs" => {
            let secs = text()?.parse::<u16>().map_err(|_| format!("{name}: must be from 0 to 65535"))?;
            changes.keep_alive_secs = Some(u32::from(secs));
        }
        "clean_session" => changes.clean_session = Some(boolean(name, &text()?)?),
        "insecure_skip_verify" => changes.insecure_skip_verify = Some(boolean(name, &text()?)?),
        "ca_cert_path" => changes.ca_cert_path = Some(Some(text()?)),
        "subscription_topics" => changes.subscription_topics = Some(list(name, value)?),
        "subscription_qos" => changes.subscription_qos = Some(qos(name, &text()?)?),
        _ => return Err(format!("unknown {}; known are {}", shown_name(name), PARAMETERS.join(", "))),
    }
    Ok(())
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

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{name}: must be true or false"))
}

fn whole_number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name}: must be a whole number"))
}

fn qos(name: &str, value: &str) -> Result<u32, String> {
    value.parse().ok().filter(|qos| *qos <= 2).ok_or_else(|| format!("{name}: must be 0, 1 or 2"))
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
    let join = |topics: &[mqtt::TopicFilter]| {
        topics.iter().map(|topic| encode(topic.as_str())).collect::<Vec<_>>().join(",")
    };
    let scheme = if broker.tls.is_some() { "mqtts" } else { "mqtt" };
    let user = match (&broker.username, &broker.password) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", encode(user.as_deref().unwrap_or_default())),
        (user, Some(_)) => format!("{}:***@", encode(user.as_deref().unwrap_or_default())),
    };
    let host =
        if broker.address.contains(':') { format!("[{}]", broker.address) } else { encode(&broker.address) };
    let mut parameters = vec![
        format!("name={}", encode(&broker.name)),
        format!("version={}", broker.version),
        format!("client_id_prefix={}", encode(&broker.client_id_prefix)),
        format!("keep_alive_secs={}", broker.keep_alive_secs),
        format!("clean_session={}", broker.clean_session),
    ];
    if let Some(tls) = &broker.tls {
        parameters.push(format!("insecure_skip_verify={}", tls.insecure_skip_verify));
        if let Some(path) = &tls.ca_cert_path {
            parameters.push(format!("ca_cert_path={}", encode(&path.display().to_string())));
        }
    }
    if !broker.rule.topics.is_empty() {
        parameters.push(format!("topics={}", join(&broker.rule.topics)));
    }
    if let Some(qos) = broker.rule.max_qos {
        parameters.push(format!("max_qos={}", qos.as_u8()));
    }
    parameters.extend(shown_backlog(&broker.backlog));
    if let Some(subscription) = &broker.subscription {
        parameters.push("bidirectional=true".to_owned());
        parameters.push(format!("subscription_topics={}", join(&subscription.topics)));
        parameters.push(format!("subscription_qos={}", subscription.qos.as_u8()));
    }
    format!("{scheme}://{user}{host}:{}?{}", broker.port, parameters.join("&"))
}

/// The parameters of a backlog, as far as it is not the usual one.
fn shown_backlog(backlog: &Backlog) -> Vec<String> {
    let mut parameters = Vec::new();
    let usual = Backlog::default();
    if backlog.start_at != usual.start_at {
        let start_at = backlog.start_at.to_string();
        parameters.push(format!("start_at={}", utf8_percent_encode(&start_at, ENCODED)));
    }
    if let Some(bytes) = backlog.queue_bytes_max {
        parameters.push(format!("queue_bytes_max={bytes}"));
    }
    if backlog.on_full != usual.on_full {
        parameters.push(format!("on_full={}", backlog.on_full.as_str()));
    }
    if let Some(rate) = backlog.max_rate_messages {
        parameters.push(format!("max_rate_messages={rate}"));
    }
    if let Some(rate) = backlog.max_rate_bytes {
        parameters.push(format!("max_rate_bytes={rate}"));
    }
    if backlog.live_first {
        parameters.push("live_first=true".to_owned());
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::broker::OnFull;
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
        assert_eq!(tls.ca_cert_path.unwrap().to_str(), Some("/etc/ca file.pem"));
        let subscription = broker.subscription.unwrap();
        assert_eq!(subscription.topics[0].as_str(), "down/+");
        assert_eq!(subscription.qos, QoS::ExactlyOnce);
        for name in PARAMETERS {
            assert!(url.contains(&format!("{name}=")), "{name} is not tested");
        }
    }

    #[test]
    fn what_is_shown_reads_as_the_same_broker() {
        for url in [
            "mqtt://a",
            "mqtt://a?start_at=17",
            "mqtt://a?start_at=2026-01-31T09:00:00.5%2B01:00&queue_bytes_max=65536&on_full=reject&live_first=true",
            "mqtt://a?max_rate_messages=5&max_rate_bytes=6",
            "mqtt://ü@a:99?topics=a/%23,b/%2B,c%2Cd&max_qos=0&name=a%26b",
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
            ("a:1883", "--upstream URL: must start with mqtt:// or mqtts://"),
            ("http://a", "--upstream http://a: must start with mqtt:// or mqtts://"),
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
            (
                "mqtt://a?qos=1",
                "--upstream mqtt://a: unknown parameter qos; known are name, version, max_qos, topics, start_at, \
                 queue_bytes_max, on_full, max_rate_messages, max_rate_bytes, live_first, bidirectional, \
                 client_id_prefix, keep_alive_secs, clean_session, insecure_skip_verify, ca_cert_path, \
                 subscription_topics, subscription_qos",
            ),
            ("mqtt://a?max_qos=1&max_qos=2", "--upstream mqtt://a: parameter max_qos is given twice"),
            ("mqtt://a?max_qos=3", "--upstream mqtt://a: max_qos: must be 0, 1 or 2"),
            ("mqtt://a?subscription_qos=x", "--upstream mqtt://a: subscription_qos: must be 0, 1 or 2"),
            ("mqtt://a?version=6", "--upstream mqtt://a: version: \"6\" is not \"3.1.1\" or \"5\""),
            ("mqtt://a?bidirectional", "--upstream mqtt://a: bidirectional: must be true or false"),
            ("mqtt://a?clean_session=1", "--upstream mqtt://a: clean_session: must be true or false"),
            (
                "mqtt://a?keep_alive_secs=65536",
                "--upstream mqtt://a: keep_alive_secs: must be from 0 to 65535",
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
                "--upstream mqtt://a: insecure_skip_verify: has a meaning with mqtts:// only",
            ),
            (
                "mqtt://a?ca_cert_path=/a",
                "--upstream mqtt://a: ca_cert_path: has a meaning with mqtts:// only",
            ),
            (
                "mqtt://a?subscription_topics=a",
                "--upstream mqtt://a: subscription_topics: has a meaning with bidirectional=true only",
            ),
            ("mqtt://:p@a", "--upstream mqtt://***@a: username: must be given with a password in MQTT 3.1.1"),
        ] {
            assert_eq!(problem(url), expected, "{url}");
        }
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
            ("mqtt://a?on_full=", "--upstream mqtt://a: on_full: \"\" is not \"drop_oldest\" or \"reject\""),
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
