//! What the kernel knows about the broker's process: its CPU time and its memory.

use std::fs;

#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub resident_kib: u64,
    pub peak_kib: u64,
}

/// The CPU time of all threads, user and system, in nanoseconds.
pub fn cpu_nanos(pid: u32) -> Result<u64, String> {
    let ticked = ticked_nanos(pid)?;
    // The sum over the threads is exact but forgets threads that have ended; the ticks of the process do not.
    let exact = scheduled_nanos(pid).unwrap_or_default();
    let two_ticks = 20_000_000;
    Ok(if exact.abs_diff(ticked) <= two_ticks { exact } else { ticked })
}

/// `utime` and `stime` of /proc/PID/stat. Linux fixes the unit that user space sees at 100 ticks a second.
fn ticked_nanos(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name of the command may contain blanks; the fields after it are counted from its closing bracket.
    let after_name = text.rsplit_once(") ").map(|(_, rest)| rest).ok_or("a malformed /proc/PID/stat")?;
    let ticks: u64 = after_name
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks * 10_000_000)
}

fn scheduled_nanos(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        sum += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// Bytes that the process had written to a disk, as far as the kernel says.
pub fn disk_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

pub fn memory(pid: u32) -> Result<Memory, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Ok(Memory {
        resident_kib: field("VmRSS:").unwrap_or_default(),
        peak_kib: field("VmHWM:").unwrap_or_default(),
    })
}
