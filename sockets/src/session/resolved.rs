//! The handlers of a key, whose drop is contained.

use std::{mem, sync::Arc};

use super::{Session, routes::Subscriber};
use crate::hooks;

/// The handlers that hear an emit, and the one that answers a request.
///
/// These may be the last handles of a handler. A panic of its `Drop` is reported, and ends nothing else.
pub(crate) struct Resolved {
    session: Arc<Session>,
    pub(crate) hearers: Box<[Subscriber]>,
    pub(crate) answerer: Option<Subscriber>,
}

impl Resolved {
    pub(crate) fn new(session: Arc<Session>, hearers: Box<[Subscriber]>, answerer: Option<Subscriber>) -> Self {
        Self { session, hearers, answerer }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hearers.is_empty() && self.answerer.is_none()
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        // Each by itself: a second panic while one unwinds would end the process.
        for handler in mem::take(&mut self.hearers).into_iter().chain(self.answerer.take()) {
            hooks::run("drop of a handler", self.session.label(), || drop(handler));
        }
    }
}
