//! Groups of upstream brokers: each message reaches one member, another one stands in when that is away, and nothing is
//! lost on the way from one to the other.

mod balance;
mod failover;
mod handover;
mod kill_loop;
mod members;

use serde_json::{Value, json};

use crate::support::keeper::Keeper;
use crate::support::proxy::Proxy;
use crate::support::rest::{Rest, local_broker};
use crate::support::{Version, wait_until};

/// A member of the group `g` on 127.0.0.1.
fn member(name: &str, port: u16, version: Version, priority: u32) -> Value {
    let mut definition = local_broker(name, port, version);
    definition["group"] = json!("g");
    definition["group_priority"] = json!(priority);
    definition["retry_ceiling_ms"] = json!(200);
    definition
}

/// Adds keepers as members of the group `g`, the first one preferred; answers with their ids.
fn add_members(proxy: &Proxy, keepers: &[Keeper], version: Version) -> Vec<String> {
    let numbered = keepers.iter().enumerate();
    numbered
        .map(|(index, keeper)| {
            proxy.rest().add(&member(&format!("k{index}"), keeper.port(), version, index as u32))
        })
        .collect()
}

/// Changes what the group `g` is told.
fn configure(rest: &Rest, fields: &Value) -> Value {
    let reply = rest.put("/api/groups/g", fields);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

/// The group `g` as the API shows it.
fn group(rest: &Rest) -> Value {
    let reply = rest.get("/api/groups/g");
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

/// Waits until this member gets the messages.
fn wait_active(rest: &Rest, name: &str) {
    wait_until(&format!("{name} is active"), || group(rest)["active"] == name);
}

/// Waits until the group has acknowledged everything.
fn wait_group_caught_up(rest: &Rest) {
    wait_until("the group has everything", || {
        let group = group(rest);
        group["lag"] == 0 && group["in_flight"] == 0
    });
}
