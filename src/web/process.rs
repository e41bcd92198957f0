//! What the kernel says about this process, in the names that Prometheus users know. On a system without `/proc`
//! there is nothing to say.

use std::fmt::Write;
use std::fs;

/// Clock ticks per second in `/proc/self/stat`: USER_HZ, which is 100 on every platform that Rust supports.
const TICKS_PER_SEC: f64 = 100.0;

/// The process metrics as Prometheus text.
pub fn metrics() -> String {
    let mut text = String::new();
    let read = |path| fs::read_to_string(path).ok();
    if let Some(secs) = read("/proc/self/stat").as_deref().and_then(cpu_secs) {
        append(
            &mut text,
            "process_cpu_seconds_total",
            "counter",
            "user and system CPU time in seconds",
            secs,
        );
    }
    if let Some(bytes) = read("/proc/self/status").as_deref().and_then(resident_bytes) {
        append(&mut text, "process_resident_memory_bytes", "gauge", "resident memory in bytes", bytes);
    }
    if let Some(count) = open_fds() {
        append(&mut text, "process_open_fds", "gauge", "open file descriptors", count);
    }
    text
}

/// Appends one metric without labels.
pub fn append(text: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
        .expect("writing to a String cannot fail");
}

/// Fields 14 and 15 of `stat`; the name in field 2 may hold blanks and parentheses, but nothing after it does.
fn cpu_secs(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SEC)
}

/// `VmRSS` of `status`, which is in kibibytes whatever the page size.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kibibytes) * 1_024.0)
}

/// The entries of `fd` but the one for reading them.
fn open_fds() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let stat = "4711 (a (strange) name) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 20 0 8 0 1234";
        assert_eq!(cpu_secs(stat), Some(3.0));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t8\n"), Some(2_097_152.0));
        assert_eq!((cpu_secs("nonsense"), resident_bytes("nonsense")), (None, None));
        assert_eq!(cpu_secs(")"), None);
    }
}
