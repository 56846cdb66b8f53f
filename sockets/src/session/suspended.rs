//! A suspended handler, in a task of its own.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use sockets_proto::{HandlerId, clamp_timeout};
use tokio::{sync::Mutex, time::timeout_at};

use super::{Session, State, handler_context::run_handler, handler_slot::HandlerFuture, pending_replies::HeldHandler};
use crate::{clock::now, disconnect_reason::DisconnectReason};

/// Runs a suspended handler of the method with this key to its end.
///
/// While a queue's worth of replies waits for the peer to read, a handler whose method returns large replies is not
/// resumed: its reply would have to wait, too. Handlers of other methods always are, since they may hold a lock that
/// handlers of other sessions wait for. A handler that is held may own such a lock as well. So a handler is held for at
/// most [`Limits::stall`](crate::Limits::stall), even if the peer reads: then the session ends.
pub(crate) async fn run_suspended(session: Arc<Session>, key: u64, open: HandlerId, mut running: HandlerFuture) {
    loop {
        let polled = if session.holds_handler(key, open) {
            let Some(polled) = Box::pin(session.resume_in_time(key, open, &mut running)).await else {
                session.state.lock().close(DisconnectReason::TooSlow);
                return;
            };
            Some(polled)
        } else {
            session.poll_once(key, open, &mut running).await
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

impl Session {
    fn holds_handler(&self, key: u64, open: HandlerId) -> bool {
        let HandlerId::Request(call) = open else { return false };
        self.reply_pressure.load(Ordering::Relaxed) && self.state.lock().holds_handler(key, call)
    }

    /// Polls the handler once, with a permit if handlers of this session are slow. Returns `None` if the handler is held
    /// when it gets its permit: handlers that had one before may have filled the queue.
    ///
    /// A handler of a detached session always needs a permit. Many sessions that have been left may have one slow handler
    /// each, and their clients do not wait for the replies.
    async fn poll_once(self: &Arc<Self>, key: u64, open: HandlerId, running: &mut HandlerFuture) -> Option<Poll<()>> {
        let _permit = if self.needs_permit() {
            let permit = Box::pin(self.slowness.permit(|| self.needs_permit())).await;
            if self.holds_handler(key, open) {
                return None;
            }
            permit
        } else {
            None
        };
        let began = now();
        let polled = poll_fn(|cx| Poll::Ready(run_handler(self, || running.poll(cx).map(drop)))).await;
        self.record_poll(began, now());
        Some(polled)
    }

    /// Resumes a held handler. Returns `None` if it has been held for too long.
    async fn resume_in_time(
        self: &Arc<Self>,
        key: u64,
        open: HandlerId,
        running: &mut HandlerFuture,
    ) -> Option<Poll<()>> {
        let mut held = HeldHandler::new(self);
        let until = held.since() + clamp_timeout(self.limits.stall);
        let polled = timeout_at(until.into(), self.resume_in_turn(key, open, running)).await.ok();
        if polled.is_some() {
            held.resume();
        }
        polled
    }

    /// Whether a handler needs a permit. Takes no lock while the connection accepts bytes.
    fn needs_permit(&self) -> bool {
        self.is_slow() || self.is_blocked() && self.is_detached()
    }

    /// Waits until fewer bytes of replies wait, and resumes the handler. One at a time: each may add a reply.
    async fn resume_in_turn(self: &Arc<Self>, key: u64, open: HandlerId, running: &mut HandlerFuture) -> Poll<()> {
        let _turn = self.resuming.get_or_init(|| Box::new(Mutex::new(()))).lock().await;
        loop {
            let mut room = pin!(self.state.capacity.notified());
            room.as_mut().enable();
            if self.holds_handler(key, open) {
                room.await;
            } else if let Some(polled) = self.poll_once(key, open, running).await {
                return polled;
            }
        }
    }

    /// Publishes whether handlers are held, and wakes the first of them when they are not any more.
    pub(super) fn update_pressure(&self, state: &mut State) {
        let pressure = state.is_under_pressure();
        if self.reply_pressure.swap(pressure, Ordering::Relaxed) && !pressure {
            state.end_pressure();
            state.notify_capacity();
        }
    }
}
