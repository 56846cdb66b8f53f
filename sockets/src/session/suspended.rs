//! The task of a suspended handler.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use sockets_proto::{HandlerId, clamp_timeout};
use tokio::{sync::Mutex, time::timeout_at};

use super::{Session, State, handler_slot::HandlerFuture, held_handler::HeldHandler};
use crate::{clock::now, disconnect_reason::DisconnectReason, handler_context::run_handler};

/// Runs a suspended handler of the method with this key to its end.
///
/// While a full queue of replies waits for the peer to read, a handler is held if its method
/// returns large replies: its reply would have to wait, too. Handlers of other methods are not
/// held, since they may own a lock that handlers of other sessions wait for. A held handler may own
/// such a lock as well. So a handler is held for at most [`Limits::stall`](crate::Limits::stall),
/// even if the peer reads. Then the session ends.
pub(crate) async fn run_suspended(session: Arc<Session>, key: u64, handler: HandlerId, mut future: HandlerFuture) {
    loop {
        let polled = if session.holds_handler(key, handler) {
            let Some(polled) = Box::pin(session.resume_in_time(key, handler, &mut future)).await else {
                session.state.lock().close(DisconnectReason::TooSlow);
                return;
            };
            Some(polled)
        } else {
            session.poll_once(key, handler, &mut future).await
        };
        match polled {
            Some(Poll::Ready(())) => return,
            Some(Poll::Pending) => until_woken().await,
            None => {}
        }
    }
}

/// Waits for the task to be woken.
async fn until_woken() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl State {
    /// Returns `true` if the handlers of methods with large replies are held. Either a full queue
    /// of replies waits, or the session ends since it would hold too many bytes while it is
    /// detached.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.replies.bytes() >= self.core.queue_limit() || self.is_detached() && self.closing.is_some()
    }
}

impl Session {
    /// Returns `true` if this handler must not be resumed now.
    fn holds_handler(&self, key: u64, handler: HandlerId) -> bool {
        let HandlerId::Request(call) = handler else { return false };
        if !self.reply_pressure.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.state.lock();
        state.is_under_pressure() && state.replies.may_grow(key, call)
    }

    /// Polls the handler once, with a permit if handlers of this session are slow. Returns `None`
    /// if the handler is held when it gets its permit: handlers with earlier permits may have
    /// filled the queue.
    ///
    /// A handler of a detached session always needs a permit. Many abandoned sessions may have one
    /// slow handler each, and their clients do not wait for the replies.
    async fn poll_once(self: &Arc<Self>, key: u64, handler: HandlerId, future: &mut HandlerFuture) -> Option<Poll<()>> {
        let _permit = if self.needs_permit() {
            let permit = Box::pin(self.slowness.permit(|| self.needs_permit())).await;
            if self.holds_handler(key, handler) {
                return None;
            }
            permit
        } else {
            None
        };
        let began = now();
        let polled = poll_fn(|cx| Poll::Ready(run_handler(self, || future.poll(cx).map(drop)))).await;
        self.record_poll(began, now());
        Some(polled)
    }

    /// Resumes a held handler. Returns `None` if it has been held for too long.
    async fn resume_in_time(
        self: &Arc<Self>,
        key: u64,
        handler: HandlerId,
        future: &mut HandlerFuture,
    ) -> Option<Poll<()>> {
        let mut held = HeldHandler::new(self);
        let until = held.since() + clamp_timeout(self.limits.stall);
        let polled = timeout_at(until.into(), self.resume_in_order(key, handler, future)).await.ok();
        if polled.is_some() {
            held.resume();
        }
        polled
    }

    /// Returns `true` if a handler needs a permit. Takes no lock while the connection accepts
    /// bytes.
    fn needs_permit(&self) -> bool {
        self.is_slow() || self.is_blocked() && self.is_detached()
    }

    /// Waits until fewer bytes of replies wait, and resumes the handler. Only one handler at a time
    /// is resumed, since each may add a reply.
    async fn resume_in_order(self: &Arc<Self>, key: u64, handler: HandlerId, future: &mut HandlerFuture) -> Poll<()> {
        let _first = self.held_handlers.get_or_init(|| Box::new(Mutex::new(()))).lock().await;
        loop {
            let mut capacity = pin!(self.state.capacity.notified());
            capacity.as_mut().enable();
            if self.holds_handler(key, handler) {
                capacity.await;
            } else if let Some(polled) = self.poll_once(key, handler, future).await {
                return polled;
            }
        }
    }

    /// Updates the flag that handlers are held, and wakes the first of them when it is cleared.
    pub(super) fn update_pressure(&self, state: &mut State) {
        let is_under_pressure = state.is_under_pressure();
        if self.reply_pressure.swap(is_under_pressure, Ordering::Relaxed) && !is_under_pressure {
            state.replies.end_pressure();
            state.notify_capacity();
        }
    }
}
