//! The signatures of the methods that a peer has announced. A session compares its outgoing calls
//! with these signatures.
//!
//! For each call, the session looks up the method in a sorted table. If the previous call was to
//! the same method, no lookup is needed. A session stores a pointer to the table, so that sessions
//! with the same announcement share a table. For example, all clients that run the same program
//! share a table.

use crate::method::Callee;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use sha2::{Digest, Sha256};

use crate::{
    call_error::{CallError, SignatureMismatch},
    lock::Mutex,
};

/// The signatures that a peer has announced, by key. Calls of other keys are not checked.
#[derive(Default)]
pub(super) struct Signatures {
    /// The first announcement, at the start of the session.
    first: Option<Arc<Table>>,
    /// The changes since the first announcement. A withdrawn signature is 0.
    changes: BTreeMap<u64, u64>,
    /// The key and signature of the last method for which the comparison succeeded.
    last_match: (u64, u64),
}

/// The approximate memory of a signature, in bytes.
const SIGNATURE: usize = 32;

impl Signatures {
    /// Records signatures of an announcement. New names above `max_names` are ignored.
    pub(super) fn extend(&mut self, announced: impl Iterator<Item = (u64, u64)>, max_names: usize) {
        self.last_match = (0, 0);
        for (key, signature) in announced {
            let in_first = self.first.as_ref().is_some_and(|first| first.get(key).is_some());
            if signature == 0 && !in_first {
                self.changes.remove(&key);
            } else if in_first || self.changes.contains_key(&key) || self.len() < max_names {
                self.changes.insert(key, signature);
            }
        }
    }

    /// Ends an announcement. After the peer's first announcement, the session shares a table of the
    /// signatures with all sessions that have received the same announcement.
    pub(super) fn finish(&mut self) {
        if self.first.is_none() && !self.changes.is_empty() {
            let entries = std::mem::take(&mut self.changes).into_iter().collect();
            self.first = Some(Table::shared(entries));
        }
    }

    /// Returns the approximate memory of the signatures. The memory of a shared table is divided
    /// among the sessions that share it.
    pub(super) fn bytes(&self) -> usize {
        let shared = self.first.as_ref().map_or(0, |first| first.entries.len().div_ceil(Arc::strong_count(first)));
        (shared + self.changes.len()) * SIGNATURE
    }

    fn len(&self) -> usize {
        self.first.as_ref().map_or(0, |first| first.entries.len()) + self.changes.len()
    }

    fn get(&self, key: u64) -> Option<u64> {
        // Most peers never change an announcement.
        let changed = if self.changes.is_empty() { None } else { self.changes.get(&key).copied() };
        changed.or_else(|| self.first.as_ref()?.get(key)).filter(|signature| *signature != 0)
    }

    /// Returns an error if the peer serves the method with another signature.
    pub(super) fn check(&mut self, callee: Callee<'_>) -> Result<(), CallError> {
        let method = match callee {
            Callee::Declared(method) => method,
            Callee::Latest(latest) => latest.method(),
            Callee::Named(_) => return Ok(()),
        };
        if self.matches((method.key, method.signature)) {
            return Ok(());
        }
        let theirs = self.get(method.key).unwrap_or_default();
        Err(CallError::SignatureMismatch(SignatureMismatch::of(method, theirs)))
    }

    /// Returns `true` if the peer serves the method with this signature, or has announced none.
    pub(super) fn matches(&mut self, (key, signature): (u64, u64)) -> bool {
        let matches =
            self.last_match == (key, signature) || self.get(key).is_none_or(|announced| announced == signature);
        if matches {
            self.last_match = (key, signature);
        }
        matches
    }
}

/// The signatures that a peer has announced. Several sessions may share them.
struct Table {
    /// Sorted by key.
    entries: Box<[(u64, u64)]>,
    hash: Hash,
}

type Hash = [u8; 32];

/// The tables of all sessions in this process. The key of a table is a cryptographic hash of its
/// entries, so that a peer cannot produce a different table with the same key.
static TABLES: Mutex<BTreeMap<Hash, Weak<Table>>> = Mutex::new(BTreeMap::new());

impl Table {
    /// Returns the shared table with these entries, which are sorted by key.
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
        // Another session may have inserted a new table with these entries.
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

    fn after(announcements: &[&[(u64, u64)]], max_names: usize) -> Signatures {
        let mut signatures = Signatures::default();
        for announced in announcements {
            signatures.extend(announced.iter().copied(), max_names);
            signatures.finish();
        }
        signatures
    }

    #[test]
    fn last_announcement_of_a_key_counts() {
        let signatures = after(&[&[(1, 10), (2, 20), (3, 30), (3, 31)], &[(2, 21), (4, 40), (5, 50)], &[(4, 41)]], 100);
        let current = (0..7).map(|key| signatures.get(key));
        assert_eq!(current.collect::<Vec<_>>(), [None, Some(10), Some(21), Some(31), Some(41), Some(50), None]);
    }

    #[test]
    fn withdrawn_signature_is_not_known() {
        let withdrawn = [(1, 0), (3, 0), (7, 0)];
        let signatures = after(&[&[(1, 10), (2, 20)], &[(3, 30)], &withdrawn], 100);
        assert_eq!([1, 2, 3, 7].map(|key| signatures.get(key)), [None, Some(20), None, None]);
        let signatures = after(&[&[(1, 10), (1, 0)], &[(1, 11)]], 100);
        assert_eq!(signatures.get(1), Some(11));
    }

    #[test]
    fn limit_of_names_rejects_new_names_but_not_changes() {
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
    fn method_called_before_is_checked_against_changes() {
        let method: &'static Method = Box::leak(Box::new(Method {
            path: "a",
            name: "b",
            key: 1,
            kind: Kind::Request,
            timeout: None,
            idempotent: false,
            detached: false,
            overflow: Overflow::Disconnect,
            latest: None,
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
    fn memory_of_a_shared_table_is_divided_among_sessions() {
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
    fn table_is_shared_while_a_session_uses_it() {
        let (a, b) = (after(&[&[(71, 1), (72, 2)]], 10), after(&[&[(72, 2), (71, 1)]], 10));
        let other = after(&[&[(71, 1), (72, 3)]], 10);
        let table = |signatures: &Signatures| Arc::clone(signatures.first.as_ref().unwrap());
        assert!(Arc::ptr_eq(&table(&a), &table(&b)));
        assert!(!Arc::ptr_eq(&table(&a), &table(&other)));
        let hash = table(&a).hash;
        drop(a);
        assert!(TABLES.lock().contains_key(&hash));
        drop(b);
        assert!(!TABLES.lock().contains_key(&hash));
    }
}
