//! Collections that release memory after a peak of load.
//!
//! The tables of calls do not use this module. A table that releases its memory after each batch of
//! calls would have to grow again with the next batch. Instead, a table of calls releases its
//! memory after an interval in which the session sent no message.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, Hash},
};

/// The capacity that a collection may keep, in elements.
const KEEP: usize = 64;

/// A collection with a capacity that grows with load.
pub trait ReleaseUnused {
    /// Releases memory if the capacity is large and mostly unused. Callers call this method after
    /// they have removed elements.
    ///
    /// After a release, half of the capacity is unused, so that the collection does not soon grow
    /// or shrink again. Therefore each removal costs amortized constant time.
    fn release_unused(&mut self);
}

/// Returns the capacity to shrink to, or `None` if nothing is to be released.
fn reduced(len: usize, capacity: usize) -> Option<usize> {
    (capacity > KEEP && len < capacity / 4).then_some(len * 2)
}

impl<T> ReleaseUnused for Vec<T> {
    #[inline]
    fn release_unused(&mut self) {
        if let Some(capacity) = reduced(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> ReleaseUnused for VecDeque<T> {
    #[inline]
    fn release_unused(&mut self) {
        if let Some(capacity) = reduced(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> ReleaseUnused for HashMap<K, V, S> {
    #[inline]
    fn release_unused(&mut self) {
        if let Some(capacity) = reduced(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<K: Eq + Hash, S: BuildHasher> ReleaseUnused for HashSet<K, S> {
    #[inline]
    fn release_unused(&mut self) {
        if let Some(capacity) = reduced(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_collections_keep_little_capacity() {
        let mut list: Vec<_> = (0..10_000).collect();
        let mut queue: VecDeque<_> = (0..10_000).collect();
        let mut map: HashMap<_, _> = (0..10_000).map(|key| (key, key)).collect();
        let mut set: HashSet<_> = (0..10_000).collect();
        for left in (0..10_000).rev() {
            list.pop();
            queue.pop_front();
            map.remove(&left);
            set.remove(&left);
            list.release_unused();
            queue.release_unused();
            map.release_unused();
            set.release_unused();
            for capacity in [list.capacity(), queue.capacity(), map.capacity(), set.capacity()] {
                // Maps round their capacity up.
                assert!(capacity <= (8 * left).max(2 * KEEP), "{capacity} for {left}");
            }
        }
    }
}
