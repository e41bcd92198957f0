//! Who has subscribed to one Topic Filter: most often one, sometimes everybody.

use std::collections::BTreeMap;

/// Up to this many subscribers stand in one sorted list.
const FEW_MAX: usize = 32;

/// A map from subscriber to options, in the order of the subscribers.
#[derive(Debug)]
pub(crate) enum Subscribers<K, V> {
    One(K, V),
    Few(Vec<(K, V)>),
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for Subscribers<K, V> {
    fn default() -> Subscribers<K, V> {
        Subscribers::Few(Vec::new())
    }
}

impl<K: Copy + Ord, V> Subscribers<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Subscribers::One(..) => false,
            Subscribers::Few(list) => list.is_empty(),
            Subscribers::Many(table) => table.is_empty(),
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Subscribers::One(present, options) if *present == key => {
                return Some(std::mem::replace(options, value));
            }
            Subscribers::One(..) => {
                if let Subscribers::One(present, options) = std::mem::take(self) {
                    let pair = [(present, options), (key, value)];
                    let mut list = Vec::from(pair);
                    list.sort_unstable_by_key(|(key, _)| *key);
                    *self = Subscribers::Few(list);
                }
            }
            Subscribers::Few(list) if list.is_empty() => *self = Subscribers::One(key, value),
            Subscribers::Few(list) => match list.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(index) => return Some(std::mem::replace(&mut list[index].1, value)),
                Err(index) if list.len() < FEW_MAX => list.insert(index, (key, value)),
                Err(_) => {
                    let mut table: BTreeMap<K, V> = list.drain(..).collect();
                    table.insert(key, value);
                    *self = Subscribers::Many(table);
                }
            },
            Subscribers::Many(table) => return table.insert(key, value),
        }
        None
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Subscribers::One(present, _) if *present == key => match std::mem::take(self) {
                Subscribers::One(_, value) => Some(value),
                _ => None,
            },
            Subscribers::One(..) => None,
            Subscribers::Few(list) => {
                let index = list.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                let (_, value) = list.remove(index);
                if list.len() == 1 {
                    *self = list
                        .pop()
                        .map_or_else(Subscribers::default, |(key, value)| Subscribers::One(key, value));
                }
                Some(value)
            }
            Subscribers::Many(table) => {
                let value = table.remove(&key)?;
                if table.len() <= FEW_MAX / 2 {
                    *self = Subscribers::Few(std::mem::take(table).into_iter().collect());
                }
                Some(value)
            }
        }
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        match self {
            Subscribers::One(key, value) => visit(key, value),
            Subscribers::Few(list) => list.iter().for_each(|(key, value)| visit(key, value)),
            Subscribers::Many(table) => table.iter().for_each(|(key, value)| visit(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_a_table_and_shrinks_to_nothing() {
        let mut subscribers = Subscribers::default();
        assert!(subscribers.is_empty());
        for key in (0..100).rev() {
            assert_eq!(subscribers.insert(key, "old"), None);
            assert_eq!(subscribers.insert(key, "new"), Some("old"));
        }
        assert!(matches!(subscribers, Subscribers::Many(_)));
        for key in 0..100 {
            let mut keys = Vec::new();
            subscribers.for_each(|key, _| keys.push(*key));
            assert_eq!(keys, (key..100).collect::<Vec<_>>());
            assert_eq!(subscribers.remove(key), Some("new"));
            assert_eq!(subscribers.remove(key), None);
        }
        assert!(subscribers.is_empty());
        assert!(matches!(subscribers, Subscribers::Few(list) if list.capacity() == 0));
    }

    #[test]
    fn one_subscriber_takes_no_list() {
        let mut subscribers = Subscribers::default();
        subscribers.insert(7_u64, 1_u64);
        assert!(matches!(subscribers, Subscribers::One(7, 1)));
        assert!(size_of::<Subscribers<u64, u64>>() <= 32);
    }
}
