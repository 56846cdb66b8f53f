//! The identity of a user of the chat.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use sockets::Identity;

/// The names that are in use, with the users that have them.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<String, Weak<Claim>>>>);

impl Names {
    /// Assigns a name to a new user. Returns `None` if the name is in use. Names are
    /// case-insensitive.
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

    /// Returns the user that has this name. A session that resumes keeps its user.
    pub fn known(&self, name: &str) -> Option<Person> {
        self.lock().get(&name.to_lowercase()).and_then(Weak::upgrade).map(Person)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Claim>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user, which is the identity of a socket. The user's name becomes free when the last clone of
/// this value is dropped. The library drops its clones after the session has ended or could not be
/// established.
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

    /// Returns a number that increases with each arrival of a user in a room. The first member of a
    /// room has the smallest number.
    pub fn arrival(&self) -> u64 {
        self.0.arrival.load(Ordering::Relaxed)
    }

    /// Records that the user arrives in a room.
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

impl Identity for Person {
    type Key = String;

    fn key(&self) -> String {
        self.0.key.clone()
    }
}
