//! Sessions whose connections have broken: how many are kept, for how long, and with how much.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use crate::lock::Mutex;
use crate::{
    disconnect_reason::DisconnectReason,
    driver::{Found, Recovery, Search},
    limits::Limits,
    session::Session,
};
use sockets_proto::clamp_timeout;

/// How often the bytes that a session holds are counted again.
const LOOK: Duration = Duration::from_secs(1);
/// They are counted at once when they have grown by so many.
const GROWTH: usize = 16 * 1024;

/// The places of a server for sessions without a connection.
pub(super) struct Parking {
    limits: Arc<Limits>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// By when they came. A session hears of it when its sender is dropped.
    places: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
    bytes: usize,
}

impl Parking {
    pub(super) fn new(limits: &Arc<Limits>) -> Arc<Self> {
        Arc::new(Self { limits: Arc::clone(limits), taken: Mutex::default() })
    }

    /// A place for one who holds nothing yet, if there are any. The one who has waited longest makes room: of all it is the least
    /// likely to come back.
    fn enter(self: &Arc<Self>) -> Option<Place> {
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
        Some(Place { parking: Arc::clone(self), number, bytes: 0, given_up })
    }
}

impl Recovery for Parking {
    fn search(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> Search {
        Box::pin(async move {
            if session.is_offered() {
                return Ok(Found::Offered(session.offered().await));
            }
            let Some(mut place) = self.enter() else { return Err(reason) };
            let until = Instant::now() + clamp_timeout(self.limits.resume_within);
            while place.holds(session.held()) {
                tokio::select! {
                    biased;
                    offer = session.offered() => return Ok(Found::Offered(offer)),
                    _ = &mut place.given_up => break,
                    () = sleep_until(until) => break,
                    () = session.grows_to(place.bytes.saturating_add(GROWTH)) => {}
                    () = sleep(LOOK) => {}
                }
            }
            Err(reason)
        })
    }
}

/// A session's place, until it is dropped.
struct Place {
    parking: Arc<Parking>,
    number: u64,
    bytes: usize,
    /// Fails when the place is given to another one.
    given_up: oneshot::Receiver<()>,
}

impl Place {
    /// It holds so many bytes now. `false` if all together hold too much, and this one more than its part.
    fn holds(&mut self, bytes: usize) -> bool {
        let most = self.parking.limits.resume_sessions_bytes as usize;
        let mut taken = self.parking.taken.lock();
        taken.bytes = taken.bytes - self.bytes + bytes;
        self.bytes = bytes;
        taken.bytes <= most || bytes <= most / taken.places.len().max(1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.parking.taken.lock();
        let stays = taken.places.remove(&self.number);
        taken.bytes -= self.bytes;
        drop(taken);
        drop(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parking(resume_sessions: u32) -> Arc<Parking> {
        let limits = Limits { resume_sessions, resume_sessions_bytes: 100, ..Limits::default() };
        Parking::new(&Arc::new(limits))
    }

    #[test]
    fn who_has_waited_longest_makes_room() {
        let parking = parking(2);
        let [mut first, mut second, mut third] = [(); 3].map(|()| parking.enter().unwrap());
        let is_given_up = |place: &mut Place| place.given_up.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(is_given_up(&mut first) && !is_given_up(&mut second) && !is_given_up(&mut third));
        drop(second);
        let mut fourth = parking.enter().unwrap();
        assert!(!is_given_up(&mut third) && !is_given_up(&mut fourth), "there was a place");
        drop(first);
        assert_eq!(parking.taken.lock().places.len(), 2, "one who is given up has none to give back");
    }

    #[test]
    fn where_there_are_no_places_nobody_waits() {
        assert!(parking(0).enter().is_none());
    }

    #[test]
    fn who_holds_more_than_its_part_leaves_when_all_hold_too_much() {
        let parking = parking(10);
        let [mut large, mut small] = [(); 2].map(|()| parking.enter().unwrap());
        assert!(large.holds(90) && small.holds(10), "all together hold as much as they may");
        assert!(small.holds(20), "it has no more than its part");
        assert!(!large.holds(90));
        drop(large);
        assert!(small.holds(100) && !small.holds(101));
    }
}
