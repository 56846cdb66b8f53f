//! The task of a suspended handler.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use sockets_proto::{HandlerId, clamp_timeout};
use tokio::time::timeout_at;

use super::{Session, handler_slot::HandlerFuture, pending_replies::HeldHandler};
use crate::{
    clock::now, disconnect_reason::DisconnectReason, handler_context::run_handler, scheduler::wake_another_worker,
};

/// A suspended handler, which runs to its end in a separate task.
///
/// While too many bytes of replies wait because the peer does not read, the session holds the
/// handlers of methods with large replies. It does not resume a held handler, since the handler's
/// reply would have to wait, too.
///
/// The session does not hold handlers of other methods, since they may own a lock for which
/// handlers of other sessions wait. A held handler may own such a lock as well. So the session ends
/// if it has held a handler for [`Limits::stall`](crate::Limits::stall), even if the peer reads.
pub(crate) struct SuspendedHandler {
    future: HandlerFuture,
    session: Arc<Session>,
    /// The key of the method.
    key: u64,
    id: HandlerId,
    /// `true` if nothing but the end of the server stops the handler.
    is_detached: bool,
}

impl SuspendedHandler {
    pub(crate) fn new(session: Arc<Session>, key: u64, id: HandlerId, future: HandlerFuture) -> Self {
        Self { future, session, key, id, is_detached: false }
    }

    /// Makes this the handler of a method with `detached`, which is never held.
    pub(crate) fn detached(self) -> Self {
        Self { is_detached: true, ..self }
    }

    /// Runs the handler to its end.
    pub(crate) async fn run(mut self) {
        loop {
            let polled = if self.is_held() {
                let Some(polled) = Box::pin(self.resume_in_time()).await else {
                    self.session.state.lock().close(DisconnectReason::TooSlow);
                    return;
                };
                Some(polled)
            } else {
                self.poll_once().await
            };
            match polled {
                Some(Poll::Ready(())) => return,
                Some(Poll::Pending) => until_woken().await,
                None => {}
            }
        }
    }

    /// Returns `true` if this handler must not be resumed now.
    fn is_held(&self) -> bool {
        let HandlerId::Request(call) = self.id else { return false };
        if self.is_detached || !self.session.reply_pressure.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.session.state.lock();
        state.is_under_pressure() && state.replies.may_grow(self.key, call)
    }

    /// Polls the handler once. If handlers of this session are slow, the handler first waits for a
    /// permit. During this wait, handlers with earlier permits may fill the queue, so that this
    /// handler has to be held. In that case, returns `None`.
    ///
    /// A handler of a detached session always needs a permit, because many abandoned sessions may
    /// have a slow handler each. These handlers can wait for permits, since their clients do not
    /// wait for the replies.
    async fn poll_once(&mut self) -> Option<Poll<()>> {
        let _permit = if self.needs_permit() {
            let permit = Box::pin(self.session.slowness.permit(|| self.needs_permit())).await;
            if self.is_held() {
                return None;
            }
            wake_another_worker();
            permit
        } else {
            None
        };
        let began = now();
        let polled = poll_fn(|cx| Poll::Ready(run_handler(&self.session, || self.future.poll(cx).map(drop)))).await;
        self.session.record_poll(began, now());
        Some(polled)
    }

    /// Resumes a held handler. Returns `None` if it has been held for too long.
    async fn resume_in_time(&mut self) -> Option<Poll<()>> {
        let session = Arc::clone(&self.session);
        let mut held = HeldHandler::new(&session);
        let until = held.since() + clamp_timeout(session.limits.stall);
        let polled = timeout_at(until.into(), self.resume_in_order()).await.ok();
        if polled.is_some() {
            held.resume();
        }
        polled
    }

    /// Returns `true` if a handler needs a permit. In the usual case, in which the connection
    /// accepts bytes, this function takes no lock.
    fn needs_permit(&self) -> bool {
        let session = &self.session;
        session.is_slow() || session.is_blocked() && session.is_detached()
    }

    /// Waits until the waiting replies have few enough bytes, and resumes the handler. The session
    /// resumes its held handlers one after the other, since each handler may add a reply.
    async fn resume_in_order(&mut self) -> Poll<()> {
        let session = Arc::clone(&self.session);
        let _first = session.held_handlers.get_or_init(Box::default).lock().await;
        loop {
            let mut capacity = pin!(session.state.capacity.notified());
            capacity.as_mut().enable();
            if self.is_held() {
                capacity.await;
            } else if let Some(polled) = self.poll_once().await {
                return polled;
            }
        }
    }
}

/// Waits for the task to be woken.
async fn until_woken() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}
