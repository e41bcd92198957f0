//! One place of the stored state while a group of records works on it: read once, changed in memory, written at the
//! end if it must be.

/// A value that may be stored, and what has become of it.
#[derive(Debug)]
pub struct Slot<V> {
    stored: bool,
    value: Option<V>,
    changed: bool,
}

/// What is to be done with a slot's place in the end.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<V> {
    /// It stands as it should.
    Nothing,
    /// This belongs there.
    Put(V),
    /// What stands there must go.
    Remove,
}

impl<V> Slot<V> {
    /// A slot with what was found in the store.
    pub fn read(value: Option<V>) -> Slot<V> {
        Slot { stored: value.is_some(), value, changed: false }
    }

    /// A slot of which nothing is stored.
    pub fn empty() -> Slot<V> {
        Slot::read(None)
    }

    /// The value as it is now.
    pub fn get(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Sets the value.
    pub fn set(&mut self, value: V) {
        self.value = Some(value);
        self.changed = true;
    }

    /// Takes the value away.
    pub fn clear(&mut self) -> Option<V> {
        self.changed |= self.value.is_some();
        self.value.take()
    }

    /// Whether there is neither a value nor anything in the store, so that the slot might as well not be there.
    pub fn is_void(&self) -> bool {
        !self.stored && self.value.is_none()
    }

    /// What the store needs.
    pub fn outcome(self) -> Outcome<V> {
        match self.value {
            Some(value) if self.changed => Outcome::Put(value),
            None if self.stored => Outcome::Remove,
            _ => Outcome::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_store_is_written() {
        assert_eq!(Slot::read(Some(1)).outcome(), Outcome::Nothing);
        assert_eq!(Slot::<u8>::empty().outcome(), Outcome::Nothing);
        let mut slot = Slot::empty();
        slot.set(1);
        assert_eq!(slot.clear(), Some(1));
        assert!(slot.is_void());
        assert_eq!(slot.outcome(), Outcome::Nothing);
        let mut slot = Slot::read(Some(1));
        slot.clear();
        assert!(!slot.is_void());
        slot.set(2);
        assert_eq!(slot.outcome(), Outcome::Put(2));
        let mut slot = Slot::read(Some(1));
        slot.clear();
        assert_eq!(slot.outcome(), Outcome::Remove);
    }
}
