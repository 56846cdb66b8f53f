//! What the other side has announced of the methods that it serves, to be compared with what a caller is about to send.
//!
//! It costs a call one look into a sorted list, or none if the last one was of the same method; and a connection a pointer
//! to that list: peers that announce the same, as all clients of one program do, share it.

use crate::method::Callee;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use sha2::{Digest, Sha256};

use crate::{call_error::CallError, lock::Mutex};

/// The signatures that a peer has announced, by key. What is not in it is not checked.
#[derive(Default)]
pub(super) struct Signatures {
    /// What it announced first, when the session began.
    first: Option<Arc<Table>>,
    /// What it has changed since then; 0 for what it has taken back.
    changes: BTreeMap<u64, u64>,
    /// Key and signature of the method that was compared last and may be called.
    agreed: (u64, u64),
}

/// What a signature takes, about.
const SIGNATURE: usize = 32;

impl Signatures {
    /// Records some signatures of an announcement. Beyond `most` names no new ones are kept.
    pub(super) fn extend(&mut self, announced: impl Iterator<Item = (u64, u64)>, most: usize) {
        self.agreed = (0, 0);
        for (key, signature) in announced {
            let in_first = self.first.as_ref().is_some_and(|first| first.get(key).is_some());
            if signature == 0 && !in_first {
                self.changes.remove(&key);
            } else if in_first || self.changes.contains_key(&key) || self.len() < most {
                self.changes.insert(key, signature);
            }
        }
    }

    /// Ends an announcement. What the first one has left is shared with other sessions.
    pub(super) fn finish(&mut self) {
        if self.first.is_none() && !self.changes.is_empty() {
            let entries = std::mem::take(&mut self.changes).into_iter().collect();
            self.first = Some(Table::shared(entries));
        }
    }

    /// Returns the memory that the signatures take, about. A table that sessions share counts for each of them in part.
    pub(super) fn bytes(&self) -> usize {
        let shared = self.first.as_ref().map_or(0, |first| first.entries.len().div_ceil(Arc::strong_count(first)));
        (shared + self.changes.len()) * SIGNATURE
    }

    fn len(&self) -> usize {
        self.first.as_ref().map_or(0, |first| first.entries.len()) + self.changes.len()
    }

    fn get(&self, key: u64) -> Option<u64> {
        // Most peers never change anything.
        let changed = if self.changes.is_empty() { None } else { self.changes.get(&key).copied() };
        changed.or_else(|| self.first.as_ref()?.get(key)).filter(|signature| *signature != 0)
    }

