//! The one clock of a run: publisher and upstreams live in this process, so that a stamp made by one is read by the
//! other without any agreement about time.

use std::thread;
use std::time::{Duration, Instant};

/// Nanoseconds since the harness began.
#[derive(Clone, Copy)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { epoch: Instant::now() }
    }

    pub fn nanos(self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Sleeps until the clock shows at least `due` and returns what it shows then.
    pub fn sleep_until(self, due: u64) -> u64 {
        loop {
            let now = self.nanos();
            if now >= due {
                return now;
            }
            thread::sleep(Duration::from_nanos(due - now));
        }
    }
}

/// Asks the kernel to wake this thread on time instead of up to 50 microseconds late. It is only a wish: where the
/// file is missing the pace is a little coarser.
pub fn wake_this_thread_on_time() {
    let Ok(link) = std::fs::read_link("/proc/thread-self") else { return };
    if let Some(thread) = link.file_name().and_then(|name| name.to_str()) {
        let _ = std::fs::write(format!("/proc/{thread}/timerslack_ns"), "1");
    }
}
