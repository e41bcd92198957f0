//! The command line, the settings, and a start and a stop that leave nothing behind.

use std::net::TcpListener;
use std::process::Command;

use crate::support::device::Device;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::peers::Peer;
use crate::support::process::{Finished, Process, run};
use crate::support::proxy::{Proxy, Setup, command};
use crate::support::scripted::Scripted;
use crate::support::{Version, wait_until};

const SERVER_SHUTTING_DOWN: u8 = 0x8B;

/// Runs `mqtt-proxy` with these arguments to its end.
fn run_with(arguments: &[&str]) -> Finished {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    run("mqtt-proxy", command(home.path()).args(arguments))
}

/// Runs `mqtt-proxy check` on these settings.
fn check(settings: &str, arguments: &[&str]) -> Finished {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let file = home.path().join("settings.toml");
    std::fs::write(&file, settings).expect("the settings can be written");
    run("mqtt-proxy", command(home.path()).args(["check", "--config"]).arg(&file).args(arguments))
}

/// One clear line, and this exit code.
fn assert_refused(ended: &Finished, code: i32, signs: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
    let line = ended.output.lines().find(|line| signs.iter().all(|sign| line.contains(sign)));
    assert!(line.is_some(), "no line has all of {signs:?}: {}", ended.output);
}

#[test]
fn sigterm_ends_everything_in_order() {
    let broker = Mosquitto::start();
    let watched = Scripted::listen();
    let mut proxy = Setup::new()
        .upstream(&format!("mqtt://127.0.0.1:{}?name=real", broker.port()))
        .upstream(&format!("mqtt://127.0.0.1:{}?name=watched", watched.port()))
        .upstream("mqtt://127.0.0.1:1?name=absent")
        .start();
    let mut link = watched.welcome(false);
    proxy.rest().wait_connected(&proxy.rest().id_of("real"));
    let at_real = Peer::subscriber(broker.address(), Version::V4, "peer", "#", 1);
    let mut old = Device::connect(proxy.mqtt(), Version::V4, "old");
    let mut new = Device::connect(proxy.mqtt(), Version::V5, "new");
    new.say("t", "the last one", 1);
    assert_eq!(link.take().text(), "the last one");

    proxy.terminate();
    assert_eq!(new.disconnect_reason(), SERVER_SHUTTING_DOWN);
    old.wire.expect_close();
    let goodbye = link.wait_closed();
    assert_eq!(
        goodbye.last().map(|packet| packet.first),
        Some(0xE0),
        "upstreams get a DISCONNECT: {goodbye:?}"
    );
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
    wait_until("what was acknowledged arrived", || {
        at_real.messages().iter().any(|message| message.text() == "the last one")
    });
}

#[test]
fn ctrl_c_ends_it_too() {
    let mut proxy = Proxy::start();
    proxy.interrupt();
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
}

#[test]
fn an_upstream_that_hangs_does_not_hold_up_the_end() {
    let upstream = Scripted::listen();
    let url = format!("mqtt://127.0.0.1:{}?name=mute", upstream.port());
    let mut proxy = Setup::new().settings("[server]\ndrain_timeout_secs = 1").upstream(&url).start();
    let mut link = upstream.welcome(false);
    Device::connect(proxy.mqtt(), Version::V4, "device").say("t", "never acknowledged", 1);
    assert_eq!(link.publish().text(), "never acknowledged");
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
}