    /// Refuses a call to a method that the other side serves with another signature.
    pub(super) fn check(&mut self, callee: Callee<'_>) -> Result<(), CallError> {
        match callee {
            Callee::Declared(method) if !self.matches((method.key, method.signature)) => {
                Err(CallError::mismatch(method, self.get(method.key).unwrap_or_default()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the other side serves a method, by its key, with this signature, or has not said with which.
    pub(super) fn matches(&mut self, (key, signature): (u64, u64)) -> bool {
        let agree = self.agreed == (key, signature) || self.get(key).is_none_or(|theirs| theirs == signature);
        if agree {
            self.agreed = (key, signature);
        }
        agree
    }
}

/// Signatures that one or many peers have announced.
struct Table {
    /// In the order of the keys.
    entries: Box<[(u64, u64)]>,
    hash: Hash,
}

type Hash = [u8; 32];

/// The tables of all sessions in this process, by a hash of what is in them that cannot be made to collide.
static TABLES: Mutex<BTreeMap<Hash, Weak<Table>>> = Mutex::new(BTreeMap::new());

impl Table {
    /// The one table with these entries, which are in the order of their keys.
    fn shared(entries: Box<[(u64, u64)]>) -> Arc<Self> {
        let mut hash = Sha256::new();
        for (key, signature) in &entries {
            hash.update(key.to_le_bytes());
            hash.update(signature.to_le_bytes());
        }
        let hash = hash.finalize().into();
        let mut tables = TABLES.lock();
        tables.get(&hash).and_then(Weak::upgrade).unwrap_or_else(|| {
            let table = Arc::new(Self { entries, hash });
            tables.insert(hash, Arc::downgrade(&table));
            table
        })
    }

    fn get(&self, key: u64) -> Option<u64> {
        let at = self.entries.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.entries[at].1)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut tables = TABLES.lock();
        // Another one with these entries may have taken its place.
        if tables.get(&self.hash).is_some_and(|table| table.strong_count() == 0) {
            tables.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::{Kind, Method, Named};
    use sockets_proto::Overflow;

    fn after(announcements: &[&[(u64, u64)]], most: usize) -> Signatures {
        let mut signatures = Signatures::default();
        for announced in announcements {
            signatures.extend(announced.iter().copied(), most);
            signatures.finish();
        }
        signatures
    }

    #[test]
    fn the_last_word_on_a_key_counts() {
        let signatures = after(&[&[(1, 10), (2, 20), (3, 30), (3, 31)], &[(2, 21), (4, 40), (5, 50)], &[(4, 41)]], 100);
        let found = (0..7).map(|key| signatures.get(key));
        assert_eq!(found.collect::<Vec<_>>(), [None, Some(10), Some(21), Some(31), Some(41), Some(50), None]);
    }

    #[test]
    fn what_is_taken_back_is_not_known() {
        let taken_back = [(1, 0), (3, 0), (7, 0)];
        let signatures = after(&[&[(1, 10), (2, 20)], &[(3, 30)], &taken_back], 100);
        assert_eq!([1, 2, 3, 7].map(|key| signatures.get(key)), [None, Some(20), None, None]);
        let signatures = after(&[&[(1, 10), (1, 0)], &[(1, 11)]], 100);
        assert_eq!(signatures.get(1), Some(11));
    }

    #[test]
    fn names_beyond_the_limit_are_not_known_and_known_ones_can_still_change() {
        let many: Vec<_> = (1..1000).map(|key| (key, key)).collect();
        let changed: Vec<_> = (1..1000).map(|key| (key, 2 * key)).collect();
        let signatures = after(&[&many, &many, &changed, &many[5..], &changed], 10);
        assert_eq!(signatures.get(10), Some(20));
        assert_eq!(signatures.get(11), None);
        assert!(signatures.len() <= 20);
        let signatures = after(&[&[], &[], &many[..5], &many, &changed], 10);
        assert_eq!(signatures.get(5), Some(10));
        assert!(signatures.len() <= 20, "{}", signatures.len());
    }

    #[test]
    fn a_method_that_was_called_before_is_checked_against_what_has_changed() {
        let method: &'static Method = Box::leak(Box::new(Method {
            path: "a",
            name: "b",
            key: 1,
            kind: Kind::Request,
            timeout: None,
            idempotent: false,
            overflow: Overflow::Disconnect,
            arguments: &[],
            types: "() -> ()",
            signature: 10,
        }));
        let callee = Callee::Declared(method);
        let mut signatures = after(&[&[(1, 10)]], 100);
        assert_eq!([signatures.check(callee), signatures.check(callee)], [Ok(()), Ok(())]);
        let same_key: &'static Method = Box::leak(Box::new(Method { signature: 11, ..*method }));
        assert!(signatures.check(Callee::Declared(same_key)).is_err());
        signatures.extend([(1, 11)].into_iter(), 100);
        assert!(signatures.check(callee).is_err());
        assert_eq!(signatures.check(Callee::Declared(same_key)), Ok(()));
        assert_eq!(signatures.check(Callee::Named(&Named { key: 1, path: "", name: "buy" })), Ok(()));
    }

    #[test]
    fn a_shared_table_counts_in_part_for_each_session() {
        let announced: Vec<_> = (9000..9600).map(|key| (key, key)).collect();
        let sessions: Vec<_> = (0..100).map(|_| after(&[&announced], 1000)).collect();
        let bytes: usize = sessions.iter().map(Signatures::bytes).sum();
        assert_eq!(bytes, announced.len() * SIGNATURE);
        let changed = after(&[&announced, &[(1, 1)]], 1000);
        assert_eq!(changed.bytes(), (announced.len().div_ceil(101) + 1) * SIGNATURE);
        drop(sessions);
        assert_eq!(changed.bytes(), (announced.len() + 1) * SIGNATURE);
    }

    #[test]
    fn peers_that_announce_the_same_share_a_table_while_one_of_them_is_there() {
        let (a, b) = (after(&[&[(71, 1), (72, 2)]], 10), after(&[&[(72, 2), (71, 1)]], 10));
        let other = after(&[&[(71, 1), (72, 3)]], 10);
        let table = |one: &Signatures| Arc::clone(one.first.as_ref().unwrap());
        assert!(Arc::ptr_eq(&table(&a), &table(&b)));
        assert!(!Arc::ptr_eq(&table(&a), &table(&other)));
        let hash = table(&a).hash;
        drop(a);
        assert!(TABLES.lock().contains_key(&hash));
        drop(b);
        assert!(!TABLES.lock().contains_key(&hash));
    }
}
