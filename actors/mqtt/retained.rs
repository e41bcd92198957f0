//! Retained messages: the last one of each Topic Name, found by Topic Filter without looking at all of them.

use crate::topic::level_tree::{LevelTree, Node, ROOT};
use crate::topic::split_level;
use crate::{TopicFilter, TopicName};

/// The retained message of each Topic Name `[MQTT-3.3.1-5]`; `T` is what the owner keeps of it.
#[derive(Debug)]
pub struct RetainedStore<T> {
    tree: LevelTree<(TopicName, T)>,
}

impl<T> RetainedStore<T> {
    /// An empty store.
    pub fn new() -> RetainedStore<T> {
        RetainedStore { tree: LevelTree::new() }
    }

    /// Keeps a value as the last one of its topic; returns the one that it replaces. The store keeps a copy of the
    /// name, so nothing keeps the packet alive that it came in.
    pub fn set(&mut self, topic: TopicName, value: T) -> Option<T> {
        if let Some((_, present)) = self.tree.get_mut(Some(topic.as_str())) {
            return Some(std::mem::replace(present, value));
        }
        self.tree.get_or_insert_with(Some(topic.as_str()), || (topic.detached(), value));
        None
    }

    /// Takes the value of a topic away `[MQTT-3.3.1-6]`.
    pub fn remove(&mut self, topic: &TopicName) -> Option<T> {
        self.tree.remove(Some(topic.as_str())).map(|(_, value)| value)
    }

    /// The value of a topic.
    pub fn get(&self, topic: &TopicName) -> Option<&T> {
        self.tree.get(Some(topic.as_str())).map(|(_, value)| value)
    }

    /// The number of topics that have a value.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether no topic has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every topic and its value, those that start with `$` included, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, &T)> {
        self.tree.values().map(|(topic, value)| (topic, value))
    }

    /// Visits every topic that matches, in no particular order. A filter with a share name is taken by the part
    /// behind it, although a shared subscription gets no retained messages.
    pub fn for_each_match(&self, filter: &TopicFilter, mut visit: impl FnMut(&TopicName, &T)) {
        let mut pending = Vec::new();
        Wanted::of(Some(filter.pattern())).descend(self.tree.node(ROOT), true, &mut pending);
        while let Some((index, wanted)) = pending.pop() {
            let node = self.tree.node(index);
            let Some(wanted) = wanted.behind(&node.rest) else {
                continue;
            };
            if let (Wanted::All | Wanted::End, Some((topic, value))) = (wanted, &node.value) {
                visit(topic, value);
            }
            wanted.descend(node, false, &mut pending);
        }
    }
}

impl<T> Default for RetainedStore<T> {
    fn default() -> RetainedStore<T> {
        RetainedStore::new()
    }
}

/// What the filter still asks for, at some place in the tree.
#[derive(Clone, Copy)]
enum Wanted<'filter> {
    /// Everything from here on: the filter has come to its `#`.
    All,
    /// These levels, of which there is at least one.
    Levels(&'filter str),
    /// No more levels.
    End,
}

impl<'filter> Wanted<'filter> {
    fn of(levels: Option<&'filter str>) -> Wanted<'filter> {
        match levels {
            Some("#") => Wanted::All,
            Some(levels) => Wanted::Levels(levels),
            None => Wanted::End,
        }
    }

    /// What is still asked for behind these levels, each of which has its `/` in front; `None` if they do not fit.
    fn behind(self, rest: &str) -> Option<Wanted<'filter>> {
        let mut wanted = self;
        let mut rest = rest.strip_prefix('/');
        while let Some(levels) = rest {
            let Wanted::Levels(filter_levels) = wanted else {
                return if let Wanted::All = wanted { Some(wanted) } else { None };
            };
            let (level, tail) = split_level(levels);
            let (wanted_level, wanted_tail) = split_level(filter_levels);
            if wanted_level != "+" && wanted_level != level {
                return None;
            }
            (wanted, rest) = (Wanted::of(wanted_tail), tail);
        }
        Some(wanted)
    }

    /// Puts the children that may fit on the list. In the first level a wildcard leaves out the names that start
    /// with `$` `[MQTT-4.7.2-1]`.
    fn descend<P>(self, node: &Node<P>, is_root: bool, pending: &mut Vec<(u32, Wanted<'filter>)>) {
        let (level, behind) = match self {
            Wanted::End => return,
            Wanted::All => ("+", Wanted::All),
            Wanted::Levels(levels) => {
                let (level, tail) = split_level(levels);
                (level, Wanted::of(tail))
            }
        };
        if level == "+" {
            let fitting = node.children.iter().filter(|(level, _)| !(is_root && level.starts_with('$')));
            pending.extend(fitting.map(|(_, child)| (child.get(), behind)));
        } else if let Some(child) = node.children.get(level) {
            pending.push((child.get(), behind));
        }
    }
}
