//! A reply that waits for capacity.

use std::sync::atomic::Ordering;

use sockets_proto::CallId;

use super::Session;

/// Counts an encoded reply that waits for capacity, until this value is dropped.
pub(super) struct PendingReply<'a> {
    session: &'a Session,
    call: CallId,
    bytes: usize,
}

impl<'a> PendingReply<'a> {
    pub(super) fn new(session: &'a Session, call: CallId, bytes: usize) -> Self {
        let mut state = session.state.lock();
        state.replies.add(call, bytes);
        session.update_pressure(&mut state);
        state.update_share();
        Self { session, call, bytes }
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        state.replies.remove(self.call, self.bytes);
        self.session.update_pressure(&mut state);
        if self.session.is_released.load(Ordering::Relaxed) {
            let bytes = state.replies.bytes();
            state.reattach.release_share(bytes);
        }
    }
}
