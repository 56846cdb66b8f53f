//! Where a handler's future is polled first.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::task::unconstrained;
use tokio_util::sync::ReusableBoxFuture;

use super::{Session, handler_context::run_handler};

/// Says that a call has ended. Only [`Responder`](super::Responder) makes one, so a handler's future cannot forget to.
#[derive(Debug)]
pub struct Completed(pub(super) ());

impl Completed {
    /// Of a call that nobody here has any more: it has been answered, or dropped, which is an answer.
    #[cfg(feature = "middleware")]
    pub(crate) fn elsewhere() -> Self {
        Self(())
    }
}

/// A handler's future, wherever it runs.
pub(crate) type HandlerFuture = ReusableBoxFuture<'static, Result<Completed, Completed>>;

/// The place of one method's handler. A future that has been polled cannot move, so it is put here before; a handler
/// that never suspends leaves its memory to the next call.
#[derive(Default)]
pub struct HandlerSlot {
    future: Option<HandlerFuture>,
    waiting: bool,
}

impl HandlerSlot {
    /// Puts a handler here.
    pub fn put(&mut self, future: impl Future<Output = Result<Completed, Completed>> + Send + 'static) {
        self.waiting = true;
        match &mut self.future {
            Some(place) => place.set(future),
            None => self.future = Some(ReusableBoxFuture::new(future)),
        }
    }

    /// Takes the handler out, to be run elsewhere. None has been put here if its call was refused.
    #[cfg(feature = "middleware")]
    pub(crate) fn into_future(self) -> Option<HandlerFuture> {
        self.future.filter(|_| self.waiting)
    }

    /// Polls the handler once. One that suspends comes back, to be run by a task of its own.
    pub(crate) fn poll_once(&mut self, session: &Arc<Session>) -> Option<HandlerFuture> {
        if !std::mem::take(&mut self.waiting) {
            return None;
        }
        let future = self.future.as_mut()?;
        // The task that a suspended handler is given polls it again at once, with a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        // Outside of tokio's budget: within it, handlers that are ready would be turned away in a large batch.
        let polled =
            catch_unwind(AssertUnwindSafe(|| run_handler(session, || pin!(unconstrained(future)).poll(&mut cx))));
        match polled {
            Ok(Poll::Ready(_)) => None,
            Ok(Poll::Pending) => self.future.take(),
            // The call has been answered while it was dropped; what is left of the future must not be polled again.
            Err(_) => {
                self.future = None;
                None
            }
        }
    }
}
