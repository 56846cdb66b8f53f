//! Streams of states.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::{StreamExt, stream::unfold};

/// A stream of states, returned by [`Client::states`](crate::Client::states) and
/// [`Socket::states`](crate::Socket::states).
///
/// The stream ends after the state `Ended`. It keeps neither a client nor a server open.
pub struct States<S>(Pin<Box<dyn Stream<Item = S> + Send + Sync>>);

impl<S: 'static> States<S> {
    /// Creates a stream of the states that `next` returns. `W` is the position in the stream.
    pub(crate) fn new<W, F, N>(watch: W, next: N) -> Self
    where
        W: Send + Sync + 'static,
        F: Future<Output = Option<(S, W)>> + Send + Sync + 'static,
        N: FnMut(W) -> F + Send + Sync + 'static,
    {
        Self(Box::pin(unfold(watch, next).fuse()))
    }
}

impl<S> States<S> {
    /// Returns the next state, or `None` after the state `Ended`.
    ///
    /// If several states have followed each other since the last call, the stream may skip all but
    /// the newest states.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, no state is lost.
    pub async fn next(&mut self) -> Option<S> {
        poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl<S> Stream for States<S> {
    type Item = S;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<S> std::fmt::Debug for States<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}
