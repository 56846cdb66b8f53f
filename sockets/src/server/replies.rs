//! The replies of an audience.

use std::{
    any::type_name,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use serde::de::DeserializeOwned;
#[cfg(feature = "middleware")]
use {
    crate::scheduler::poll_unconstrained,
    futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered},
    std::task::Waker,
    tokio_util::sync::ReusableBoxFuture,
};

use super::Socket;
use crate::codec::{DecodeError, decode_within};
use crate::{
    call_error::CallError,
    session::{Described, MultiCall},
};
use sockets_proto::{CallId, Role};

/// A stream of the results of a request to an audience.
///
/// The stream yields exactly one result for each member to which the request was sent, and then
/// ends. It yields the results in the order of arrival. A result is a reply, a failure or a
/// timeout. If a member has left, its result is [`CallError::Disconnected`].
///
/// Dropping the stream cancels the calls that have not completed.
#[must_use = "dropping the replies cancels the request"]
pub struct Replies<I, T, E = Infallible> {
    /// The members of the request. An entry is `None` when the member's result was yielded.
    members: Vec<Option<Socket<I>>>,
    multi_call: Arc<MultiCall>,
    /// The results that were known when the request was sent.
    early: VecDeque<(usize, Result<Bytes, CallError>)>,
    remaining: usize,
    /// `None` if the request was sent to no member.
    id: Option<CallId>,
    decoder: Decoder<T, E>,
    /// The calls of the members, if there are layers around outgoing calls.
    #[cfg(feature = "middleware")]
    calls: Option<FuturesUnordered<LayeredCall>>,
}

/// The call of a member that passes through layers. It returns the index of the member.
#[cfg(feature = "middleware")]
type LayeredCall = ReusableBoxFuture<'static, (usize, Result<Bytes, CallError>)>;

/// A function that decodes a reply. The reply may be the handler's error.
pub(crate) type Decode<T, E> = fn(&[u8], usize) -> Result<Result<T, CallError<E>>, DecodeError>;

/// The method of the request, and the function that decodes its replies.
pub(super) type Decoder<T, E> = (Described, Decode<T, E>);

/// A result with the socket of its member.
type Reply<I, T, E> = (Socket<I>, Result<T, CallError<E>>);

/// Decodes a reply of a method that returns a plain value.
pub(crate) fn decode_plain<T: DeserializeOwned>(
    reply: &[u8],
    limit: usize,
) -> Result<Result<T, CallError>, DecodeError> {
    decode_within(reply, limit).map(Ok)
}

/// Decodes a reply of a method that returns a `Result`.
pub(crate) fn decode_fallible<T: DeserializeOwned, E: DeserializeOwned>(
    reply: &[u8],
    limit: usize,
) -> Result<Result<T, CallError<E>>, DecodeError> {
    Ok(decode_within::<Result<T, E>>(reply, limit)?.map_err(CallError::Handler))
}

impl<I, T, E> Replies<I, T, E> {
    pub(super) fn new(multi_call: Arc<MultiCall>, id: Option<CallId>, decoder: Decoder<T, E>) -> Self {
        Self {
            members: Vec::new(),
            multi_call,
            early: VecDeque::new(),
            remaining: 0,
            id,
            decoder,
            #[cfg(feature = "middleware")]
            calls: None,
        }
    }

    /// Returns the results of a request that could be sent to no member.
    pub(super) fn failed(sockets: Vec<Socket<I>>, error: &CallError, decoder: Decoder<T, E>) -> Self {
        let mut replies = Self::new(Arc::default(), None, decoder);
        for socket in sockets {
            replies.add(socket);
            replies.fail_last(error.clone());
        }
        replies
    }

    /// Adds a member and returns its index.
    pub(super) fn add(&mut self, socket: Socket<I>) -> usize {
        self.members.push(Some(socket));
        self.remaining += 1;
        self.members.len() - 1
    }

    /// Sets the error as the result of the last added member, to which the request could not be
    /// sent.
    pub(super) fn fail_last(&mut self, error: CallError) {
        self.early.push_back((self.members.len() - 1, Err(error)));
    }

    /// Adds a member with a call that passes through layers.
    #[cfg(feature = "middleware")]
    pub(super) fn add_call(&mut self, socket: Socket<I>, call: BoxFuture<'static, Result<Bytes, CallError>>) {
        let index = self.add(socket);
        let mut call = ReusableBoxFuture::new(async move { (index, call.await) });
        // The first poll sends the call. The replies poll it again with their waker.
        match poll_unconstrained(&mut call, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => self.early.push_back(result),
            Poll::Pending => self.calls.get_or_insert_default().push(call),
        }
    }

    /// Waits for a result. Returns it with the index of its member.
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Result<Bytes, CallError>)> {
        #[cfg(feature = "middleware")]
        if let Some(calls) = &mut self.calls
            && let Some(result) = ready!(calls.poll_next_unpin(cx))
        {
            return Poll::Ready(result);
        }
        loop {
            let (index, result) = ready!(self.multi_call.poll_result(cx));
            if let Some(socket) = &self.members[index] {
                let reply = CallError::from_call_result(result, socket.session(), || self.decoder.0.name());
                return Poll::Ready((index, reply));
            }
        }
    }

    /// Returns the next result with the socket of its member. Returns `None` when all members have
    /// results.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, no result is lost.
    pub async fn next(&mut self) -> Option<(Socket<I>, Result<T, CallError<E>>)> {
        poll_fn(|cx| self.poll_reply(cx)).await
    }

    /// Calls `f` with each result as it arrives, until all members have results.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the calls that have not completed are cancelled.
    pub async fn for_each_reply(mut self, mut f: impl FnMut(Socket<I>, Result<T, CallError<E>>)) {
        while let Some((socket, reply)) = self.next().await {
            f(socket, reply);
        }
    }

    /// Returns the number of results that the stream has not yielded yet.
    pub fn open(&self) -> usize {
        self.remaining
    }

    fn decode(&self, reply: &[u8], limit: usize) -> Result<T, CallError<E>> {
        let (method, decode) = &self.decoder;
        decode(reply, limit)
            .unwrap_or_else(|error| Err(method.cannot_decode_reply(Role::Server, &error, type_name::<T>()).widen()))
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply<I, T, E>>> {
        while self.remaining > 0 {
            let (index, reply) = match self.early.pop_front() {
                Some(early) => early,
                None => ready!(self.poll_result(cx)),
            };
            if let Some(socket) = self.members[index].take() {
                self.remaining -= 1;
                let limit = socket.session().limits().max_decoded as usize;
                let reply = reply.map_err(CallError::widen).and_then(|reply| self.decode(&reply, limit));
                return Poll::Ready(Some((socket, reply)));
            }
        }
        Poll::Ready(None)
    }
}

impl<I, T, E> Stream for Replies<I, T, E> {
    type Item = Reply<I, T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_reply(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<I, T, E> Drop for Replies<I, T, E> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        for socket in self.members.iter().flatten() {
            socket.session().cancel_request(id);
        }
    }
}

impl<I, T, E> std::fmt::Debug for Replies<I, T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replies").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
