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
        let mut steps = usize::MAX;
        self.for_each_match_within(filter, &mut steps, |topic, value| {
            visit(topic, value);
            true
        });
    }

    /// As [`RetainedStore::for_each_match`], for who has not the time to look at everything: ends where `visit` says so,
    /// or when as many places of the tree were looked at as `steps` says, which is counted down. Answers whether all
    /// topics that match were visited.
    pub fn for_each_match_within(
        &self,
        filter: &TopicFilter,
        steps: &mut usize,
        mut visit: impl FnMut(&TopicName, &T) -> bool,
    ) -> bool {
        let mut pending = Vec::new();
        // The levels are found once, and not at every node that one of them is held against.
        let levels: Vec<&str> = filter.pattern().split('/').collect();
        let (root, wanted) = (self.tree.node(ROOT), Wanted::of(&levels));
        // The places of a wide level are put down all at once, so they count before they are looked at.
        if wanted.width(root) > *steps {
            return false;
        }
        wanted.descend(root, true, &mut pending);
        while let Some((index, wanted)) = pending.pop() {
            let Some(steps_left) = steps.checked_sub(1) else { return false };
            *steps = steps_left;
            let node = self.tree.node(index);
            let Some(wanted) = wanted.behind(&node.rest) else {
                continue;
            };
            if let (Wanted::All | Wanted::End, Some((topic, value))) = (wanted, &node.value)
                && !visit(topic, value)
            {
                return false;
            }
            if wanted.width(node) > *steps {
                return false;
            }
            wanted.descend(node, false, &mut pending);
        }
        true
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
    /// This level, and those behind it.
    Levels(&'filter str, &'filter [&'filter str]),
    /// No more levels.
    End,
}

impl<'filter> Wanted<'filter> {
    fn of(levels: &'filter [&'filter str]) -> Wanted<'filter> {
        match levels {
            ["#"] => Wanted::All,
            [level, behind @ ..] => Wanted::Levels(level, behind),
            [] => Wanted::End,
        }
    }

    /// What is still asked for behind these levels, each of which has its `/` in front; `None` if they do not fit.
    fn behind(self, rest: &str) -> Option<Wanted<'filter>> {
        let mut wanted = self;
        let mut rest = rest.strip_prefix('/');
        while let Some(levels) = rest {
            let (wanted_level, wanted_behind) = match wanted {
                Wanted::All => return Some(Wanted::All),
                Wanted::End => return None,
                Wanted::Levels(level, behind) => (level, behind),
            };
            let (level, tail) = split_level(levels);
            if wanted_level != "+" && wanted_level != level {
                return None;
            }
            (wanted, rest) = (Wanted::of(wanted_behind), tail);
        }
        Some(wanted)
    }

    /// How many children may fit, at most.
    fn width<P>(self, node: &Node<P>) -> usize {
        match self {
            Wanted::End => 0,
            Wanted::All | Wanted::Levels("+", _) => node.children.len(),
            Wanted::Levels(..) => 1,
        }
    }

    /// Puts the children that may fit on the list. In the first level a wildcard leaves out the names that start
    /// with `$` `[MQTT-4.7.2-1]`.
    fn descend<P>(self, node: &Node<P>, is_root: bool, pending: &mut Vec<(u32, Wanted<'filter>)>) {
        let (level, behind) = match self {
            Wanted::End => return,
            Wanted::All => ("+", Wanted::All),
            Wanted::Levels(level, behind) => (level, Wanted::of(behind)),
        };
        if level == "+" {
            let fitting = node.children.iter().filter(|(level, _)| !(is_root && level.starts_with('$')));
            pending.extend(fitting.map(|(_, child)| (child.get(), behind)));
        } else if let Some(child) = node.children.get(level) {
            pending.push((child.get(), behind));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::topic::trie::tests::{any_filter, any_topic};

    fn name(text: &str) -> TopicName {
        TopicName::new(text.to_owned()).unwrap()
    }

    fn matches(store: &RetainedStore<u32>, filter: &str) -> Vec<String> {
        let mut topics = Vec::new();
        store.for_each_match(&TopicFilter::new(filter.to_owned()).unwrap(), |topic, _| {
            topics.push(topic.as_str().to_owned());
        });
        topics.sort_unstable();
        topics
    }

    #[test]
    fn a_filter_finds_the_topics_that_it_matches() {
        let mut store = RetainedStore::new();
        for topic in
            ["sensor", "sensor/1", "sensor/1/t", "sensor/1/t/max", "sensor/2/t", "/", "$SYS/up", "é/t"]
        {
            assert_eq!(store.set(name(topic), 0), None);
        }
        let rows: [(&str, &[&str]); 11] = [
            ("sensor/1/t", &["sensor/1/t"]),
            ("sensor/3/t", &[]),
            ("sensor/1/#", &["sensor/1", "sensor/1/t", "sensor/1/t/max"]),
            ("sensor/+/t", &["sensor/1/t", "sensor/2/t"]),
            ("+/+", &["/", "sensor/1", "é/t"]),
            ("+", &["sensor"]),
            ("#", &["/", "sensor", "sensor/1", "sensor/1/t", "sensor/1/t/max", "sensor/2/t", "é/t"]),
            ("+/#", &["/", "sensor", "sensor/1", "sensor/1/t", "sensor/1/t/max", "sensor/2/t", "é/t"]),
            ("$SYS/#", &["$SYS/up"]),
            ("+/up", &[]),
            ("+/+/t/#", &["sensor/1/t", "sensor/1/t/max", "sensor/2/t"]),
        ];
        for (filter, topics) in rows {
            assert_eq!(matches(&store, filter), topics, "{filter}");
        }
        assert_eq!(store.iter().count(), 8);
    }

    #[test]
    fn a_visit_ends_where_its_visitor_or_its_steps_do() {
        let mut store = RetainedStore::new();
        for number in 0..100 {
            store.set(name(&format!("a/{number}")), number);
        }
        let filter = TopicFilter::new("a/+".to_owned()).unwrap();
        let visited = |mut steps: usize, visits_max: usize| {
            let mut visits = 0;
            let done = store.for_each_match_within(&filter, &mut steps, |_, _| {
                visits += 1;
                visits < visits_max
            });
            (done, visits, steps)
        };
        assert_eq!(visited(1_000, usize::MAX), (true, 100, 1_000 - 101));
        assert_eq!(visited(101, usize::MAX), (true, 100, 0));
        assert_eq!(visited(100, usize::MAX), (false, 0, 99), "the level is wider than that");
        assert_eq!(visited(1_000, 7), (false, 7, 1_000 - 8));
    }

    #[test]
    fn the_last_value_of_a_topic_stays_until_it_is_removed() {
        let mut store = RetainedStore::new();
        assert!(store.is_empty());
        assert_eq!(store.set(name("a/b"), 1), None);
        assert_eq!(store.set(name("a/b"), 2), Some(1));
        assert_eq!(store.get(&name("a/b")), Some(&2));
        assert_eq!(store.get(&name("a")), None);
        assert_eq!(store.get(&name("a/b/")), None);
        assert_eq!(store.remove(&name("a")), None);
        assert_eq!(store.remove(&name("a/b")), Some(2));
        assert_eq!(store.remove(&name("a/b")), None);
        assert_eq!((store.len(), store.is_empty()), (0, true));
    }

    #[test]
    fn the_deepest_topics_overflow_no_stack() {
        let small_stack = std::thread::Builder::new().stack_size(128 * 1024).spawn(|| {
            let mut store = RetainedStore::new();
            for depth in 1..=2_000 {
                store.set(name(&"/".repeat(depth)), 0);
            }
            store.set(name(&"/".repeat(65_535)), 0);
            assert_eq!(matches(&store, "#").len(), 2_001);
            // 1,999 levels or more: that is 1,998 slashes or more.
            assert_eq!(matches(&store, &("+/".repeat(1_999) + "#")).len(), 4);
            assert_eq!(matches(&store, &("+/".repeat(1_000) + "+")).len(), 1);
            assert_eq!(store.remove(&name(&"/".repeat(65_535))), Some(0));
        });
        small_stack.unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn the_store_agrees_with_a_plain_table(
            steps in prop::collection::vec((any_topic(), 0_u32..100, 0..3), 0..80),
            filters in prop::collection::vec(any_filter(), 1..20),
        ) {
            let mut store = RetainedStore::new();
            let mut table = BTreeMap::new();
            for (topic, value, action) in steps {
                let topic = name(&topic);
                if action == 0 {
                    prop_assert_eq!(store.remove(&topic), table.remove(&topic));
                } else {
                    prop_assert_eq!(store.set(topic.clone(), value), table.insert(topic.clone(), value));
                }
                prop_assert_eq!(store.get(&topic), table.get(&topic));
                prop_assert_eq!(store.len(), table.len());
            }
            for filter in filters {
                let mut found = Vec::new();
                store.for_each_match(&filter, |topic, value| found.push((topic.clone(), *value)));
                found.sort_unstable();
                let wanted = table.iter().filter(|(topic, _)| filter.matches(topic));
                prop_assert_eq!(found, wanted.map(|(topic, value)| (topic.clone(), *value)).collect::<Vec<_>>());
            }
        }
    }
}
