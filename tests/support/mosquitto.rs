//! Real mosquitto brokers on loopback ports of their own.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::process::Process;
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
        Mosquitto::start_with("allow_anonymous true\n")
    }

    /// Starts one with these lines in its configuration.
    pub fn start_with(settings: &str) -> Mosquitto {
        let mut broker = Mosquitto::stopped_with(settings);
        broker.resume_process();
        broker
    }

    /// One that has its place and its settings, but does not run yet.
    pub fn stopped() -> Mosquitto {
        Mosquitto::stopped_with("allow_anonymous true\n")
    }

    fn stopped_with(settings: &str) -> Mosquitto {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let port = reserve_port();
        let text = format!(
            "listener {port} 127.0.0.1\npersistence false\nmax_queued_messages 0\nlog_dest stderr\n{settings}"
        );
        std::fs::write(home.path().join("mosquitto.conf"), text).expect("the configuration can be written");
        Mosquitto { home, port, process: None }
    }

    /// Starts the process where it does not run.
    pub fn resume_process(&mut self) {
        let config: PathBuf = self.home.path().join("mosquitto.conf");
        let mut process = Process::spawn("mosquitto", Command::new(executable()).arg("-c").arg(config));
        wait_until("mosquitto listens", || {
            assert!(process.is_running(), "mosquitto ended: {}", process.output());
            TcpStream::connect(self.address()).is_ok()
        });
        self.process = Some(process);
    }

    /// Kills the process; sessions and retained messages are gone with it.
    pub fn stop(&mut self) {
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
