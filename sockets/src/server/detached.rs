//! Detached sessions of a server, and the limits on their number, time and bytes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use crate::lock::Mutex;
use crate::{
    disconnect_reason::DisconnectReason,
    driver::{Reattach, ReattachFuture, Reattached},
    limits::Limits,
    session::{DetachedBytes, DetachedShare, Session},
};
use sockets_proto::clamp_timeout;

/// The interval at which the server counts the bytes of a detached session again.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The slots of a server for detached sessions.
pub(super) struct DetachedSessions {
    limits: Arc<Limits>,
    state: Mutex<DetachedState>,
    bytes: Arc<DetachedBytes>,
}

#[derive(Default)]
struct DetachedState {
    /// The slots in the order in which sessions were detached. Dropping the sender of a slot ends
    /// its session.
    slots: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

impl DetachedSessions {
    pub(super) fn new(limits: &Arc<Limits>) -> Arc<Self> {
        let bytes = DetachedBytes::new(limits.resume_sessions_bytes as usize);
        Arc::new(Self { limits: Arc::clone(limits), state: Mutex::default(), bytes })
    }

    /// Returns a slot for a detached session, or `None` if the limit of detached sessions is 0.
    ///
    /// If all slots are taken, the function ends the session that has been detached for the longest
    /// time. That session is the least likely to be resumed.
    fn acquire(self: &Arc<Self>) -> Option<DetachedSlot> {
        let limit = self.limits.resume_sessions as usize;
        let (keep, evicted) = oneshot::channel();
        let mut evicted_slots = Vec::new();
        let mut state = self.state.lock();
        while state.slots.len() >= limit {
            evicted_slots.push(state.slots.pop_first()?);
        }
        state.next += 1;
        let number = state.next;
        state.slots.insert(number, keep);
        drop(state);
        // The lock is released first, since dropping the senders wakes the sessions.
        drop(evicted_slots);
        Some(DetachedSlot { sessions: Arc::clone(self), number, evicted })
    }
}

impl Reattach for DetachedSessions {
    fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture {
        Box::pin(async move {
            if session.has_resumed_connection() {
                return Ok(Reattached::Accepted(session.resumed_connection().await));
            }
            let Some(mut slot) = self.acquire() else { return Err(reason) };
            let until = Instant::now() + clamp_timeout(self.limits.resume_within);
            loop {
                session.recount();
                tokio::select! {
                    biased;
                    connection = session.resumed_connection() => return Ok(Reattached::Accepted(connection)),
                    _ = &mut slot.evicted => break,
                    () = sleep_until(until) => break,
                    () = sleep(CHECK_INTERVAL) => {}
                }
            }
            Err(reason)
        })
    }

    fn share(&self) -> Option<DetachedShare> {
        Some(self.bytes.share())
    }
}

/// The slot of a detached session. Dropping the slot frees it for another session.
struct DetachedSlot {
    sessions: Arc<DetachedSessions>,
    number: u64,
    /// A receiver that fails when another session takes the slot.
    evicted: oneshot::Receiver<()>,
}

impl Drop for DetachedSlot {
    fn drop(&mut self) {
        let mut state = self.sessions.state.lock();
        let keep = state.slots.remove(&self.number);
        drop(state);
        drop(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detached_sessions(resume_sessions: u32) -> Arc<DetachedSessions> {
        let limits = Limits::new().resume_sessions(resume_sessions);
        DetachedSessions::new(&Arc::new(limits))
    }

    #[test]
    fn oldest_detached_session_is_evicted_first() {
        let detached_sessions = detached_sessions(2);
        let [mut first, mut second, mut third] = [(); 3].map(|()| detached_sessions.acquire().unwrap());
        let is_evicted = |slot: &mut DetachedSlot| slot.evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(is_evicted(&mut first) && !is_evicted(&mut second) && !is_evicted(&mut third));
        drop(second);
        let mut fourth = detached_sessions.acquire().unwrap();
        assert!(!is_evicted(&mut third) && !is_evicted(&mut fourth), "a slot was free");
        drop(first);
        assert_eq!(detached_sessions.state.lock().slots.len(), 2, "an evicted session returns no slot");
    }

    #[test]
    fn limit_of_zero_detaches_no_session() {
        assert!(detached_sessions(0).acquire().is_none());
    }
}
