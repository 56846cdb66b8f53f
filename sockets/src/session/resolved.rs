//! The subscribers of a key, as the dispatcher holds them.

use std::{mem, sync::Arc};

use super::{Session, routes::Subscriber};
use crate::hooks;

/// The subscribers that handle an emit, and the subscriber that answers a request.
///
/// If this value holds the last handle of a handler, the drop of this value drops the handler, too.
/// If the handler's `Drop` panics, the session reports the panic, which has no other effect.
pub(crate) struct Resolved {
    session: Arc<Session>,
    pub(crate) emit_handlers: Box<[Subscriber]>,
    pub(crate) request_handler: Option<Subscriber>,
}

impl Resolved {
    pub(crate) fn new(
        session: Arc<Session>,
        emit_handlers: Box<[Subscriber]>,
        request_handler: Option<Subscriber>,
    ) -> Self {
        Self { session, emit_handlers, request_handler }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.emit_handlers.is_empty() && self.request_handler.is_none()
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        // Each handler is dropped separately, because a second panic during unwinding would abort
        // the process.
        for handler in mem::take(&mut self.emit_handlers).into_iter().chain(self.request_handler.take()) {
            hooks::run("drop of a handler", self.session.label(), || drop(handler));
        }
    }
}
