//! The children of a node, by topic level: a short list, or a hash table once there are many.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::level_tree::Child;

/// Up to this many children are searched one by one, which is faster than hashing and takes less memory.
const FEW_MAX: usize = 8;

/// A map from level to node.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "an unboxed table would make every node bigger for the sake of a few"
)]
pub(crate) enum Children {
    Few(Vec<(Box<str>, Child)>),
    Many(Box<HashMap<Box<str>, Child, RandomState>>),
}

impl Default for Children {
    fn default() -> Children {
        Children::Few(Vec::new())
    }
}

impl Children {
    pub(crate) fn len(&self) -> usize {
        match self {
            Children::Few(list) => list.len(),
            Children::Many(table) => table.len(),
        }
    }

    pub(crate) fn get(&self, level: &str) -> Option<Child> {
        match self {
            Children::Few(list) => list.iter().find(|(name, _)| **name == *level).map(|(_, child)| *child),
            Children::Many(table) => table.get(level).copied(),
        }
    }

    /// Adds a child whose level is not there yet.
    pub(crate) fn insert(&mut self, level: &str, child: Child) {
        debug_assert!(self.get(level).is_none());
        match self {
            Children::Few(list) if list.len() < FEW_MAX => {
                list.reserve_exact(1);
                list.push((level.into(), child));
            }
            Children::Few(list) => {
                let mut table: HashMap<Box<str>, Child, RandomState> = list.drain(..).collect();
                table.insert(level.into(), child);
                *self = Children::Many(Box::new(table));
            }
            Children::Many(table) => {
                table.insert(level.into(), child);
            }
        }
    }

    pub(crate) fn remove(&mut self, level: &str) {
        match self {
            Children::Few(list) => list.retain(|(name, _)| **name != *level),
            Children::Many(table) => {
                table.remove(level);
                if table.len() <= FEW_MAX / 2 {
                    *self = Children::Few(table.drain().collect());
                } else {
                    shrink_if_sparse(table);
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Child)> {
        let (list, table) = match self {
            Children::Few(list) => (Some(list.iter()), None),
            Children::Many(table) => (None, Some(table.iter())),
        };
        let listed = list.into_iter().flatten().map(|(level, child)| (&**level, *child));
        listed.chain(table.into_iter().flatten().map(|(level, child)| (&**level, *child)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        let (list, table) = match self {
            Children::Few(list) => (Some(list.iter_mut()), None),
            Children::Many(table) => (None, Some(table.values_mut())),
        };
        list.into_iter().flatten().map(|(_, child)| child).chain(table.into_iter().flatten())
    }
}

/// Halves a table of which less than an eighth is used.
pub(crate) fn shrink_if_sparse<V>(table: &mut HashMap<Box<str>, V, RandomState>) {
    if table.capacity() > 64 && table.len() < table.capacity() / 8 {
        table.shrink_to(table.capacity() / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_as_a_list_and_as_a_table() {
        let child = |number: u32| Child::new(number).unwrap();
        let mut children = Children::default();
        for number in 1..=100 {
            children.insert(&number.to_string(), child(number));
            assert_eq!(children.len(), number as usize);
        }
        assert!(matches!(children, Children::Many(_)));
        for number in 1..=98 {
            assert_eq!(children.get(&number.to_string()), Some(child(number)));
            children.remove(&number.to_string());
            assert_eq!(children.get(&number.to_string()), None);
        }
        assert!(matches!(children, Children::Few(_)));
        for renamed in children.iter_mut() {
            *renamed = child(renamed.get() + 1_000);
        }
        let mut left: Vec<_> =
            children.iter().map(|(level, child)| (level.to_owned(), child.get())).collect();
        left.sort();
        assert_eq!(left, [("100".to_owned(), 1_100), ("99".to_owned(), 1_099)]);
    }
}
