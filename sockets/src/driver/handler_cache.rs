//! The handlers of the methods that a peer has called.

use std::{collections::BTreeSet, mem, sync::Arc};

use crate::session::{Resolved, Session};

/// The handlers of the methods that a peer has called, by key.
pub(super) struct HandlerCache {
    /// The handlers that the routes returned, sorted by key. There is no entry for a key without a
    /// handler.
    entries: Vec<(u64, CachedHandlers)>,
    /// The version of the routes from which `entries` was made.
    version: u64,
    /// The keys of methods with handlers that have suspended. They are kept when the routes change.
    suspending: BTreeSet<u64>,
}

/// The handlers of a key.
pub(super) struct CachedHandlers {
    pub(super) resolved: Resolved,
    /// `true` after a handler of this key has suspended. A suspended handler may keep the buffer of
    /// its arguments for a long time. So later handlers receive their arguments in a separate
    /// buffer instead of the buffer of the received batch. Only the first suspended handler keeps
    /// the buffer of its batch, since its arguments already borrow from this buffer.
    pub(super) suspends: bool,
}

impl HandlerCache {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), version: 0, suspending: BTreeSet::new() }
    }

    /// Returns the handlers of a key.
    pub(super) fn get(&mut self, session: &Arc<Session>, key: u64) -> Option<&CachedHandlers> {
        let current = session.routes_version();
        if self.version != current {
            self.version = current;
            self.entries.clear();
        }
        let at = match self.entries.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => at,
            Err(at) => {
                let resolved = session.resolve(key);
                if resolved.is_empty() {
                    return None;
                }
                let suspends = self.suspending.contains(&key);
                // There are many connections, and each calls few methods. So the cache reserves
                // only the memory that it needs.
                self.entries.reserve_exact(1);
                self.entries.insert(at, (key, CachedHandlers { resolved, suspends }));
                at
            }
        };
        Some(&self.entries[at].1)
    }

    /// Records that a handler of this key has suspended. The cache keeps at most `max_keys` such
    /// keys. Without this limit, the set would grow with each change of the routes.
    pub(super) fn record_suspension(&mut self, key: u64, max_keys: usize) {
        let Ok(at) = self.entries.binary_search_by_key(&key, |(key, _)| *key) else { return };
        if !mem::replace(&mut self.entries[at].1.suspends, true) {
            if self.suspending.len() >= max_keys {
                self.suspending.clear();
            }
            self.suspending.insert(key);
        }
    }
}
