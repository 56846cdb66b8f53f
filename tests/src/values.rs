//! Values that fail when they are dropped or encoded.

use std::{sync::Arc, thread};

use serde::{Deserialize, Serialize, Serializer, ser::Error};
use sockets::Identity;

/// A value that panics when it is dropped. The message of the panic contains the name.
#[derive(Debug)]
pub struct PanicsOnDrop(pub &'static str);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        // If the thread already panics, a second panic would abort the process.
        assert!(thread::panicking(), "dropped {}", self.0);
    }
}

/// A value that cannot be encoded.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Fragile;

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("a value that cannot be encoded"))
    }
}

/// An identity that panics when its last clone is dropped.
#[derive(Clone, Debug, Identity)]
pub struct FragileIdentity(#[identity(key)] pub Arc<u32>);

impl Drop for FragileIdentity {
    fn drop(&mut self) {
        let is_last = Arc::strong_count(&self.0) == 1;
        assert!(thread::panicking() || !is_last, "an identity panics while it is dropped");
    }
}

/// An identity with any data. All clients have the same key.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen<T>(pub T);

impl<T: Clone + Send + Sync + 'static> Identity for Seen<T> {
    type Key = ();

    fn key(&self) {}
}