#[test]
fn a_stop_waits_for_what_upstreams_still_have_to_acknowledge() {
    let upstream = Scripted::listen();
    let url = format!("mqtt://127.0.0.1:{}?name=slow", upstream.port());
    let mut proxy = Setup::new().upstream(&url).start();
    let mut link = upstream.welcome(false);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for text in ["one", "two"] {
        device.say("t", text, 1);
    }
    let sent = link.publishes(2);
    proxy.terminate();
    assert_eq!(device.disconnect_reason(), SERVER_SHUTTING_DOWN);
    for message in &sent {
        link.ack(crate::support::packets::kind::PUBACK, message.id);
    }
    let goodbye = link.wait_closed();
    assert_eq!(goodbye.last().map(|packet| packet.first), Some(0xE0), "{goodbye:?}");
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    for flag in ["--listen", "--web"] {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = command(home.path());
        let other = if flag == "--listen" { "--web" } else { "--listen" };
        command.args([flag, &address, other, "127.0.0.1:0", "--data", "data"]);
        assert_refused(&run("mqtt-proxy", &mut command), 1, &[&address]);
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_said_in_one_line() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(home.path().join("file"), "not a directory").expect("the file can be written");
    let mut command = command(home.path());
    command.args(["--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--data", "file"]);
    assert_refused(&run("mqtt-proxy", &mut command), 1, &["file"]);
}

#[test]
fn two_proxies_do_not_share_a_data_directory() {
    let first = Proxy::start();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let mut second = command(home.path());
    second.args(["--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--data"]).arg(first.data());
    assert_refused(&run("mqtt-proxy", &mut second), 1, &[&first.data().display().to_string()]);
    first.rest().status();
}

#[test]
fn an_unknown_key_is_named_with_its_file_and_the_nearest_known_one() {
    let ended = check("[limits]\npacket_byte_max = 5\n", &[]);
    assert_refused(&ended, 2, &["settings.toml", "packet_byte_max", "packet_bytes_max"]);
    let ended = check("[limit]\npacket_bytes_max = 5\n", &[]);
    assert_refused(&ended, 2, &["settings.toml", "limit", "limits"]);
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let mut by_environment = command(home.path());
    by_environment.arg("check").env("MQTT_PROXY__LIMITS__PACKET_BYTE_MAX", "5");
    assert_refused(&run("mqtt-proxy", &mut by_environment), 2, &["PACKET_BYTE_MAX", "PACKET_BYTES_MAX"]);
}

#[test]
fn bad_values_are_refused_with_exit_code_2() {
    for (settings, sign) in [
        ("[limits]\npacket_bytes_max = \"many\"\n", "packet_bytes_max"),
        ("[limits]\npacket_bytes_max = -1\n", "packet_bytes_max"),
        ("[limits]\nreceive_maximum = 0\n", "receive_maximum"),
        ("[limits]\nreceive_maximum = 70000\n", "receive_maximum"),
        ("[server]\nlisten = [\"nonsense\"]\n", "listen"),
        ("[auth]\nrequire_auth = true\n", "username"),
        ("[server\n", "settings.toml"),
    ] {
        assert_refused(&check(settings, &[]), 2, &[sign]);
    }
    assert_refused(&check("", &["--upstream", "http://host"]), 2, &["mqtt://"]);
    assert_refused(&check("", &["--upstream", "mqtt://host?nonsense=1"]), 2, &["nonsense"]);
    assert_refused(&run_with(&["check", "--config", "missing.toml"]), 2, &["missing.toml"]);
    assert_eq!(run_with(&["--nonsense"]).code, Some(2));
}

#[test]
fn check_shows_the_effective_settings_and_no_secret() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let file = home.path().join("settings.toml");
    let text = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"hunter2hunter2\"\n\
                [limits]\nreceive_maximum = 77\n";
    std::fs::write(&file, text).expect("the settings can be written");
    let mut command = command(home.path());
    command.args(["check", "--config"]).arg(&file);
    command.args(["--upstream", "mqtt://ann:hunter3hunter3@host?name=up"]);
    command.env("MQTT_PROXY__LIMITS__TOPIC_ALIAS_MAXIMUM", "13").env("MQTT_PROXY_SECRET", "hunter4hunter4");
    let ended = run("mqtt-proxy", &mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    for sign in ["receive_maximum", "77", "topic_alias_maximum", "13", "ann", "up"] {
        assert!(ended.output.contains(sign), "{sign} is not in {}", ended.output);
    }
    for secret in ["hunter2", "hunter3", "hunter4"] {
        assert!(!ended.output.contains(secret), "{secret} is in {}", ended.output);
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let proxy = Setup::new()
        .settings("[limits]\nreceive_maximum = 5")
        .environment("MQTT_PROXY__LIMITS__RECEIVE_MAXIMUM", "6")
        .start();
    let device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let told = crate::support::packets::number(
        &device.connack.properties,
        crate::support::packets::property::RECEIVE_MAXIMUM,
    );
    assert_eq!(told, Some(6));
}

#[test]
fn it_listens_wherever_it_is_told_to() {
    let port = reserve_port();
    let proxy = Setup::new().argument("--listen").argument(&format!("127.0.0.1:{port}")).start();
    let mut here = Device::connect(proxy.mqtt(), Version::V4, "here");
    let mut there = Device::connect(([127, 0, 0, 1], port).into(), Version::V5, "there");
    here.subscribe("t", 1);
    there.say("t", "across listeners", 1);
    assert_eq!(here.receive().text(), "across listeners");
}

/// `mqtt-proxy pub` or `sub` against a running proxy.
fn client(proxy: &Proxy, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-proxy"));
    let (word, flags) = arguments.split_first().expect("a sub-command");
    command.args([word, "--host", "127.0.0.1", "--port", &proxy.mqtt().port().to_string()]).args(flags);
    command
}

#[test]
fn pub_and_sub_need_no_other_tool() {
    let proxy = Proxy::start();
    let mut listener = Device::connect(proxy.mqtt(), Version::V4, "listener");
    listener.subscribe("cli/#", 2);
    for version in Version::BOTH {
        for qos in ["0", "1", "2"] {
            let flags =
                ["pub", "--topic", "cli/x", "--message", "hello", "--qos", qos, "--version", version.name()];
            let done = run("mqtt-proxy pub", &mut client(&proxy, &flags));
            assert_eq!(done.code, Some(0), "{}", done.output);
            let message = listener.receive();
            assert_eq!((message.text().as_str(), message.qos.to_string().as_str()), ("hello", qos));
        }
        let flags = ["sub", "--topic", "cli/+", "--qos", "1", "--count", "3", "--version", version.name()];
        let mut subscriber = Process::spawn("mqtt-proxy sub", &mut client(&proxy, &flags));
        wait_until("it is subscribed", || proxy.rest().status()["subscriptions"] == 2);
        let done = run(
            "mqtt-proxy pub",
            &mut client(&proxy, &["pub", "--topic", "cli/n", "--count", "3", "--qos", "1"]),
        );
        assert_eq!(done.code, Some(0), "{}", done.output);
        assert_eq!(subscriber.wait().code(), Some(0), "{}", subscriber.output());
        listener.receive_all(3);
        wait_until("the subscription is gone", || proxy.rest().status()["subscriptions"] == 1);
    }
    let done =
        run("mqtt-proxy pub", &mut client(&proxy, &["pub", "--topic", "cli/kept", "-m", "x", "--retain"]));
    assert_eq!(done.code, Some(0), "{}", done.output);
    wait_until("the message is retained", || proxy.rest().status()["retained"] == 1);
}

#[test]
fn pub_and_sub_fail_clearly_where_nobody_listens() {
    let port = reserve_port().to_string();
    for flags in [&["pub", "--topic", "t", "-m", "x"][..], &["sub", "--topic", "t"]] {
        let arguments = [&flags[..1], &["--host", "127.0.0.1", "--port", &port], &flags[1..]].concat();
        assert_refused(&run_with(&arguments), 1, &[&port]);
    }
}

#[test]
fn the_commands_explain_themselves() {
    let help = run_with(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["--upstream", "--listen", "--config", "check", "pub", "sub"] {
        assert!(help.output.contains(word), "{word} is not in {}", help.output);
    }
    let version = run_with(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.output.contains(env!("CARGO_PKG_VERSION")), "{}", version.output);
}

#[test]
fn settings_are_documented_by_command_whatever_the_environment_says() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let mut command = command(home.path());
    command.args(["check", "--documentation"]).env("MQTT_PROXY__WEB__LISTEN", "nonsense");
    let printed = run("mqtt-proxy", &mut command);
    assert_eq!(printed.code, Some(0), "{}", printed.output);
    let row = "| `web.listen` | `\"0.0.0.0:3000\"` | `MQTT_PROXY__WEB__LISTEN` | ";
    for start in [row, "| `RUST_LOG` | ", "| `--data DIR` | "] {
        assert!(printed.output.lines().any(|line| line.starts_with(start)), "{start}: {}", printed.output);
    }
}

#[test]
fn health_is_asked_for_by_command_and_the_exit_code_answers() {
    let proxy = Proxy::start();
    let web = proxy.web().to_string();
    for (arguments, answer) in [
        (vec!["health", "--web", &web], "\"ok\""),
        (vec!["health", "--ready", "--web", &web], "\"ready\":true"),
    ] {
        let asked = run_with(&arguments);
        assert_eq!(asked.code, Some(0), "{}", asked.output);
        assert!(asked.output.contains(answer), "{}", asked.output);
    }
    drop(proxy);
    let asked = run_with(&["health", "--web", &web, "--timeout", "1"]);
    assert_eq!(asked.code, Some(1));
    assert!(asked.output.contains(&web), "{}", asked.output);
}

#[test]
fn a_seed_gives_a_new_proxy_its_brokers_and_what_is_removed_stays_away() {
    let broker = Mosquitto::start();
    let seed = std::env::temp_dir().join(format!("seed-{}.json", uuid::Uuid::new_v4()));
    let brokers = serde_json::json!({"brokers": [
        {"name": "first", "address": "127.0.0.1", "port": broker.port()},
        {"name": "second", "address": "127.0.0.1", "port": 1, "enabled": false},
    ]});
    std::fs::write(&seed, brokers.to_string()).expect("a seed");
    let setting = format!("{}", seed.display());
    let mut proxy = Setup::new().environment("MQTT_PROXY__DATA__SEED", &setting).start();
    let rest = proxy.rest();
    let ids: Vec<String> =
        rest.brokers().iter().map(|broker| broker["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), 2);
    rest.wait_connected(&ids[0]);
    assert_eq!(rest.delete(&format!("/api/brokers/{}", ids[1])).status, 204);
    proxy.kill_and_restart();
    let names: Vec<_> = proxy.rest().brokers().iter().map(|broker| broker["name"].clone()).collect();
    assert_eq!(names, ["first"]);
    std::fs::remove_file(&seed).expect("the seed was there");
}
