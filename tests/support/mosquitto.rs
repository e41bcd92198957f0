//! Real mosquitto brokers on loopback ports of their own.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::process::{Process, run};
use super::wait_until;

/// A mosquitto process; its port stays the same when it is stopped and started again.
pub struct Mosquitto {
    home: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts one that takes anyone in.
    pub fn start() -> Mosquitto {
        let mut broker = Mosquitto::stopped();
        broker.resume_process();
        broker
    }

    /// Starts one that takes anyone in, with one more line in its configuration.
    pub fn start_with_setting(line: &str) -> Mosquitto {
        let mut broker = Mosquitto::stopped_with(&format!("allow_anonymous true\n{line}\n"));
        broker.resume_process();
        broker
    }

    /// Starts one that takes anyone in, with one more line in its configuration, and speaks TLS 1.2 at most: for that
    /// only OpenSSL itself has a setting.
    pub fn start_with_old_tls(line: &str) -> Mosquitto {
        let mut broker = Mosquitto::stopped_with(&format!("allow_anonymous true\n{line}\n"));
        let text = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = old\n[old]\n\
                    MaxProtocol = TLSv1.2\n";
        std::fs::write(broker.openssl_settings(), text).expect("the settings can be written");
        broker.resume_process();
        broker
    }

    /// Where settings of OpenSSL stand, if there are any.
    fn openssl_settings(&self) -> PathBuf {
        self.home.path().join("openssl.cnf")
    }

    /// Starts one that keeps sessions and retained messages when it is stopped and started again.
    pub fn start_with_memory() -> Mosquitto {
        // As root, mosquitto would become a user who cannot write there.
        let mut broker = Mosquitto::stopped_with("allow_anonymous true\npersistence true\nuser root\n");
        broker.add_setting(&format!("persistence_location {}/", broker.home.path().display()));
        broker.resume_process();
        broker
    }

    /// Starts one that takes in this user only.
    pub fn start_with_user(username: &str, password: &str) -> Mosquitto {
        let mut broker = Mosquitto::stopped_with("allow_anonymous false\nuser root\n");
        let file = broker.home.path().join("passwords");
        let mut command = Command::new("mosquitto_passwd");
        let done = run("mosquitto_passwd", command.args(["-b", "-c"]).arg(&file).args([username, password]));
        assert_eq!(done.code, Some(0), "{}", done.output);
        broker.add_setting(&format!("password_file {}", file.display()));
        broker.resume_process();
        broker
    }

    fn add_setting(&self, line: &str) {
        let file = self.home.path().join("mosquitto.conf");
        let text = std::fs::read_to_string(&file).expect("the configuration can be read");
        std::fs::write(&file, format!("{text}{line}\n")).expect("the configuration can be written");
    }

    /// One that has its place and its settings, but does not run yet.
    pub fn stopped() -> Mosquitto {
        Mosquitto::stopped_with("allow_anonymous true\n")
    }

    fn stopped_with(settings: &str) -> Mosquitto {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let port = reserve_port();
        let text = format!("listener {port} 127.0.0.1\nmax_queued_messages 0\nlog_dest stderr\n{settings}");
        std::fs::write(home.path().join("mosquitto.conf"), text).expect("the configuration can be written");
        Mosquitto { home, port, process: None }
    }

    /// Starts the process where it does not run.
    pub fn resume_process(&mut self) {
        let config: PathBuf = self.home.path().join("mosquitto.conf");
        let mut command = Command::new(executable());
        command.arg("-c").arg(config);
        if self.openssl_settings().exists() {
            command.env("OPENSSL_CONF", self.openssl_settings());
        }
        let mut process = Process::spawn("mosquitto", &mut command);
        wait_until("mosquitto listens", || {
            assert!(process.is_running(), "mosquitto ended: {}", process.output());
            TcpStream::connect(self.address()).is_ok()
        });
        self.process = Some(process);
    }

    /// Ends the process in order; without persistence, sessions and retained messages are gone with it.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("mosquitto runs");
        process.signal("TERM");
        process.wait();
    }

    /// Ends the process without a word.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Makes it hang: connections stay open and nothing is answered.
    pub fn freeze(&self) {
        self.process().signal("STOP");
    }

    /// Ends the hanging.
    pub fn thaw(&self) {
        self.process().signal("CONT");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port))
    }

    /// The port on 127.0.0.1 where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("mosquitto runs")
    }
}

/// A port below the range that outgoing connections take, so that it stays free while nobody listens there.
pub fn reserve_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 15_000 + u16::try_from(std::process::id() % 150).expect("below 150") * 100;
    for _ in 0..10_000 {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// Debian keeps mosquitto where only root's PATH looks.
fn executable() -> PathBuf {
    let found = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].map(PathBuf::from);
    found.into_iter().find(|path| path.exists()).unwrap_or_else(|| PathBuf::from("mosquitto"))
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("---- log of mosquitto on port {} ----\n{}", self.port, process.output());
        }
    }
}
