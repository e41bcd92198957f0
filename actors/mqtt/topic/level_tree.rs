//! A map from topic texts to values, as a tree of topic levels. A run of levels without a branch is one node, so
//! there are at most twice as many nodes as values, however many levels the texts have. The nodes stand in one
//! vector and name each other by index: no operation recurses, and neither does dropping the tree.

use super::children::Children;
use super::split_level;

/// The node that stands before the first level.
pub(crate) const ROOT: u32 = 0;

/// What a text leads to. Every node but the root has a value or at least two children.
#[derive(Debug)]
pub(crate) struct Node<P> {
    /// The levels behind the one that leads here from the parent, each with its `/` in front.
    pub(crate) rest: Box<str>,
    /// The children by their first level, the one called `+` excepted.
    pub(crate) children: Children,
    /// The child whose first level is `+`.
    pub(crate) plus: Option<Child>,
    pub(crate) value: Option<P>,
}

/// The index of a node that is not the root; `None` of an `Option<Child>` takes no room.
pub(crate) type Child = std::num::NonZeroU32;

impl<P> Node<P> {
    fn new(rest: &str, value: Option<P>) -> Node<P> {
        Node { rest: rest.into(), children: Children::default(), plus: None, value }
    }

    fn child(&self, level: &str) -> Option<Child> {
        if level == "+" { self.plus } else { self.children.get(level) }
    }

    fn add_child(&mut self, level: &str, child: Child) {
        if level == "+" {
            self.plus = Some(child);
        } else {
            self.children.insert(level, child);
        }
    }

    fn remove_child(&mut self, level: &str) {
        if level == "+" {
            self.plus = None;
        } else {
            self.children.remove(level);
        }
    }

    fn child_count(&self) -> usize {
        self.children.len() + usize::from(self.plus.is_some())
    }

    fn only_child(&self) -> Option<(&str, Child)> {
        match (self.child_count(), self.plus) {
            (1, Some(child)) => Some(("+", child)),
            (1, None) => self.children.iter().next(),
            _ => None,
        }
    }
}

/// A map from texts to values. A text is `Some`, or `None` for the root: no level at all, which is less than the
/// one empty level of `Some("")`.
#[derive(Debug)]
pub(crate) struct LevelTree<P> {
    nodes: Vec<Node<P>>,
    free: Vec<Child>,
    len: usize,
}

impl<P> LevelTree<P> {
    pub(crate) fn new() -> LevelTree<P> {
        LevelTree { nodes: vec![Node::new("", None)], free: Vec::new(), len: 0 }
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The node with this index.
    pub(crate) fn node(&self, index: u32) -> &Node<P> {
        &self.nodes[index as usize]
    }

    /// All values, in no particular order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &P> {
        self.nodes.iter().filter_map(|node| node.value.as_ref())
    }

    /// The value of a text.
    pub(crate) fn get(&self, text: Option<&str>) -> Option<&P> {
        let (node, _) = self.find(text)?;
        self.node(node).value.as_ref()
    }

    /// The value of a text, to be changed.
    pub(crate) fn get_mut(&mut self, text: Option<&str>) -> Option<&mut P> {
        let (node, _) = self.find(text)?;
        self.nodes[node as usize].value.as_mut()
    }

    /// The value of a text, which is made if the text has none.
    pub(crate) fn get_or_insert_with(&mut self, text: Option<&str>, make: impl FnOnce() -> P) -> &mut P {
        let node = self.find_or_add(text) as usize;
        if self.nodes[node].value.is_none() {
            self.len += 1;
        }
        self.nodes[node].value.get_or_insert_with(make)
    }

    /// Takes the value of a text out, and the nodes that are not needed without it.
    pub(crate) fn remove(&mut self, text: Option<&str>) -> Option<P> {
        let (node, parent) = self.find(text)?;
        let value = self.nodes[node as usize].value.take()?;
        self.len -= 1;
        if let (Some(child), Some((parent, level))) = (Child::new(node), parent) {
            if self.node(node).child_count() == 0 {
                self.nodes[parent as usize].remove_child(level);
                self.free(child);
                self.absorb_only_child(parent);
            } else {
                self.absorb_only_child(node);
            }
            self.give_back_memory();
        }
        Some(value)
    }

