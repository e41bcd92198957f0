//! The broker under test as a process: the proxy or Debian's mosquitto, started with an empty directory of its own and
//! ended by SIGTERM.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::mosquitto;
use crate::options::Options;
use crate::process::{self, Memory};

const START_DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Proxy,
    Mosquitto,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Subject::Proxy => "mqtt-proxy",
            Subject::Mosquitto => "mosquitto",
        })
    }
}

pub struct Broker {
    subject: Subject,
    child: Child,
    port: u16,
    directory: Directory,
}

impl Broker {
    /// Starts the subject in front of `upstreams` (ports on this host) and waits until it accepts connections.
    pub fn start(subject: Subject, options: &Options, qos: u8, upstreams: &[u16]) -> Result<Broker, String> {
        let directory = Directory::create(options.data_dir.as_deref())?;
        let port = free_port()?;
        let mut command = match subject {
            Subject::Proxy => proxy_command(options, port, free_port()?, &directory.0, upstreams),
            Subject::Mosquitto => mosquitto::command(options, qos, port, &directory.0, upstreams)?,
        };
        let log = |name: &str| {
            File::create(directory.0.join(name)).map_err(|error| format!("cannot create a log file: {error}"))
        };
        command.stdin(Stdio::null()).stdout(log("stdout")?).stderr(log("stderr")?);
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        let mut broker = Broker { subject, child, port, directory };
        broker.wait_until_it_accepts()?;
        Ok(broker)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn cpu_nanos(&self) -> Result<u64, String> {
        process::cpu_nanos(self.child.id()).map_err(|reason| self.with_log(&reason))
    }

    pub fn disk_bytes(&self) -> u64 {
        process::disk_bytes(self.child.id())
    }

    pub fn memory(&self) -> Result<Memory, String> {
        process::memory(self.child.id()).map_err(|reason| self.with_log(&reason))
    }

    /// The reason together with the last lines that the process wrote.
    pub fn with_log(&self, reason: &str) -> String {
        let text = fs::read_to_string(self.directory.0.join("stderr")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n    ");
        format!("{}: {reason}\n    {tail}", self.subject)
    }

    /// Ends the process and complains unless it ends by itself and well.
    pub fn stop(mut self) -> Result<(), String> {
        match self.terminate() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.with_log(&format!("ended with {status} after SIGTERM"))),
            None => Err(self.with_log("did not end after SIGTERM and was killed")),
        }
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.with_log(&format!("ended with {status} before it accepted a connection")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(self.with_log("accepted no connection in time"))
    }

    /// Ends the process if it still runs. `None` when it had to be killed.
    fn terminate(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => thread::sleep(Duration::from_millis(20)),
                Err(_) => break,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.terminate();
    }
}

fn proxy_command(options: &Options, port: u16, web: u16, directory: &Path, upstreams: &[u16]) -> Command {
    let mut command = Command::new(&options.proxy);
    command.arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--web").arg(format!("127.0.0.1:{web}"));
    command.arg("--data").arg(directory.join("data"));
    for (index, upstream) in upstreams.iter().enumerate() {
        let name = index + 1;
        let version = if options.version == 5 { "&version=5" } else { "" };
        command.arg("--upstream").arg(format!("mqtt://127.0.0.1:{upstream}?name=null-{name}{version}"));
    }
    if let Some(policy) = &options.policy {
        command.env("MQTT_PROXY__ACKNOWLEDGEMENT__POLICY", policy);
    }
    command.args(&options.proxy_arguments);
    command.envs(options.proxy_environment.iter().cloned());
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "warn");
    }
    command
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// The directory of a broker: below the one that the options name, where it is kept, or a temporary one that is removed
/// when the broker is.
struct Directory(PathBuf, Keep);

#[derive(PartialEq, Eq)]
enum Keep {
    Forever,
    WhileItRuns,
}

impl Directory {
    fn create(parent: Option<&Path>) -> Result<Directory, String> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let keep = if parent.is_some() { Keep::Forever } else { Keep::WhileItRuns };
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = parent.join(format!("fan-out-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("data"))
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Directory(path, keep))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.1 == Keep::WhileItRuns {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
