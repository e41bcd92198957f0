//! Which subscriptions match a Topic Name. Filters without wildcards are found by one look-up of the whole topic;
//! filters with wildcards stand in a tree of levels, of which a match visits only the nodes that fit the topic.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::children::shrink_if_sparse;
use super::level_tree::{Child, LevelTree, ROOT};
use super::subscribers::Subscribers;
use super::{TopicFilter, TopicName};

/// A set of subscriptions: (Topic Filter, subscriber) to the options of the subscription.
///
/// A match does not allocate (unless more than 32 `+` are open at once, or levels are longer than 1,024 bytes), does not recurse, and takes time in
/// proportion to the nodes that fit, the length of the topic and the matches. The texts of the filters are copied:
/// nothing keeps the packet alive that they came in.
#[derive(Debug)]
pub struct FilterTrie<K, V> {
    exact: HashMap<Box<str>, Subscribers<K, V>, RandomState>,
    wildcard: LevelTree<Leaf<K, V>>,
    len: usize,
}

/// The subscriptions of one path of levels.
#[derive(Debug)]
struct Leaf<K, V> {
    /// Those whose filter is the path.
    here: Subscribers<K, V>,
    /// Those whose filter is the path and `#` behind it.
    below: Subscribers<K, V>,
}

/// Where a filter is stored.
enum Place<'filter> {
    Exact(&'filter str),
    Here(&'filter str),
    Below(Option<&'filter str>),
}

impl<'filter> Place<'filter> {
    fn of(filter: &'filter TopicFilter) -> Place<'filter> {
        let pattern = filter.pattern();
        if pattern == "#" {
            Place::Below(None)
        } else if let Some(path) = pattern.strip_suffix("/#") {
            Place::Below(Some(path))
        } else if pattern.contains('+') {
            Place::Here(pattern)
        } else {
            Place::Exact(pattern)
        }
    }
}

impl<K: Copy + Ord, V> FilterTrie<K, V> {
    /// An empty set.
    pub fn new() -> FilterTrie<K, V> {
        FilterTrie { exact: HashMap::default(), wildcard: LevelTree::new(), len: 0 }
    }

    /// Adds a subscription; returns the options that it replaces, if the subscriber has the filter already
    /// `[MQTT-3.8.4-3]`. A shared subscription is stored by the part behind its share name, so where one
    /// subscriber may be in several groups the key must tell the groups apart.
    pub fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> Option<V> {
        let replaced = match Place::of(filter) {
            Place::Exact(topic) => match self.exact.get_mut(topic) {
                Some(subscribers) => subscribers.insert(key, value),
                None => {
                    self.exact.insert(topic.into(), Subscribers::One(key, value));
                    None
                }
            },
            Place::Here(path) => self.leaf(Some(path)).here.insert(key, value),
            Place::Below(path) => self.leaf(path).below.insert(key, value),
        };
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a subscription away and returns its options.
    pub fn remove(&mut self, filter: &TopicFilter, key: K) -> Option<V> {
        let removed = match Place::of(filter) {
            Place::Exact(topic) => self.remove_exact(topic, key),
            Place::Here(path) => self.remove_wildcard(Some(path), |leaf| leaf.here.remove(key)),
            Place::Below(path) => self.remove_wildcard(path, |leaf| leaf.below.remove(key)),
        };
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Visits every subscription that matches, in no particular order; a subscriber once for each of its filters
    /// that matches (what then becomes of the message is `[MQTT-3.3.4-2]`).
    pub fn for_each_match(&self, topic: &TopicName, visit: impl FnMut(&K, &V)) {
        self.for_each_match_str(topic.as_str(), visit);
    }

    /// The same for a text that is known to be a Topic Name.
    pub fn for_each_match_str(&self, topic: &str, mut visit: impl FnMut(&K, &V)) {
        if let Some(subscribers) = self.exact.get(topic) {
            subscribers.for_each(&mut visit);
        }
        if self.wildcard.len() > 0 {
            self.for_each_wildcard_match(topic, visit);
        }
    }

    fn for_each_wildcard_match(&self, topic: &str, mut visit: impl FnMut(&K, &V)) {
        // A wildcard in the first level does not match a name that starts with `$` [MQTT-4.7.2-1].
        let wildcard_first = !topic.starts_with('$');
        let root = self.wildcard.node(ROOT);
        let mut pending = Pending::new();
        let mut levels = Levels { topic, long: Vec::new() };
        let end = levels.end(0);
        if wildcard_first {
            if let Some(leaf) = &root.value {
                leaf.below.for_each(&mut visit);
            }
            pending.push(root.plus, end);
        }
        pending.push(root.children.get(&topic[..end]), end);
        while let Some((index, at)) = pending.pop() {
            let node = self.wildcard.node(index.get());
            let Some(at) = levels.skip(at, &node.rest) else {
                continue;
            };
            let at_end = at == topic.len();
            if let Some(leaf) = &node.value {
                leaf.below.for_each(&mut visit);
                if at_end {
                    leaf.here.for_each(&mut visit);
                }
            }
            if at_end || (node.plus.is_none() && node.children.len() == 0) {
                continue;
            }
            let end = levels.end(at + 1);
            pending.push(node.plus, end);
            pending.push(node.children.get(&topic[at + 1..end]), end);
        }
    }

    fn leaf(&mut self, path: Option<&str>) -> &mut Leaf<K, V> {
        self.wildcard
            .get_or_insert_with(path, || Leaf { here: Subscribers::default(), below: Subscribers::default() })
    }

    fn remove_exact(&mut self, topic: &str, key: K) -> Option<V> {
        let subscribers = self.exact.get_mut(topic)?;
        let removed = subscribers.remove(key)?;
        if subscribers.is_empty() {
            self.exact.remove(topic);
            shrink_if_sparse(&mut self.exact);
        }
        Some(removed)
    }

    fn remove_wildcard(
        &mut self,
        path: Option<&str>,
        remove: impl FnOnce(&mut Leaf<K, V>) -> Option<V>,
    ) -> Option<V> {
        let leaf = self.wildcard.get_mut(path)?;
        let removed = remove(leaf)?;
        if leaf.here.is_empty() && leaf.below.is_empty() {
            self.wildcard.remove(path);
        }
        Some(removed)
    }
}

impl<K: Copy + Ord, V> Default for FilterTrie<K, V> {
    fn default() -> FilterTrie<K, V> {
        FilterTrie::new()
    }
}

/// The levels of a topic. Where many `+` branch, the same level is asked for once a branch; the ends of long ones
/// are kept, so that a topic of long levels costs each branch no more than [`Levels::LONG`] bytes of search.
struct Levels<'topic> {
    topic: &'topic str,
    /// Start and end of the long levels found so far: fewer than 64, as a topic has at most 65,535 bytes.
    long: Vec<(usize, usize)>,
}

impl Levels<'_> {
    const LONG: usize = 1_024;

    /// Where the level that starts at `start` ends.
    fn end(&mut self, start: usize) -> usize {
        let near = self.topic.as_bytes()[start..].iter().take(Levels::LONG).position(|byte| *byte == b'/');
        if let Some(length) = near {
            return start + length;
        }
        if self.topic.len() - start <= Levels::LONG {
            return self.topic.len();
        }
        if let Some((_, end)) = self.long.iter().find(|(known, _)| *known == start) {
            return *end;
        }
        let bytes = &self.topic.as_bytes()[start + Levels::LONG..];
        let more = bytes.iter().position(|byte| *byte == b'/').unwrap_or(bytes.len());
        let end = start + Levels::LONG + more;
        self.long.push((start, end));
        end
    }

    /// Where the topic goes on behind the levels of a node that starts at `at`; `None` if they do not fit.
    fn skip(&mut self, at: usize, rest: &str) -> Option<usize> {
        let mut at = at;
        let mut rest = rest.strip_prefix('/');
        while let Some(levels) = rest {
            let (wanted, behind) = super::split_level(levels);
            if at == self.topic.len() {
                return None;
            }
            let end = self.end(at + 1);
            if wanted != "+" && wanted != &self.topic[at + 1..end] {
                return None;
            }
            (at, rest) = (end, behind);
        }
        Some(at)
    }
}

/// The nodes that a match has still to visit, each with the place in the topic where its own levels start. A node
/// puts at most two in and the next visit takes one out, so there are never more than the branches on one path.
struct Pending {
    first: [(Child, u32); Pending::FIRST],
    len: usize,
    more: Vec<(Child, u32)>,
}

impl Pending {
    const FIRST: usize = 32;

    fn new() -> Pending {
        Pending { first: [(Child::MIN, 0); Pending::FIRST], len: 0, more: Vec::new() }
    }

    fn push(&mut self, node: Option<Child>, at: usize) {
        let Some(node) = node else {
            return;
        };
        // A Topic Name has at most 65,535 bytes.
        let visit = (node, at as u32);
        match self.first.get_mut(self.len) {
            Some(free) => {
                *free = visit;
                self.len += 1;
            }
            None => self.more.push(visit),
        }
    }

    fn pop(&mut self) -> Option<(Child, usize)> {
        let (node, at) = match self.more.pop() {
            Some(visit) => visit,
            None => {
                self.len = self.len.checked_sub(1)?;
                self.first[self.len]
            }
        };
        Some((node, at as usize))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text.to_owned()).unwrap()
    }

    fn matches<V: Copy>(trie: &FilterTrie<u32, V>, topic: &str) -> Vec<u32> {
        let mut keys = Vec::new();
        trie.for_each_match(&TopicName::new(topic.to_owned()).unwrap(), |key, _| keys.push(*key));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn every_kind_of_filter_is_found() {
        let filters =
            ["a/b", "a/+", "+/b", "a/#", "#", "+/+/#", "a/b/#", "/", "+", "$SYS/#", "$share/g/a/b", "a"];
        let mut trie = FilterTrie::new();
        for (key, text) in (0..).zip(filters) {
            assert_eq!(trie.insert(&filter(text), key, ()), None);
        }
        let rows: [(&str, &[u32]); 7] = [
            ("a/b", &[0, 1, 2, 3, 4, 5, 6, 10]),
            ("a", &[3, 4, 8, 11]),
            ("a/b/c", &[3, 4, 5, 6]),
            ("/", &[4, 5, 7]),
            ("c", &[4, 8]),
            ("$SYS/b", &[9]),
            ("$SYS", &[9]),
        ];
        for (topic, keys) in rows {
            assert_eq!(matches(&trie, topic), keys, "{topic}");
        }
    }

    #[test]
    fn the_same_subscription_again_replaces_the_options() {
        for text in ["a/b", "a/+", "a/#", "#", "+", "/"] {
            let mut trie = FilterTrie::new();
            assert_eq!(trie.insert(&filter(text), 1, "first"), None);
            assert_eq!(trie.insert(&filter(text), 2, "other"), None);
            assert_eq!(trie.insert(&filter(text), 1, "second"), Some("first"));
            assert_eq!(trie.len(), 2);
            assert_eq!(trie.remove(&filter(text), 1), Some("second"));
            assert_eq!(trie.remove(&filter(text), 1), None);
            assert_eq!(trie.remove(&filter(text), 2), Some("other"));
            assert!(trie.is_empty());
        }
    }

    #[test]
    fn a_filter_is_not_its_neighbour() {
        let mut trie = FilterTrie::new();
        trie.insert(&filter("a/+/b"), 1, ());
        for text in ["a/+", "a/+/#", "a/+/b/#", "a/+/b/c", "a", "#", "a/#", "+", "a/+/"] {
            assert_eq!(trie.remove(&filter(text), 1), None, "{text}");
        }
        assert_eq!(trie.len(), 1);
        assert_eq!(matches(&trie, "a/x/b"), [1]);
    }

    #[test]
    fn memory_returns_with_the_last_subscription() {
        let mut trie = FilterTrie::new();
        let text = |number: u32| match number % 3 {
            0 => format!("site/{}/device/{number}", number % 100),
            1 => format!("site/+/device/{number}"),
            _ => format!("site/{number}/#"),
        };
        for number in 0..10_000 {
            trie.insert(&filter(&text(number)), number, number);
        }
        assert!(trie.exact.capacity() > 3_000);
        for number in 0..10_000 {
            assert_eq!(trie.remove(&filter(&text(number)), number), Some(number));
        }
        assert_eq!(trie.wildcard.len(), 0);
        assert!(trie.exact.capacity() <= 128, "{}", trie.exact.capacity());
        assert_eq!(matches(&trie, "site/1/device/1"), [0_u32; 0]);
    }

    #[test]
    fn the_deepest_topics_and_filters_overflow_no_stack() {
        let small_stack = std::thread::Builder::new().stack_size(128 * 1024).spawn(|| {
            let mut trie = FilterTrie::new();
            let levels = 32_767;
            let plus = "+/".repeat(levels);
            let texts = [plus.clone() + "+", plus.clone() + "#", plus.clone() + "x", "/".repeat(65_535)];
            for (key, text) in (0..).zip(&texts) {
                trie.insert(&filter(text), key, ());
            }
            // Every prefix a filter of its own: a chain of nodes as deep as the filters are many.
            for depth in 1..2_000 {
                trie.insert(&filter(&("+/".repeat(depth) + "x")), 10, ());
                trie.insert(&filter(&("/".repeat(depth) + "+")), 11, ());
            }
            assert_eq!(matches(&trie, &"/".repeat(65_535)), [1, 3]);
            assert_eq!(matches(&trie, &"/".repeat(levels)), [0, 1]);
            assert_eq!(matches(&trie, &("/".repeat(levels) + "x")), [0, 1, 2]);
            assert_eq!(matches(&trie, &("/".repeat(1_000) + "x")), [10, 11]);
            assert_eq!(trie.remove(&filter(&texts[0]), 0), Some(()));
            assert_eq!(matches(&trie, &"/".repeat(levels)), [1]);
        });
        small_stack.unwrap().join().unwrap();
    }

    #[test]
    fn more_branches_than_fit_the_first_places_are_all_visited() {
        let mut trie = FilterTrie::new();
        let depth = 100;
        for key in 0..depth {
            let text = "a/".repeat(key) + "+" + &"/a".repeat(depth - key);
            trie.insert(&filter(&text), key as u32, ());
        }
        let topic = "a/".repeat(depth) + "a";
        assert_eq!(matches(&trie, &topic), (0..depth as u32).collect::<Vec<_>>());
    }

    #[test]
    fn long_levels_end_where_they_end_however_often_they_are_asked_for() {
        for length in [1_022, 1_023, 1_024, 1_025, 1_026, 20_000] {
            let long = "x".repeat(length);
            let topic = format!("{long}/{long}//{long}");
            let ends = [(0, length), (length + 1, 2 * length + 1), (2 * length + 2, 2 * length + 2)];
            let mut levels = Levels { topic: &topic, long: Vec::new() };
            for (start, end) in ends.into_iter().chain([(2 * length + 3, topic.len())]).cycle().take(8) {
                assert_eq!(levels.end(start), end, "{length} {start}");
            }
            let mut trie = FilterTrie::new();
            let filters =
                [format!("{long}/+/+/{long}"), format!("+/{long}/#"), format!("+/{long}x/#"), topic.clone()];
            for (key, text) in (0..).zip(&filters) {
                trie.insert(&filter(text), key, ());
            }
            assert_eq!(matches(&trie, &topic), [0, 1, 3]);
        }
    }

    /// Texts of few levels out of a small alphabet, so that they meet often; the empty level is among them.
    pub(crate) fn any_topic() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["", "a", "b", "ab", "é", "$", "$a"]);
        let levels = prop::collection::vec(level, 1..6);
        levels.prop_map(|levels| levels.join("/")).prop_filter("not empty", |text| !text.is_empty())
    }

    pub(crate) fn any_filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop::sample::select(vec!["", "a", "b", "ab", "é", "$", "$a", "+", "+", "+"]);
        let levels = prop::collection::vec(level, 0..6);
        let ends = (any::<bool>(), prop::sample::select(vec!["", "", "", "$share/g/"]));
        let text = (levels, ends).prop_map(|(mut levels, (with_hash, share))| {
            if with_hash {
                levels.push("#");
            }
            share.to_owned() + &levels.join("/")
        });
        text.prop_filter_map("a filter", |text| TopicFilter::new(text).ok())
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_the_filters(
            filters in prop::collection::vec(any_filter(), 0..40),
            topics in prop::collection::vec(any_topic(), 1..20),
        ) {
            let mut trie = FilterTrie::new();
            for (key, filter) in (0..).zip(&filters) {
                trie.insert(filter, key, ());
            }
            prop_assert_eq!(trie.len(), filters.len());
            for topic in topics {
                let name = TopicName::new(topic.clone()).unwrap();
                let wanted = (0..).zip(&filters).filter(|(_, filter)| filter.matches(&name));
                prop_assert_eq!(matches(&trie, &topic), wanted.map(|(key, _)| key).collect::<Vec<u32>>());
            }
        }

        #[test]
        fn inserting_and_removing_agrees_with_a_plain_table(
            steps in prop::collection::vec((any_filter(), 0_u32..3, 0_u32..100, any::<bool>()), 0..120),
            topics in prop::collection::vec(any_topic(), 1..10),
        ) {
            let mut trie = FilterTrie::new();
            let mut table = BTreeMap::new();
            for (filter, key, options, is_insert) in &steps {
                let place = (filter.pattern().to_owned(), *key);
                if *is_insert {
                    prop_assert_eq!(trie.insert(filter, *key, *options), table.insert(place, *options));
                } else {
                    prop_assert_eq!(trie.remove(filter, *key), table.remove(&place));
                }
                prop_assert_eq!(trie.len(), table.len());
            }
            for topic in topics {
                let name = TopicName::new(topic).unwrap();
                let mut found = Vec::new();
                trie.for_each_match(&name, |key, options| found.push((*key, *options)));
                found.sort_unstable();
                let wanted = table.iter().filter(|((text, _), _)| filter(text).matches(&name));
                let mut wanted: Vec<_> = wanted.map(|((_, key), options)| (*key, *options)).collect();
                wanted.sort_unstable();
                prop_assert_eq!(found, wanted);
            }
            for (text, key) in table.keys() {
                prop_assert!(trie.remove(&filter(text), *key).is_some());
            }
            prop_assert!(trie.is_empty() && trie.exact.is_empty() && trie.wildcard.len() == 0);
        }
    }
}
