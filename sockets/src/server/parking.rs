//! Sessions whose connections have broken: how many are kept, for how long, and with how much.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    disconnect_reason::DisconnectReason,
    driver::{Found, Recovery, Search},
    limits::Limits,
    proto::clamp_timeout,
    session::Session,
};

/// How often one looks how much it holds.
const LOOK: Duration = Duration::from_secs(1);

/// The places of a server for sessions without a connection.
pub(super) struct Parking {
    limits: Arc<Limits>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    sessions: u32,
    bytes: usize,
}

impl Parking {
    pub(super) fn new(limits: &Arc<Limits>) -> Arc<Self> {
        Arc::new(Self { limits: Arc::clone(limits), taken: Mutex::default() })
    }

    /// A place for one who holds nothing yet, if there is one.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.sessions >= self.limits.resume_sessions {
            return None;
        }
        taken.sessions += 1;
        Some(Place { parking: Arc::clone(self), bytes: 0 })
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
                    offer = session.offered() => return Ok(Found::Offered(offer)),
                    () = sleep_until(until) => break,
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
    bytes: usize,
}

impl Place {
    /// It holds so many bytes now. `false` if that is too much, with all the others.
    fn holds(&mut self, bytes: usize) -> bool {
        let mut taken = self.parking.taken.lock();
        taken.bytes = taken.bytes - self.bytes + bytes;
        self.bytes = bytes;
        taken.bytes <= self.parking.limits.resume_sessions_bytes as usize
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.parking.taken.lock();
        taken.sessions -= 1;
        taken.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_sessions_and_bytes_are_kept_and_no_more() {
        let limits = Limits { resume_sessions: 2, resume_sessions_bytes: 100, ..Limits::default() };
        let parking = Parking::new(&Arc::new(limits));
        let mut first = parking.enter().unwrap();
        let mut second = parking.enter().unwrap();
        assert!(parking.enter().is_none());
        assert!(first.holds(60) && second.holds(40) && !second.holds(41));
        drop(second);
        assert!(first.holds(100) && !first.holds(101));
        assert!(parking.enter().is_some());
    }
}
