//! The future of an emit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

#[cfg(feature = "middleware")]
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::call_error::CallError;

/// The future of an emit. It is small, because callers move it several times before its first poll.
#[must_use = "futures do nothing unless polled"]
pub(crate) enum EmitFuture<'a> {
    /// The result of an emit that did not have to wait. It is `None` after the poll that returned
    /// the result.
    Ready(Option<Result<(), CallError>>),
    /// The emit waits for capacity.
    Waiting(BoxFuture<'a, Result<(), CallError>>),
    /// The emit passes through layers.
    #[cfg(feature = "middleware")]
    Layered(BoxFuture<'static, Result<Bytes, CallError>>),
}

impl Future for EmitFuture<'_> {
    type Output = Result<(), CallError>;

    #[expect(clippy::expect_used, reason = "a future must not be polled after its completion")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut *self {
            Self::Ready(result) => result.take().expect("the future of an emit was polled after its completion"),
            Self::Waiting(emit) => ready!(emit.as_mut().poll(cx)),
            #[cfg(feature = "middleware")]
            Self::Layered(sending) => ready!(sending.as_mut().poll(cx)).map(drop),
        })
    }
}
