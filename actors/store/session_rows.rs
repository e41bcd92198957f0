//! The rows of one session in the tables: how they are written and how all of them go.

use std::ops::Bound;

use bytes::BufMut;
use mqtt::Message;
use redb::Table;

use super::fields::MessageParts;
use super::slot::{Outcome, Slot};
use super::tables::Tables;

/// Does what a slot asks for with its place. Returns whether anything changed.
pub fn put<'k, K: redb::Key + 'static, V: for<'v> redb::Value<SelfType<'v> = T> + 'static, T>(
    table: &mut Table<'_, K, V>,
    key: K::SelfType<'k>,
    slot: Slot<T>,
) -> Result<bool, redb::Error> {
    match slot.outcome() {
        Outcome::Nothing => return Ok(false),
        Outcome::Put(value) => drop(table.insert(key, value)?),
        Outcome::Remove => drop(table.remove(key)?),
    }
    Ok(true)
}

/// Writes a Will, or takes it away. Returns whether anything changed.
pub fn write_will(
    key: u128,
    will: Option<&(u32, Message)>,
    tables: &mut Tables<'_>,
) -> Result<bool, redb::Error> {
    let Some((delay_secs, message)) = will else {
        return Ok(tables.wills.remove(key)?.is_some());
    };
    let mut bytes = Vec::new();
    bytes.put_u32_le(*delay_secs);
    MessageParts::from(message).put(&mut bytes);
    tables.wills.insert(key, &bytes[..])?;
    Ok(true)
}

/// Removes all rows of a session or a broker. Returns whether there were any.
pub fn clear(key: u128, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
    let mut any = tables.sessions.remove(key)?.is_some();
    any |= tables.wills.remove(key)?.is_some();
    let behind = key.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((next, "")));
    tables.subscriptions.retain_in((Bound::Included((key, "")), behind), |_, _| {
        any = true;
        false
    })?;
    tables.deliveries.retain_in((key, 0)..=(key, u64::MAX), |_, _| {
        any = true;
        false
    })?;
    tables.delivery_ids.retain_in((key, 0)..=(key, u16::MAX), |_, _| false)?;
    tables.inbound.retain_in((key, 0)..=(key, u16::MAX), |_, _| {
        any = true;
        false
    })?;
    Ok(any)
}
