//! Sessions whose connections have broken: how many are kept, for how long, and with how much.

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

/// How often the bytes that a session holds are counted again.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The places of a server for sessions without a connection.
pub(super) struct DetachedSessions {
    limits: Arc<Limits>,
    taken: Mutex<DetachedState>,
    bytes: Arc<DetachedBytes>,
}

#[derive(Default)]
struct DetachedState {
    /// By when they came. A session hears of it when its sender is dropped.
    places: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

impl DetachedSessions {
    pub(super) fn new(limits: &Arc<Limits>) -> Arc<Self> {
        let bytes = DetachedBytes::new(limits.resume_sessions_bytes as usize);
        Arc::new(Self { limits: Arc::clone(limits), taken: Mutex::default(), bytes })
    }

    /// A place for a session, if there are any. The one who has waited longest makes room: of all it is the least
    /// likely to come back.
    fn acquire(self: &Arc<Self>) -> Option<DetachedSlot> {
        let most = self.limits.resume_sessions as usize;
        let (stays, given_up) = oneshot::channel();
        let mut given_away = Vec::new();
        let mut taken = self.taken.lock();
        while taken.places.len() >= most {
            given_away.push(taken.places.pop_first()?);
        }
        taken.next += 1;
        let number = taken.next;
        taken.places.insert(number, stays);
        drop(taken);
        // Without the lock, since that wakes their sessions.
        drop(given_away);
        Some(DetachedSlot { parking: Arc::clone(self), number, evicted: given_up })
    }
}

impl Reattach for DetachedSessions {
    fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture {
        Box::pin(async move {
            if session.has_resumed_connection() {
                return Ok(Reattached::Accepted(session.resumed_connection().await));
            }
            let Some(mut place) = self.acquire() else { return Err(reason) };
            let until = Instant::now() + clamp_timeout(self.limits.resume_within);
            loop {
                session.recount();
                tokio::select! {
                    biased;
                    offer = session.resumed_connection() => return Ok(Reattached::Accepted(offer)),
                    _ = &mut place.evicted => break,
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

/// A session's place, until it is dropped.
struct DetachedSlot {
    parking: Arc<DetachedSessions>,
    number: u64,
    /// Fails when the place is given to another one.
    evicted: oneshot::Receiver<()>,
}

impl Drop for DetachedSlot {
    fn drop(&mut self) {
        let mut taken = self.parking.taken.lock();
        let stays = taken.places.remove(&self.number);
        drop(taken);
        drop(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parking(resume_sessions: u32) -> Arc<DetachedSessions> {
        let limits = Limits { resume_sessions, ..Limits::default() };
        DetachedSessions::new(&Arc::new(limits))
    }

    #[test]
    fn who_has_waited_longest_makes_room() {
        let parking = parking(2);
        let [mut first, mut second, mut third] = [(); 3].map(|()| parking.acquire().unwrap());
        let is_given_up =
            |place: &mut DetachedSlot| place.evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(is_given_up(&mut first) && !is_given_up(&mut second) && !is_given_up(&mut third));
        drop(second);
        let mut fourth = parking.acquire().unwrap();
        assert!(!is_given_up(&mut third) && !is_given_up(&mut fourth), "there was a place");
        drop(first);
        assert_eq!(parking.taken.lock().places.len(), 2, "one who is given up has none to give back");
    }

    #[test]
    fn where_there_are_no_places_nobody_waits() {
        assert!(parking(0).acquire().is_none());
    }
}
