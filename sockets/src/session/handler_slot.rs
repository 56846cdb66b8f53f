//! The slot in which the driver polls the future of a handler for the first time.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio_util::sync::ReusableBoxFuture;

use super::Session;
use crate::{handler_context::run_handler, scheduler::poll_unconstrained};

/// Proof that a call has ended. Only [`Responder`](super::Responder) creates this proof, when it
/// ends the call. The future of a handler has to return the proof, so it cannot return before its
/// call has ended.
#[derive(Debug)]
pub struct Completed(pub(super) ());

/// The future of a handler.
pub(crate) type HandlerFuture = ReusableBoxFuture<'static, Result<Completed, Completed>>;

/// A slot for the handlers of a method.
///
/// A future cannot be moved after its first poll, so the driver puts it into the slot before. If
/// the future completes without suspension, the next call reuses the memory of the future.
#[derive(Default)]
pub struct HandlerSlot {
    future: Option<HandlerFuture>,
    /// `true` if the future has not been polled. Otherwise the slot has only the memory of a former
    /// future.
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

    /// Returns the future, which another task polls. Returns `None` if the call was refused.
    #[cfg(feature = "middleware")]
    pub(crate) fn into_future(self) -> Option<HandlerFuture> {
        self.future.filter(|_| self.is_unpolled)
    }

    /// Polls the future once. If the future suspends, returns it. Then a separate task polls it.
    pub(crate) fn poll_once(&mut self, session: &Arc<Session>) -> Option<HandlerFuture> {
        if !std::mem::take(&mut self.is_unpolled) {
            return None;
        }
        let future = self.future.as_mut()?;
        // This poll needs no waker: if the handler suspends, its task immediately polls it again
        // with the task's waker.
        let mut cx = Context::from_waker(Waker::noop());
        // This poll ignores tokio's cooperative budget, because a large batch would use up the
        // budget, and its ready handlers would then appear suspended.
        let polled = catch_unwind(AssertUnwindSafe(|| run_handler(session, || poll_unconstrained(future, &mut cx))));
        match polled {
            Ok(Poll::Ready(_)) => None,
            Ok(Poll::Pending) => self.future.take(),
            // A future that has panicked must not be polled again, so drop it. The panic has
            // dropped the `Responder`, which has answered the call.
            Err(_) => {
                self.future = None;
                None
            }
        }
    }
}
