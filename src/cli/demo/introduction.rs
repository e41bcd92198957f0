//! What the demo tells its user: where everything is, and what to try.

use std::net::SocketAddr;

use super::{Places, client_host};

/// The words before the messages. `program` is how the user calls this program.
pub fn text(program: &str, places: &Places, has_dashboard: bool, toggled_id: &str) -> String {
    let Places { proxy, web, brokers: [first, second] } = *places;
    let dashboard = if has_dashboard {
        format!("http://{web}/")
    } else {
        "its files are not here: start the demo from the root of the repository".to_owned()
    };
    let (ours, mosquitto) = (our_flags(proxy), mosquitto_flags(proxy));
    let (ours_second, mosquitto_second) = (our_flags(second), mosquitto_flags(second));
    format!(
        "\
A device publishes a temperature once a second to the proxy, which forwards it to two brokers.

  devices connect to  mqtt://{proxy}
  dashboard           {dashboard}
  REST API            http://{web}/api/brokers
  broker-1            mqtt://{first}
  broker-2            mqtt://{second}

Try in another terminal:

  Publish once; it arrives twice below:
    {program} pub {ours} --topic hello --message world --qos 1
    mosquitto_pub {mosquitto} -t hello -m world -q 1

  Watch what arrives at broker-2:
    {program} sub {ours_second} --topic '#'
    mosquitto_sub {mosquitto_second} -t '#' -v

  Stop forwarding to broker-1, and see broker-2 go on; the same again resumes:
    curl -X POST http://{web}/api/brokers/{toggled_id}/toggle

  Ask how the proxy is:
    curl http://{web}/api/status

Ctrl-C ends the demo; it leaves nothing behind. Messages as they arrive:

"
    )
}

/// Where to connect, as flags of `pub` and `sub`; what is the default is left out.
fn our_flags(address: SocketAddr) -> String {
    match client_host(address) {
        host if host == "127.0.0.1" => format!("--port {}", address.port()),
        host => format!("--host {host} --port {}", address.port()),
    }
}

/// Where to connect, as flags of the clients of mosquitto.
fn mosquitto_flags(address: SocketAddr) -> String {
    format!("-h {} -p {}", client_host(address), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_the_real_addresses() {
        let at = |text: &str| text.parse().expect("an address");
        let brokers = [at("127.0.0.1:3"), at("[::1]:4")];
        let places = Places { proxy: at("127.0.0.1:1"), web: at("127.0.0.1:2"), brokers };
        let shown = text("./it", &places, true, "the-id");
        for line in [
            "mqtt://127.0.0.1:1\n",
            "http://127.0.0.1:2/\n",
            "./it pub --port 1 --topic hello",
            "mosquitto_pub -h 127.0.0.1 -p 1 ",
            "./it sub --host ::1 --port 4 ",
            "mosquitto_sub -h ::1 -p 4 ",
            "curl -X POST http://127.0.0.1:2/api/brokers/the-id/toggle\n",
        ] {
            assert!(shown.contains(line), "{line:?} is not in {shown}");
        }
        assert!(text("./it", &places, false, "").contains("root of the repository"));
    }
}
