//! `mqtt-proxy demo`: what its user sees, and that nothing is left of it, however it ends.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::{Process, run};
use crate::support::proxy::command;
use crate::support::rest::Rest;
use crate::support::{wait_for, wait_until};

const ANY_PORTS: [&str; 8] = [
    "--listen",
    "127.0.0.1:0",
    "--web",
    "127.0.0.1:0",
    "--broker-1",
    "127.0.0.1:0",
    "--broker-2",
    "127.0.0.1:0",
];

/// A directory for what the demo stores, by which its processes are known too: it is where they run.
struct Traces(TempDir);

impl Traces {
    fn none() -> Traces {
        Traces(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    /// The demo, started from the root of the tree.
    fn demo(&self, arguments: &[&str]) -> Command {
        let mut command = command(Path::new(env!("CARGO_MANIFEST_DIR")));
        command.env_remove("RUST_LOG").env("TMPDIR", self.0.path()).arg("demo").args(arguments);
        command
    }

    /// The processes that run below the directory: their directories in /proc.
    fn processes(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir("/proc").expect("there is /proc").flatten().map(|entry| entry.path());
        // What is no process, or ended in between, has no cwd.
        let runs_here = |path: &PathBuf| {
            std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.0.path()))
        };
        all.filter(runs_here).collect()
    }

    /// The process that has this word among its arguments.
    fn process_with(&self, word: &str) -> String {
        let has_word = |path: &&PathBuf| {
            let words = std::fs::read(path.join("cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
        };
        let processes = self.processes();
        let found = processes.iter().find(has_word).unwrap_or_else(|| panic!("no process has {word}"));
        found.file_name().expect("it is named by its number").to_string_lossy().into_owned()
    }

    fn assert_none(&self) {
        assert_eq!(self.processes(), Vec::<PathBuf>::new(), "processes are left");
        let files = std::fs::read_dir(self.0.path()).expect("the directory is there").count();
        assert_eq!(files, 0, "files are left");
    }
}

/// Waits until both brokers have shown this many messages of the device.
fn wait_messages(demo: &Process, count: usize) {
    wait_until("messages arrive at both brokers", || {
        let output = demo.output();
        let at = |broker: &str| {
            let start = format!("{broker}  demo/device-1/temperature ");
            output.lines().filter(|line| line.starts_with(&start)).count()
        };
        at("broker-1") >= count && at("broker-2") >= count
    });
}

#[test]
fn it_shows_one_publish_arrive_at_two_brokers_and_leaves_nothing_behind() {
    let traces = Traces::none();
    let arguments = [&ANY_PORTS[..], &["--seconds", "4"]].concat();
    let mut demo = Process::spawn("the demo", &mut traces.demo(&arguments));
    wait_messages(&demo, 2);
    assert_eq!(traces.processes().len(), 3, "two brokers and the proxy");
    assert_eq!(demo.wait().code(), Some(0), "{}", demo.output());
    traces.assert_none();
    let output = demo.output();
    assert!(output.contains("broker-1  demo/device-1/temperature 21.5\n"), "{output}");
    assert!(output.contains("broker-2  demo/device-1/temperature 21.5\n"), "{output}");
    for unwanted in ["WARN", "ERROR", "INFO", "error:"] {
        assert!(!output.contains(unwanted), "{unwanted} is in {output}");
    }
}

#[test]
fn what_it_tells_the_user_to_try_works() {
    let traces = Traces::none();
    let mut demo = Process::spawn("the demo", &mut traces.demo(&ANY_PORTS));
    wait_messages(&demo, 1);
    let output = demo.output();
    let line_with = |sign: &str| {
        let found = output.lines().find(|line| line.contains(sign));
        found.unwrap_or_else(|| panic!("{sign} is not in {output}")).trim().to_owned()
    };
    let shell = |line: &str| run("a command of the demo", Command::new("sh").args(["-c", line]));

    let url = line_with("dashboard ");
    let web: SocketAddr = wait_for("the dashboard has an address", || {
        url.split("http://").nth(1)?.trim_end_matches('/').parse().ok()
    });
    assert_eq!(Rest::at(web).get("/").status, 200);
    for publish in [line_with(" pub --port"), line_with("mosquitto_pub ").replace("hello", "again")] {
        let done = shell(&publish);
        assert_eq!(done.code, Some(0), "{publish}: {}", done.output);
    }
    wait_until("both messages are shown twice", || {
        let output = demo.output();
        let lines = ["broker-1  hello", "broker-2  hello", "broker-1  again", "broker-2  again"];
        lines.iter().all(|line| output.contains(&format!("{line} world\n")))
    });
    let toggle = line_with("/toggle");
    let path = toggle.split_once(&web.to_string()).expect("it names the proxy").1;
    assert_eq!(Rest::at(web).send("POST", path, None).json()["enabled"], false);
    let before = demo.output().lines().count();
    wait_until("only broker-2 goes on", || {
        let output = demo.output();
        // One message may have been on its way when the toggle was answered.
        let later: Vec<&str> = output.lines().skip(before + 2).take(2).collect();
        later.len() == 2 && later.iter().all(|line| line.starts_with("broker-2  "))
    });
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0), "{}", demo.output());
    traces.assert_none();
}

#[test]
fn it_cleans_up_when_it_is_told_to_stop() {
    for signal in ["TERM", "HUP"] {
        let traces = Traces::none();
        let mut demo = Process::spawn("the demo", &mut traces.demo(&ANY_PORTS));
        wait_messages(&demo, 1);
        demo.signal(signal);
        assert_eq!(demo.wait().code(), Some(0), "{signal}: {}", demo.output());
        traces.assert_none();
    }
}

#[test]
fn it_cleans_up_and_says_which_part_has_failed() {
    for part in ["broker-2", "proxy"] {
        let traces = Traces::none();
        let mut demo = Process::spawn("the demo", &mut traces.demo(&ANY_PORTS));
        wait_messages(&demo, 1);
        let kill = format!("kill -KILL {}", traces.process_with(part));
        assert_eq!(run("kill", Command::new("sh").args(["-c", &kill])).code, Some(0));
        assert_eq!(demo.wait().code(), Some(1), "{part}: {}", demo.output());
        wait_until("the failure is told", || demo.output().contains(&format!("error: {part} has ended")));
        traces.assert_none();
    }
}

#[test]
fn its_children_end_even_when_it_is_killed() {
    let traces = Traces::none();
    let mut demo = Process::spawn("the demo", &mut traces.demo(&ANY_PORTS));
    wait_messages(&demo, 1);
    demo.kill();
    wait_until("no process is left", || traces.processes().is_empty());
}

#[test]
fn a_port_in_use_is_one_line_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    for place in [1, 3, 5, 7] {
        let traces = Traces::none();
        let mut arguments = ANY_PORTS;
        arguments[place] = &address;
        let ended = run("the demo", &mut traces.demo(&arguments));
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        assert_eq!(ended.output.lines().count(), 1, "{}", ended.output);
        assert!(ended.output.contains(&address), "{}", ended.output);
        assert!(ended.output.trim_end().ends_with(arguments[place - 1]), "{}", ended.output);
        traces.assert_none();
    }
}
