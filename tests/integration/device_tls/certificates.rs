//! Certificates that change while the proxy runs.

use super::{certified, listening};
use crate::support::certificates::{Authority, Issued, Wanted};
use crate::support::device::Device;
use crate::support::packets::Connect;
use crate::support::tls::Client;
use crate::support::{Version, wait_until};

/// A server's certificate that a client on this machine accepts, with this common name.
fn renewed(authority: &Authority, common_name: &str) -> Issued {
    authority.issue(common_name, &Wanted::server().called(common_name))
}

#[test]
fn a_new_certificate_is_shown_to_the_next_connection_and_the_others_stay() {
    let (authority, server) = certified();
    let proxy = listening(&server).start();
    let client = Client::trusting(&authority);
    let mut device = Device::connect_over(client.wire(proxy.tls()), &Connect::new(Version::V5, "device"));
    assert_eq!(client.name_shown(proxy.tls()), "localhost");
    for name in ["second", "third"] {
        renewed(&authority, name).replace(&server);
        wait_until("the new certificate is shown", || client.name_shown(proxy.tls()) == name);
        wait_until("the log says it", || {
            proxy.log().contains(&format!("tls: certificate of CN={name}, valid"))
        });
    }
    device.ping();
    assert!(!proxy.log().contains("stays"), "{}", proxy.log());
}

#[test]
fn a_bad_certificate_is_told_once_and_the_old_one_stays() {
    let (authority, server) = certified();
    let proxy = listening(&server).start();
    let client = Client::trusting(&authority);
    let told = |words: &str| proxy.log().lines().filter(|line| line.contains(words)).count();
    let kept = "tls: the certificate in use stays: server.tls_";

    // The key of another certificate.
    let mixed = Issued::pair(&renewed(&authority, "second"), &renewed(&authority, "other"));
    mixed.replace(&server);
    wait_until("the mistake is told", || {
        assert_eq!(client.name_shown(proxy.tls()), "localhost");
        told(kept) == 1
    });
    assert_eq!(told("the key does not fit the certificate"), 1, "{}", proxy.log());

    // No certificate at all, then none that can be read.
    std::fs::write(&server.cert, "nothing\n").expect("a file can be written");
    wait_until("the mistake is told", || {
        assert_eq!(client.name_shown(proxy.tls()), "localhost");
        told(kept) == 2
    });
    std::fs::remove_file(&server.cert).expect("a file can be removed");
    wait_until("the mistake is told", || {
        assert_eq!(client.name_shown(proxy.tls()), "localhost");
        told(kept) == 3
    });

    renewed(&authority, "third").replace(&server);
    wait_until("the next good one is shown", || client.name_shown(proxy.tls()) == "third");
    assert_eq!(told(kept), 3, "{}", proxy.log());
}

#[test]
fn the_authority_of_clients_may_change_too() {
    let (authority, server) = certified();
    let (before, after) = (Authority::new("Before"), Authority::new("After"));
    let (old, new) =
        (before.issue("old", &Wanted::client("old")), after.issue("new", &Wanted::client("new")));
    let proxy = listening(&server)
        .environment("MQTT_PROXY__SERVER__TLS_CLIENT_CA_PATH", &before.path().display().to_string())
        .start();
    let enters = |issued: &Issued| {
        let client = Client::trusting(&authority).presenting(issued);
        super::refusals::enter(&client, proxy.tls()).is_ok()
    };
    assert!(enters(&old) && !enters(&new));
    std::fs::write(before.path(), after.pem()).expect("a certificate can be written");
    wait_until("the new authority holds", || enters(&new));
    assert!(!enters(&old));
}
