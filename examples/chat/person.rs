//! Who somebody is, to the server.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// The names that are taken, and by whom.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<String, Weak<Claim>>>>);

impl Names {
    /// Gives somebody a name, unless another one has it; upper and lower case make no difference.
    pub fn take(&self, name: &str) -> Option<Person> {
        let key = name.to_lowercase();
        let mut names = self.lock();
        if names.contains_key(&key) {
            return None;
        }
        let arrival = AtomicU64::new(0);
        let claim = Arc::new(Claim { name: name.to_owned(), key: key.clone(), arrival, names: self.clone() });
        names.insert(key, Arc::downgrade(&claim));
        Some(Person(claim))
    }

    /// Who has a name, for one who comes back.
    pub fn known(&self, name: &str) -> Option<Person> {
        self.lock().get(&name.to_lowercase()).and_then(Weak::upgrade).map(Person)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Claim>>> {
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
