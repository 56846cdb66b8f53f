//! A suspended handler, in a task of its own.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use sockets_proto::{CallId, Open};
use tokio::sync::Mutex;

use super::{Session, State, place::Running, worker::run_handler};
use crate::clock::now;

/// Runs a suspended handler of the method with this key to its end.
///
/// While a queue's worth of replies waits for the peer to read, a handler whose method returns large replies is not
/// resumed: its reply would have to wait, too. Handlers of other methods always are, since they may hold a lock that
/// handlers of other sessions wait for.
pub(crate) async fn run_suspended(session: Arc<Session>, key: u64, open: Open, mut running: Running) {
    loop {
        let has_ended = match open {
            Open::Request(call) if session.holds_handler(key, call) => {
                Box::pin(session.resume_in_turn(key, call, &mut running)).await
            }
            _ => session.poll_once(&mut running).await,
        };
        if has_ended {
            return;
        }
        until_woken().await;
    }
}

/// Waits for the task to be woken.
async fn until_woken() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl Session {
    fn holds_handler(&self, key: u64, call: CallId) -> bool {
        self.reply_pressure.load(Ordering::Relaxed) && self.state.lock().holds_handler(key, call)
    }

    /// Polls the handler once, with a permit if handlers of this session are slow. Returns `true` if it has ended.
    async fn poll_once(self: &Arc<Self>, running: &mut Running) -> bool {
        let _permit = if self.is_slow() { Some(Box::pin(self.slow_permit()).await) } else { None };
        let began = now();
        let has_ended = poll_fn(|cx| Poll::Ready(run_handler(self, || running.poll(cx).is_ready()))).await;
        self.record_poll(began, now());
        has_ended
    }

    /// Waits until fewer bytes of replies wait, and resumes the handler. One at a time: each may add a reply.
    async fn resume_in_turn(self: &Arc<Self>, key: u64, call: CallId, running: &mut Running) -> bool {
        let _turn = self.resuming.get_or_init(|| Box::new(Mutex::new(()))).lock().await;
        loop {
            let mut room = pin!(self.state.capacity.notified());
            room.as_mut().enable();
            if !self.holds_handler(key, call) {
                break;
            }
            room.await;
        }
        self.poll_once(running).await
    }

    /// Publishes whether handlers are held, and wakes the first of them when they are not any more.
    pub(super) fn update_pressure(&self, state: &mut State) {
        let pressure = state.is_under_pressure();
        if self.reply_pressure.swap(pressure, Ordering::Relaxed) && !pressure {
            state.notify_capacity();
        }
    }
}
