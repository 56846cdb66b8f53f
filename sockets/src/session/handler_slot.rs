//! The slot in which the future of a handler is polled first.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio_util::sync::ReusableBoxFuture;

use super::Session;
use crate::{handler_context::run_handler, scheduler::poll_unconstrained};

/// Proof that a call has ended. Only [`Responder`](super::Responder) creates it, so the future of a
/// handler cannot return without it.
#[derive(Debug)]
pub struct Completed(pub(super) ());

impl Completed {
    /// Returns the proof for a call after its `Responder` has been moved elsewhere. The call has
    /// been answered, or dropped, which answers it.
    #[cfg(feature = "middleware")]
    pub(crate) fn elsewhere() -> Self {
        Self(())
    }
}

/// The future of a handler.
pub(crate) type HandlerFuture = ReusableBoxFuture<'static, Result<Completed, Completed>>;

/// A slot for the handlers of a method.
///
/// A future that has been polled cannot be moved, so it is put here before. If it completes without
/// suspension, its memory is reused by the next call.
#[derive(Default)]
pub struct HandlerSlot {
    future: Option<HandlerFuture>,
    /// The future has not been polled. Otherwise only its memory is left.
    is_unpolled: bool,
}

impl HandlerSlot {
    /// Puts the future of a handler into the slot.
    pub fn put(&mut self, future: impl Future<Output = Result<Completed, Completed>> + Send + 'static) {
        self.is_unpolled = true;
        match &mut self.future {
            Some(boxed) => boxed.set(future),
            None => self.future = Some(ReusableBoxFuture::new(future)),
        }
    }

    /// Returns the future, to be polled elsewhere. There is none if the call was refused.
    #[cfg(feature = "middleware")]
    pub(crate) fn into_future(self) -> Option<HandlerFuture> {
        self.future.filter(|_| self.is_unpolled)
    }

    /// Polls the future once. Returns it if it suspends, to be polled by a task of its own.
    pub(crate) fn poll_once(&mut self, session: &Arc<Session>) -> Option<HandlerFuture> {
        if !std::mem::take(&mut self.is_unpolled) {
            return None;
        }
        let future = self.future.as_mut()?;
        // The task of a suspended handler polls it again at once, with a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        // Within tokio's cooperative budget, ready handlers of a large batch would appear
        // suspended.
        let polled = catch_unwind(AssertUnwindSafe(|| run_handler(session, || poll_unconstrained(future, &mut cx))));
        match polled {
            Ok(Poll::Ready(_)) => None,
            Ok(Poll::Pending) => self.future.take(),
            // The panic has dropped the `Responder`, which has answered the call. The future must
            // not be polled again.
            Err(_) => {
                self.future = None;
                None
            }
        }
    }
}
