//! A handler that is not resumed while too many bytes of replies wait.

use std::time::Instant;

use super::Session;

/// Counts a held handler until this value is dropped.
///
/// A handler may end while it is held, because of its deadline or because its caller cancels the
/// call. Then the next held handler counts as held since the time at which this handler was first
/// held. Otherwise a peer could hold handlers in sequence, each for less than the limit.
pub(super) struct HeldHandler<'a> {
    session: &'a Session,
    since: Instant,
    is_resumed: bool,
}

impl<'a> HeldHandler<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        let since = session.state.lock().replies.hold();
        Self { session, since, is_resumed: false }
    }

    /// Returns the time from which the handler counts as held.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Records that the handler has been resumed.
    pub(super) fn resume(&mut self) {
        self.is_resumed = true;
    }
}

impl Drop for HeldHandler<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        let is_under_pressure = state.is_under_pressure();
        state.replies.release(self.since, self.is_resumed, is_under_pressure);
    }
}
