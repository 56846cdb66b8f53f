//! Values that accompany a call within the process.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
};

/// A map with at most one value of each type. Layers add values to a call, and its handler reads
/// them by [`Call::extensions`](crate::Call::extensions).
///
/// The values stay in the process. They are not sent to the peer.
///
/// ```
/// let mut extensions = sockets::Extensions::default();
/// assert_eq!(extensions.insert(7_u32), None);
/// assert_eq!(extensions.insert(8_u32), Some(7));
/// assert_eq!(extensions.get::<u32>(), Some(&8));
/// assert_eq!(extensions.get::<String>(), None);
/// ```
#[derive(Clone, Default)]
#[expect(clippy::box_collection, reason = "a call without values has only a pointer")]
pub struct Extensions(
    /// `None` if there are no values.
    Option<Box<BTreeMap<TypeId, Box<dyn Value>>>>,
);

impl Extensions {
    /// Returns the value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let value = &**self.0.as_ref()?.get(&TypeId::of::<T>())?;
        (value as &dyn Any).downcast_ref()
    }

    /// Adds a value. Returns the former value of the same type.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let former = self.0.get_or_insert_default().insert(TypeId::of::<T>(), Box::new(value))?;
        (former as Box<dyn Any>).downcast().ok().map(|former| *former)
    }
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extensions").field("len", &self.0.as_ref().map_or(0, |values| values.len())).finish()
    }
}

/// A value that can be cloned, since calls can be cloned.
trait Value: Any + Send + Sync {
    fn boxed_clone(&self) -> Box<dyn Value>;
}

impl<T: Clone + Send + Sync + 'static> Value for T {
    fn boxed_clone(&self) -> Box<dyn Value> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Value> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}
