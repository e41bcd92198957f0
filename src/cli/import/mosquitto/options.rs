//! The options of one connection besides its addresses and topics.

use serde_json::{Map, Value, json};

use super::lines::Line;
use super::{Connection, Notes};

/// Options that a definition has no place for, and what to do instead.
const NOT_TRANSLATED: &[(&str, &str)] = &[
    ("bridge_bind_address", "the system chooses the address that connections start from: set a route there"),
    ("bridge_tcp_keepalive", "MQTT's own Keep Alive finds lost connections: set keep_alive_secs"),
    ("bridge_tcp_user_timeout", "MQTT's own Keep Alive finds lost connections: set keep_alive_secs"),
    ("bridge_ciphers", "the ciphers are those of OpenSSL's defaults: set them in openssl.cnf"),
    ("bridge_ciphers_tls1.3", "the ciphers are those of OpenSSL's defaults: set them in openssl.cnf"),
    ("bridge_tls_engine", "keys are read from files or from the definition itself"),
    ("bridge_reload_type", "a change of the definition takes effect at once"),
    (
        "bridge_session_expiry_interval",
        "without clean_session the broker is asked to keep the session for a week",
    ),
    ("bridge_receive_maximum", "the proxy says its own Receive Maximum"),
    ("bridge_max_topic_alias", "Topic Aliases are used where the broker allows them and they pay"),
    ("local_cleansession", "what waits for a broker is always kept"),
    ("local_clientid", "the proxy is the local broker: there is no connection to it"),
    ("local_username", "the proxy is the local broker: there is no connection to it"),
    ("local_password", "the proxy is the local broker: there is no connection to it"),
    ("idle_timeout", "the connection is always kept up"),
    ("threshold", "the connection is always kept up"),
    ("notification_topic", "the proxy tells of its brokers by /api/brokers, /metrics and its own $SYS"),
    ("notifications_local_only", "the proxy tells of its brokers by /api/brokers, /metrics and its own $SYS"),
];

/// Adds the fields of the connection's options.
///
/// # Errors
/// The lines that mosquitto would not take either.
pub fn translate(
    connection: &Connection<'_>,
    is_group: bool,
    fields: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for line in &connection.lines {
        let option = line.option.as_str();
        if let Some((_, instead)) = NOT_TRANSLATED.iter().find(|(name, _)| *name == option) {
            notes.add(&line.place, option, format!("not translated: {instead}"));
            continue;
        }
        let done = of_session(line, is_group, fields, notes)
            .and_then(|known| if known { Ok(true) } else { of_behaviour(line, fields, notes) })
            .and_then(|known| if known { Ok(true) } else { of_tls(line, fields, notes) });
        match done {
            Ok(true) => {}
            Ok(false) => notes.add(&line.place, option, "not translated: it is not known here"),
            Err(problem) => problems.push(format!("{}: {option}: {problem}", line.place)),
        }
    }
    if connection.lines.iter().all(|line| line.option != "remote_clientid" && line.option != "clientid") {
        let text = "the broker sees a new Client Identifier; to go on with the session of mosquitto's bridge, set \
                    fixed_client_id to NAME.HOSTNAME of the machine where mosquitto ran";
        notes.add(&connection.start.place, "remote_clientid", text);
    }
    complete_credentials(connection, fields, notes);
    complete_tls(connection, fields, notes);
    complete_loop_guard(connection, fields);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    fields.insert(name.to_owned(), value);
}

