//! Memory that a thread keeps for all its connections, so that an idle connection holds none.
//!
//! | cache of a thread | contents | limit |
//! | --- | --- | --- |
//! | `transport/buffer_pool.rs` | read buffers | 4 of 16 KiB |
//! | `transport/buffer_pool.rs` | the buffer of the last large frame | 2 MiB |
//! | `driver/handler_slots.rs` | the memory of handlers' futures | 32 futures |
//! | `session/turn.rs` | the replies of a turn | 2 MiB |
//! | `session/layered_result.rs` | the places for results of handlers with layers | 32 places |
//! | `codec.rs` | arguments and replies of calls with layers | 4 KiB |
//! | `session/wake_list.rs` | a list of wake-ups | 1,024 entries |
//! | `sockets-proto`, `codec/scratch.rs` | an encoded message, and the last large message | 64 KiB and 2 MiB |
//!
//! `.ci/counts` shows the effect of these caches: a call on an established session allocates no
//! memory. The workloads `idle` of benches/README.md show the memory of an idle connection.

use std::cell::Cell;

/// Up to `CAPACITY` values that a thread keeps for reuse.
///
/// The caller takes a value out of the cache and does not borrow it, because user code may use the
/// cache in the meantime.
pub(crate) struct ThreadCache<T, const CAPACITY: usize>([Cell<Option<T>>; CAPACITY]);

impl<T, const CAPACITY: usize> ThreadCache<T, CAPACITY> {
    pub(crate) const fn new() -> Self {
        Self([const { Cell::new(None) }; CAPACITY])
    }

    /// Takes a value, if any.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.iter().find_map(Cell::take)
    }

    /// Keeps a value for reuse. If the cache is full, an earlier value is dropped.
    pub(crate) fn put(&self, value: T) {
        let mut value = Some(value);
        for slot in &self.0 {
            value = slot.replace(value);
            if value.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_cache_keeps_the_latest_values() {
        let cache = ThreadCache::<u32, 2>::new();
        assert_eq!(cache.take(), None);
        for value in 1..=3 {
            cache.put(value);
        }
        assert_eq!([cache.take(), cache.take(), cache.take()], [Some(3), Some(2), None]);
    }
}
