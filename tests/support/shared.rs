//! One running proxy for many tests that do not disturb each other: each uses Client Identifiers and topics of its
//! own. It ends with the last test that holds it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::proxy::Proxy;

static RUNNING: Mutex<Weak<Proxy>> = Mutex::new(Weak::new());

/// A hold on the proxy that runs with everything at its default.
pub struct Shared(Arc<Proxy>);

/// The proxy that runs already, or a new one.
pub fn proxy() -> Shared {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let proxy = running.upgrade().unwrap_or_else(|| Arc::new(Proxy::start()));
    *running = Arc::downgrade(&proxy);
    Shared(proxy)
}

impl Deref for Shared {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last holder shows the log by itself; whoever fails before shows the end of it, which is its own part.
        if std::thread::panicking() && Arc::strong_count(&self.0) > 1 {
            let log = self.0.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines.len().saturating_sub(50);
            eprintln!("---- end of the log of the shared proxy ----\n{}", lines[end..].join("\n"));
        }
    }
}
