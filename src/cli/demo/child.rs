//! The brokers and the proxy of the demo: child processes of this same program, none of which outlives it.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal};

use super::super::serve::{self, ServeArguments};
use super::Failure;

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a child may take until it listens.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// How long a child may drain; it is killed when it takes longer than this and a moment.
const DRAIN_SECS: u64 = 2;
const STOP_DEADLINE: Duration = Duration::from_secs(DRAIN_SECS + 2);

/// The flags of a child.
#[derive(Args)]
pub struct ChildArguments {
    /// The process whose end is this one's end
    #[arg(long)]
    parent: u32,
    #[command(flatten)]
    serve: ServeArguments,
}

/// Runs the proxy as a child of the demo: also when the demo is killed, this process ends.
pub fn run_child(arguments: ChildArguments) -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::work(format!("the end of the demo cannot be awaited: {error}")))?;
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    if parent.and_then(|parent| u32::try_from(parent).ok()) != Some(arguments.parent) {
        // The demo ended before this process could ask to be told.
        return Ok(());
    }
    serve::run(arguments.serve)
}

/// What all children share.
pub struct Surroundings<'a> {
    /// A directory that the demo removes; children keep their data there and find no settings file.
    pub directory: &'a Path,
    /// The dashboard's files, as an absolute path.
    pub static_dir: &'a Path,
    /// What children log, where the user did not choose.
    pub log_filters: Option<&'a str>,
}

/// A child process. It is killed when this is dropped.
pub struct Child {
    name: &'static str,
    process: std::process::Child,
}

impl Child {
    /// Starts a proxy that listens at these addresses and heeds no settings of the user.
    pub fn start(
        name: &'static str,
        listen: SocketAddr,
        web: SocketAddr,
        surroundings: &Surroundings<'_>,
    ) -> Result<Child, Failure> {
        let cannot = |error| Failure::work(format!("{name} cannot be started: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("serve-for-demo").args(["--parent", &std::process::id().to_string()]);
        command.args(["--listen", &listen.to_string(), "--web", &web.to_string(), "--data", name]);
        command.current_dir(surroundings.directory);
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_setting(variable)) {
            command.env_remove(variable);
        }
        command.env("MQTT_PROXY__WEB__STATIC_DIR", surroundings.static_dir);
        command.env("MQTT_PROXY__SERVER__DRAIN_TIMEOUT_SECS", DRAIN_SECS.to_string());
        if let Some(filters) = surroundings.log_filters {
            command.env("RUST_LOG", filters);
        }
        // A group of its own: Ctrl-C in a terminal is for the demo, which then ends its children in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Child { name, process: command.spawn().map_err(cannot)? })
    }

    /// Waits until the child takes connections at these addresses.
    pub async fn listening(&mut self, addresses: &[SocketAddr]) -> Result<(), Failure> {
        let start = Instant::now();
        while !addresses.iter().all(|address| TcpStream::connect_timeout(address, LOOK).is_ok()) {
            self.still_running()?;
            if start.elapsed() > START_DEADLINE {
                let secs = START_DEADLINE.as_secs();
                return Err(Failure::work(format!("{} does not listen after {secs} s", self.name)));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.still_running()
    }

    fn still_running(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::work(format!("{} has ended ({status})", self.name))),
            Err(error) => Err(Failure::work(format!("{} cannot be watched: {error}", self.name))),
        }
    }

    /// SIGTERM, if it still runs.
    pub fn terminate(&mut self) {
        if self.still_running().is_ok() {
            // One that ended in between needs no signal.
            let _ = rustix::process::kill_process(Pid::from_child(&self.process), Signal::TERM);
        }
    }

    /// Waits for the end after [`Child::terminate`], and makes it where it takes too long.
    pub async fn ended(mut self) {
        let start = Instant::now();
        while self.still_running().is_ok() && start.elapsed() < STOP_DEADLINE {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let waited: std::io::Result<Option<ExitStatus>> = self.process.try_wait();
        if !matches!(waited, Ok(Some(_))) {
            // Nothing more can be done where the system refuses this.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Waits until one of the children ends by itself, which none should.
pub async fn any_ended(children: &mut [Child]) -> Failure {
    loop {
        for child in children.iter_mut() {
            if let Err(failure) = child.still_running() {
                return failure;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether an environment variable changes what the proxy does.
fn is_setting(variable: &OsStr) -> bool {
    variable.to_string_lossy().starts_with("MQTT_PROXY")
}
