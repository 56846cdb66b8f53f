//! Who somebody is, to the server.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The names that are taken.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashSet<String>>>);

impl Names {
    /// Gives somebody a name, unless another one has it; upper and lower case make no difference.
    pub fn take(&self, name: &str) -> Option<Person> {
        let key = name.to_lowercase();
        if !self.lock().insert(key.clone()) {
            return None;
        }
        let arrival = AtomicU64::new(0);
        Some(Person(Arc::new(Claim { name: name.to_owned(), key, arrival, names: self.clone() })))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody in the chat: the identity of a socket. When its last clone is dropped, the name is free again: that is when
/// the session has ended, or when it has not come about.
#[derive(Clone)]
pub struct Person(Arc<Claim>);

struct Claim {
    name: String,
    key: String,
    arrival: AtomicU64,
    names: Names,
}

impl Person {
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn is_called(&self, name: &str) -> bool {
        self.0.key == name.to_lowercase()
    }

    /// The number of the person's arrival in the room; the first member of a room has the smallest.
    pub fn arrival(&self) -> u64 {
        self.0.arrival.load(Ordering::Relaxed)
    }

    /// Notes that the person arrives in a room.
    pub fn arrives(&self) {
        static ARRIVALS: AtomicU64 = AtomicU64::new(0);
        self.0.arrival.store(ARRIVALS.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.names.lock().remove(&self.key);
    }
}

impl PartialEq for Person {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Person {}

impl Hash for Person {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}
