//! The real proxy as a child process with a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use super::process::Process;
use super::rest::Rest;
use super::{Version, wait_for};

/// A running proxy. When the test fails, its log is shown.
pub struct Proxy {
    setup: Setup,
    process: Process,
    listening: Listening,
}

/// Where it can be reached.
struct Listening {
    mqtt: SocketAddr,
    tls: Option<SocketAddr>,
    web: SocketAddr,
}

/// How the log says where devices connect over TLS.
const OVER_TLS: &str = "mqtt over tls listening on ";

/// How a proxy is to be started.
pub struct Setup {
    home: TempDir,
    settings: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    data: Option<PathBuf>,
    files_max: Option<usize>,
}

/// `mqtt-proxy` with a clean environment, to be run in this directory.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-proxy"));
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MQTT_PROXY") {
            command.env_remove(name);
        }
    }
    command.env_remove("LOG_LEVEL").env("RUST_LOG", "info");
    command
}

impl Setup {
    /// Everything at its default, ports chosen by the system.
    pub fn new() -> Setup {
        Setup {
            home: tempfile::tempdir().expect("a temporary directory can be made"),
            settings: String::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            data: None,
            files_max: None,
        }
    }

    /// Lines for the settings file.
    pub fn settings(mut self, text: &str) -> Setup {
        self.settings.push_str(text);
        self.settings.push('\n');
        self
    }

    /// An upstream broker on the command line.
    pub fn upstream(self, url: &str) -> Setup {
        self.argument("--upstream").argument(url)
    }

    /// One more argument.
    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    /// An environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Stores in this directory, which is there already.
    pub fn data_in(mut self, directory: &Path) -> Setup {
        self.data = Some(directory.to_owned());
        self
    }

    /// May open so many files at most, sockets among them.
    pub fn files_max(mut self, count: usize) -> Setup {
        self.files_max = Some(count);
        self
    }

    /// The directory that holds settings and data.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The directory that the proxy stores in.
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.home.path().join("data"))
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        std::fs::create_dir_all(self.data()).expect("the data directory can be made");
        let mut command = command(self.home());
        command.args(["serve", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--data"]).arg(self.data());
        if !self.settings.is_empty() {
            let file = self.home().join("settings.toml");
            std::fs::write(&file, &self.settings).expect("the settings can be written");
            command.arg("--config").arg(file);
        }
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        match self.files_max {
            Some(count) => with_files_max(count, &command),
            None => command,
        }
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Proxy {
        let (process, listening) = self.spawn();
        Proxy { setup: self, process, listening }
    }

    fn spawn(&self) -> (Process, Listening) {
        let mut process = Process::spawn("the proxy", &mut self.command());
        let listening = wait_for("the proxy says that it is ready", || {
            let running = process.is_running();
            let log = process.output();
            assert!(running, "the proxy ended at its start:\n{log}");
            let ready = log.lines().any(|line| line.trim_end().ends_with("ready"));
            ready.then(|| Listening {
                mqtt: address_after(&log, "mqtt listening on "),
                tls: log.contains(OVER_TLS).then(|| address_after(&log, OVER_TLS)),
                web: address_after(&log, "web listening on "),
            })
        });
        (process, listening)
    }
}

/// The same command, whose process may open so many files.
fn with_files_max(count: usize, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().expect("the proxy has a directory"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

fn address_after(log: &str, sign: &str) -> SocketAddr {
    let rest = log.split(sign).nth(1).unwrap_or_else(|| panic!("{sign:?} is not in the log:\n{log}"));
    let address = rest.split_whitespace().next().unwrap_or_default();
    address.parse().unwrap_or_else(|error| panic!("{address:?}: {error}"))
}

impl Proxy {
    /// Starts one with everything at its default.
    pub fn start() -> Proxy {
        Setup::new().start()
    }

    /// Starts one and adds these brokers on 127.0.0.1, which are connected then.
    pub fn with_brokers(brokers: &[(&str, u16, Version)]) -> Proxy {
        let proxy = Proxy::start();
        for (name, port, version) in brokers {
            let id = proxy.rest().add_local(name, *port, *version);
            proxy.rest().wait_connected(&id);
        }
        proxy
    }

    /// Where devices connect.
    pub fn mqtt(&self) -> SocketAddr {
        self.listening.mqtt
    }

    /// Where devices connect over TLS.
    pub fn tls(&self) -> SocketAddr {
        self.listening.tls.expect("the proxy was told to listen for TLS")
    }

    /// Where the web side listens.
    pub fn web(&self) -> SocketAddr {
        self.listening.web
    }

    /// The REST API.
    pub fn rest(&self) -> Rest {
        Rest::at(self.listening.web)
    }

    /// The directory that it stores in.
    pub fn data(&self) -> PathBuf {
        self.setup.data()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.process.resident_kib()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// SIGTERM; the exit status is for [`Proxy::wait`].
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.process.signal("INT");
    }

    /// SIGSTOP: it does nothing until [`Proxy::thaw`].
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// SIGKILL. Nothing but [`Proxy::start_again`] and what looks at files makes sense then.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end, which must be a good one.
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "the proxy ended with {status}");
    }

    /// A new start on the same data directory, after the end; the ports are new.
    pub fn start_again(&mut self) {
        (self.process, self.listening) = self.setup.spawn();
    }

    /// A new start that is killed after this time, wherever it is by then.
    pub fn start_and_kill_after(&mut self, time: std::time::Duration) {
        self.process = Process::spawn("the proxy", &mut self.setup.command());
        std::thread::sleep(time);
        self.process.kill();
    }

    /// SIGKILL and a new start on the same data directory; the ports are new.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// SIGTERM and a new start on the same data directory; the ports are new.
    pub fn stop_and_restart(&mut self) {
        self.stop();
        self.start_again();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of the proxy ----\n{}", self.process.output());
        }
    }
}