    /// The node of a text, and its parent with the level that leads from there.
    fn find<'text>(&self, text: Option<&'text str>) -> Option<(u32, Option<(u32, &'text str)>)> {
        let mut node = ROOT;
        let mut parent = None;
        let mut text = text;
        while let Some(levels) = text {
            let (level, tail) = split_tail(levels);
            let child = self.node(node).child(level)?.get();
            let tail = tail.strip_prefix(&*self.node(child).rest)?;
            text = levels_of(tail)?;
            parent = Some((node, level));
            node = child;
        }
        Some((node, parent))
    }

    fn find_or_add(&mut self, text: Option<&str>) -> u32 {
        let mut node = ROOT;
        let mut text = text;
        while let Some(levels) = text {
            let (level, tail) = split_tail(levels);
            let Some(child) = self.node(node).child(level) else {
                let child = self.add(Node::new(tail, None));
                self.nodes[node as usize].add_child(level, child);
                return child.get();
            };
            node = child.get();
            let common = common_levels(tail, &self.node(node).rest);
            if common < self.node(node).rest.len() {
                self.split(node, common);
            }
            text = tail[common..].strip_prefix('/');
        }
        node
    }

    /// Cuts the levels of a node in two: the first `at` bytes stay, a new child takes the others.
    fn split(&mut self, node: u32, at: usize) {
        let upper = &mut self.nodes[node as usize];
        let (head, cut) = upper.rest.split_at(at);
        let (level, tail) = split_tail(&cut[1..]);
        let mut lower = Node::new(tail, upper.value.take());
        let (head, level): (Box<str>, Box<str>) = (head.into(), level.into());
        upper.rest = head;
        lower.children = std::mem::take(&mut upper.children);
        lower.plus = upper.plus.take();
        let child = self.add(lower);
        self.nodes[node as usize].add_child(&level, child);
    }

    /// Makes a node and its child one, if nothing but the child needs the node.
    fn absorb_only_child(&mut self, node: u32) {
        if node == ROOT || self.node(node).value.is_some() {
            return;
        }
        let Some((level, child)) = self.node(node).only_child() else {
            return;
        };
        let rest = [&*self.node(node).rest, "/", level, &*self.node(child.get()).rest].concat();
        let mut lower = self.free(child);
        lower.rest = rest.into();
        self.nodes[node as usize] = lower;
    }

    fn add(&mut self, node: Node<P>) -> Child {
        if let Some(index) = self.free.pop() {
            self.nodes[index.get() as usize] = node;
            return index;
        }
        let index = u32::try_from(self.nodes.len()).ok().and_then(Child::new);
        self.nodes.push(node);
        index.expect("memory ends before 2^32 nodes, and the root is there")
    }

    fn free(&mut self, index: Child) -> Node<P> {
        self.free.push(index);
        std::mem::replace(&mut self.nodes[index.get() as usize], Node::new("", None))
    }

    /// Moves the nodes together once three of four are free.
    fn give_back_memory(&mut self) {
        if self.nodes.len() < 64 || self.free.len() < self.nodes.len() / 4 * 3 {
            return;
        }
        let mut moved_to: Vec<Option<Child>> = vec![None; self.nodes.len()];
        let mut is_free = vec![false; self.nodes.len()];
        for index in std::mem::take(&mut self.free) {
            is_free[index.get() as usize] = true;
        }
        let mut kept = Vec::with_capacity(self.nodes.len() / 2);
        for (index, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            if !is_free[index] {
                moved_to[index] = Child::new(kept.len() as u32);
                kept.push(node);
            }
        }
        for node in &mut kept {
            node.plus = node.plus.and_then(|child| moved_to[child.get() as usize]);
            for child in node.children.iter_mut() {
                *child = moved_to[child.get() as usize].unwrap_or(*child);
            }
        }
        self.nodes = kept;
    }
}