/// Who connects, and as what.
fn of_session(
    line: &Line,
    is_group: bool,
    fields: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<bool, String> {
    match line.option.as_str() {
        "address" | "addresses" | "topic" => {}
        "bridge_protocol_version" => match line.value.as_str() {
            "mqttv311" => put(fields, "version", json!("3.1.1")),
            "mqttv50" => put(fields, "version", json!("5")),
            "mqttv31" => {
                put(fields, "version", json!("3.1.1"));
                notes.add(&line.place, &line.option, "MQTT 3.1 is not spoken: 3.1.1 is used instead");
            }
            _ => return Err("must be mqttv50, mqttv311 or mqttv31".to_owned()),
        },
        "remote_username" | "username" => put(fields, "username", json!(line.value)),
        "remote_password" | "password" => put(fields, "password", json!(line.value)),
        "remote_clientid" | "clientid" => {
            put(fields, "fixed_client_id", json!(line.value));
            let text = "the proxy and mosquitto must not both connect with it: stop mosquitto's bridge first";
            notes.add(&line.place, &line.option, text);
            if is_group {
                let text = "all brokers of the group get it; where they are nodes of one cluster, give each \
                            definition a fixed_client_id of its own";
                notes.add(&line.place, &line.option, text);
            }
        }
        "cleansession" => put(fields, "clean_session", json!(boolean(line)?)),
        "keepalive_interval" => {
            let seconds = number(line, 5, u64::from(u16::MAX))?;
            put(fields, "keep_alive_secs", json!(seconds));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// When to connect, and what is changed about messages.
fn of_behaviour(line: &Line, fields: &mut Map<String, Value>, notes: &mut Notes) -> Result<bool, String> {
    let mut note = |text: &str| notes.add(&line.place, &line.option, text);
    match line.option.as_str() {
        "restart_timeout" => {
            let mut seconds = line.value.split_whitespace().map(seconds_of);
            let base = seconds.next().unwrap_or_else(|| Err("the time is missing".to_owned()))?;
            let cap = seconds.next().unwrap_or(Ok(base))?;
            if cap < base {
                return Err("the cap is less than the base".to_owned());
            }
            put(fields, "retry_floor_ms", json!(base * 1000));
            put(fields, "retry_ceiling_ms", json!(cap * 1000));
        }
        "start_type" => match line.value.as_str() {
            "automatic" => {}
            "lazy" => note("not translated: the connection is made at once and always kept up"),
            "once" => note("not translated: a lost connection is always made again"),
            _ => return Err("must be automatic, lazy or once".to_owned()),
        },
        "round_robin" => {
            if boolean(line)? {
                note("the brokers of the group get the same group_priority");
            }
        }
        "notifications" => {
            if boolean(line)? {
                note(
                    "not translated: the proxy tells of its brokers by /api/brokers, /metrics and its own $SYS",
                );
            }
        }
        "bridge_attempt_unsubscribe" => {
            if boolean(line)? {
                note(
                    "not translated: a session that was subscribed to more keeps that; forget it by \
                      connecting once with clean_session",
                );
            }
        }
        // Its effect depends on other lines too.
        "try_private" => drop(boolean(line)?),
        "bridge_max_packet_size" => {
            let bytes = number(line, 0, u64::from(u32::MAX))?;
            if bytes > 0 {
                put(fields, "max_payload_bytes", json!(bytes));
                note(
                    "the payload alone is limited, not the whole packet: lower max_payload_bytes by the \
                      length of the longest topic and 10 where the limit must hold for packets",
                );
            }
        }
        "bridge_outgoing_retain" => {
            if !boolean(line)? {
                put(fields, "retain", json!("clear"));
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// How the connection is secured.
fn of_tls(line: &Line, fields: &mut Map<String, Value>, notes: &mut Notes) -> Result<bool, String> {
    match line.option.as_str() {
        "bridge_cafile" => put(fields, "ca_cert_path", json!(line.value)),
        "bridge_capath" => notes.add(
            &line.place,
            &line.option,
            "not translated: put the certificates of the directory into one PEM file and name it in ca_cert_path; \
             until then the system's certificates count",
        ),
        "bridge_certfile" => put(fields, "client_cert_path", json!(line.value)),
        "bridge_keyfile" => put(fields, "client_key_path", json!(line.value)),
        "bridge_identity" => put(fields, "tls_psk_identity", json!(line.value)),
        "bridge_psk" => put(fields, "tls_psk", json!(line.value)),
        "bridge_alpn" => put(fields, "tls_alpn", json!([line.value])),
        "bridge_tls_use_os_certs" => drop(boolean(line)?),
        "bridge_insecure" => {
            if boolean(line)? {
                let text = "not translated: insecure_skip_verify would accept any certificate, not only one with \
                            another name; set tls_server_name to the name on the certificate instead";
                notes.add(&line.place, &line.option, text);
            }
        }
        "bridge_require_ocsp" => {
            if boolean(line)? {
                let text = "not translated: whether a certificate was revoked is not asked";
                notes.add(&line.place, &line.option, text);
            }
        }
        "bridge_tls_version" => match line.value.as_str() {
            "tlsv1.3" => put(fields, "tls_min_version", json!("1.3")),
            "tlsv1.2" => put(fields, "tls_min_version", json!("1.2")),
            "tlsv1.1" | "tlsv1" => {
                notes.add(&line.place, &line.option, "not translated: the lowest version that is spoken is 1.2");
            }
            _ => return Err("must be tlsv1.3, tlsv1.2 or tlsv1.1".to_owned()),
        },
        _ => return Ok(false),
    }
    Ok(true)
}

/// A password without a user name does nothing in mosquitto.
fn complete_credentials(connection: &Connection<'_>, fields: &mut Map<String, Value>, notes: &mut Notes) {
    if fields.contains_key("password") && !fields.contains_key("username") {
        fields.remove("password");
        for line in connection.lines.iter().filter(|line| line.option.ends_with("password")) {
            notes.add(&line.place, &line.option, "left out: without remote_username it has no effect");
        }
    }
}

/// TLS is used where there are certificates to trust or a key: nothing else turns it on in mosquitto.
fn complete_tls(connection: &Connection<'_>, fields: &mut Map<String, Value>, notes: &mut Notes) {
    let given = |option: &str| connection.lines.iter().find(|line| line.option == option);
    let has_key = given("bridge_psk").is_some();
    let uses_system = given("bridge_tls_use_os_certs").is_some_and(|line| line.value == "true");
    if given("bridge_cafile").is_some() || given("bridge_capath").is_some() || has_key || uses_system {
        put(fields, "use_tls", json!(true));
        return;
    }
    const FIELDS: [(&str, &str); 5] = [
        ("bridge_certfile", "client_cert_path"),
        ("bridge_keyfile", "client_key_path"),
        ("bridge_identity", "tls_psk_identity"),
        ("bridge_alpn", "tls_alpn"),
        ("bridge_tls_version", "tls_min_version"),
    ];
    for (option, field) in FIELDS {
        if let (Some(line), Some(_)) = (given(option), fields.remove(field)) {
            let text = "left out: without bridge_cafile, bridge_capath or bridge_psk, mosquitto uses no TLS; \
                        set use_tls and this field to change that";
            notes.add(&line.place, option, format!("{text} ({field})"));
        }
    }
}

/// Without the bridge bit, a 3.1.1 broker sends our own messages back.
fn complete_loop_guard(connection: &Connection<'_>, fields: &mut Map<String, Value>) {
    let refuses = |line: &&Line| line.option == "try_private" && line.value == "false";
    if connection.lines.iter().any(refuses) && fields.get("version") != Some(&json!("5")) {
        put(fields, "loop_guard", json!("credits"));
    }
}

fn boolean(line: &Line) -> Result<bool, String> {
    match line.value.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn number(line: &Line, least: u64, most: u64) -> Result<u64, String> {
    let number = line.value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a number within {least} to {most}"))
}

fn seconds_of(word: &str) -> Result<u64, String> {
    let seconds = word.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.ok_or_else(|| "must be seconds within 1 to 3600".to_owned())
}
