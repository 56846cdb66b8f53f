//! The bytes that the detached sessions of a server hold together.

use std::sync::Arc;

use crate::lock::Mutex;

/// Minimum change of the bytes that a session holds before the session adjusts its share.
const PRECISION: usize = 16 * 1024;

/// The bytes that the detached sessions of a server hold together, and their limit.
pub(crate) struct DetachedBytes {
    limit: usize,
    total: Mutex<Total>,
}

#[derive(Default)]
struct Total {
    sessions: usize,
    bytes: usize,
}

/// A detached session's share of the total number of bytes. Dropping the share subtracts its bytes
/// from the total.
pub(crate) struct DetachedShare {
    all: Arc<DetachedBytes>,
    bytes: usize,
}

impl DetachedBytes {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, total: Mutex::default() })
    }

    /// Returns the empty share of a further session.
    pub(crate) fn share(self: &Arc<Self>) -> DetachedShare {
        self.total.lock().sessions += 1;
        DetachedShare { all: Arc::clone(self), bytes: 0 }
    }
}

impl DetachedShare {
    /// Returns `true` if the session's bytes differ from the share by at least [`PRECISION`].
    pub(super) fn is_outdated(&self, bytes: usize) -> bool {
        self.bytes.abs_diff(bytes) >= PRECISION
    }

    /// Adjusts the share to the bytes that the session holds, or is about to hold.
    ///
    /// A server has a limit for the total of all its detached sessions. If the total would exceed
    /// this limit, each session may hold at most the limit divided by the number of detached
    /// sessions. If this session would hold more than that, the share does not grow, and the
    /// function returns `false`.
    pub(super) fn adjust(&mut self, bytes: usize) -> bool {
        let mut total = self.all.total.lock();
        let adjusted = total.bytes - self.bytes + bytes;
        let fits = adjusted <= self.all.limit || bytes <= self.all.limit / total.sessions.max(1);
        if fits || bytes < self.bytes {
            total.bytes = adjusted;
            self.bytes = bytes;
        }
        fits
    }
}

impl Drop for DetachedShare {
    fn drop(&mut self) {
        let mut total = self.all.total.lock();
        total.sessions -= 1;
        total.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_above_an_equal_part_does_not_grow_past_the_limit() {
        let all = DetachedBytes::new(100);
        let [mut large, mut small] = [(); 2].map(|()| all.share());
        assert!(large.adjust(90) && small.adjust(10), "together they are at the limit");
        assert!(!large.adjust(91), "it has more than its part");
        assert!(small.adjust(20), "it has no more than its part");
        assert!(!large.adjust(90), "together they are beyond the limit now");
        assert_eq!(all.total.lock().bytes, 110);
        drop(large);
        assert!(small.adjust(100) && !small.adjust(101));
        drop(small);
        assert_eq!(all.total.lock().bytes, 0);
    }
}