/// Cuts the first level off: the level, and the tail that starts with a `/` or is empty.
fn split_tail(levels: &str) -> (&str, &str) {
    let (level, _) = split_level(levels);
    levels.split_at(level.len())
}

/// The levels of a tail: `Some(None)` if it is empty, and `None` if it is no tail because it starts amid a level.
fn levels_of(tail: &str) -> Option<Option<&str>> {
    if tail.is_empty() { Some(None) } else { tail.strip_prefix('/').map(Some) }
}

/// How many bytes of two tails are the same whole levels.
fn common_levels(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let ends_level = |tail: &[u8]| tail.get(same).is_none_or(|byte| *byte == b'/');
    if ends_level(one) && ends_level(other) {
        return same;
    }
    one[..same].iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_count<P>(tree: &LevelTree<P>) -> usize {
        tree.nodes.len() - tree.free.len()
    }

    #[test]
    fn whole_levels_are_common_and_parts_of_levels_are_not() {
        let rows = [
            ("", "", 0),
            ("/a", "", 0),
            ("/a", "/a", 2),
            ("/ab", "/ac", 0),
            ("/ab", "/abc", 0),
            ("/ab/c", "/ab/d", 3),
            ("/ab/", "/ab", 3),
            ("//", "/", 1),
            ("/é/x", "/è/x", 0),
        ];
        for (one, other, common) in rows {
            assert_eq!(common_levels(one, other), common, "{one:?} {other:?}");
            assert_eq!(common_levels(other, one), common, "{other:?} {one:?}");
        }
    }

    #[test]
    fn no_level_and_one_empty_level_and_two_are_three_texts() {
        let mut tree = LevelTree::new();
        for (number, text) in [None, Some(""), Some("/"), Some("//")].into_iter().enumerate() {
            *tree.get_or_insert_with(text, || 0) = number;
        }
        assert_eq!(tree.len(), 4);
        assert_eq!(tree.get(None), Some(&0));
        assert_eq!(tree.get(Some("")), Some(&1));
        assert_eq!(tree.get(Some("/")), Some(&2));
        assert_eq!(tree.get(Some("//")), Some(&3));
        assert_eq!(tree.get(Some("///")), None);
        assert_eq!(tree.remove(Some("/")), Some(2));
        assert_eq!(tree.get(Some("/")), None);
        assert_eq!(tree.get(Some("//")), Some(&3));
    }

    #[test]
    fn a_run_of_levels_is_one_node_and_becomes_one_again() {
        let mut tree = LevelTree::new();
        tree.get_or_insert_with(Some("a/b/c/d/e"), || 1);
        assert_eq!(node_count(&tree), 2);
        tree.get_or_insert_with(Some("a/b/x"), || 2);
        assert_eq!(node_count(&tree), 4);
        tree.get_or_insert_with(Some("a/b/c"), || 3);
        assert_eq!(node_count(&tree), 5);
        tree.remove(Some("a/b/c"));
        assert_eq!(node_count(&tree), 4);
        tree.remove(Some("a/b/x"));
        assert_eq!(node_count(&tree), 2);
        assert_eq!(tree.get(Some("a/b/c/d/e")), Some(&1));
        tree.remove(Some("a/b/c/d/e"));
        assert_eq!(node_count(&tree), 1);
    }

    #[test]
    fn memory_returns_when_most_texts_are_gone() {
        let mut tree = LevelTree::new();
        let text = |number: u32| format!("site/{}/device/{number}/+/{number}", number % 100);
        for number in 0..10_000 {
            tree.get_or_insert_with(Some(&text(number)), || number);
        }
        for number in 100..10_000 {
            assert_eq!(tree.remove(Some(&text(number))), Some(number));
        }
        assert_eq!(tree.len(), 100);
        assert!(tree.nodes.capacity() < 1_000, "{}", tree.nodes.capacity());
        for number in 0..100 {
            assert_eq!(tree.get(Some(&text(number))), Some(&number));
        }
        assert!(tree.values().count() == 100);
    }
}
