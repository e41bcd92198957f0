//! What actors keep on disk besides messages: sessions, retained messages and how far each upstream broker is. The
//! changes stand in the log; the store is what they come to.

pub mod annex;
pub mod annex_codec;
mod bodies;
pub mod change;
mod change_codec;
mod error;
mod fields;
mod group_draft;
pub mod keeper;
#[cfg(test)]
mod samples;
mod session_draft;
mod session_rows;
mod slot;
mod state_store;
mod stored;
mod tables;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::HashMap;

use foldhash::fast::RandomState;

pub use annex::{Annex, Recipient};
pub use change::{Change, LiveCursor, SessionKey};
pub use error::StoreError;
pub use state_store::StateStore;
pub use stored::{DeliveryStage, StoredDelivery, StoredRetained, StoredSession, StoredState, StoredUpstream};

type Map<K, V> = HashMap<K, V, RandomState>;
type OffsetMap<V> = Map<u64, V>;

/// What is in a table, in the order of the keys.
fn sorted<K: Ord, V>(map: Map<K, V>) -> Vec<(K, V)> {
    let mut entries: Vec<(K, V)> = map.into_iter().collect();
    entries.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    entries
}
