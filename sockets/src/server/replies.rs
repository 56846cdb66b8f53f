//! The answers of an audience.

use std::{
    any::type_name,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use serde::de::DeserializeOwned;

use super::Socket;
use crate::codec::{DecodeError, decode_within};
use crate::{
    call_error::CallError,
    session::{Described, MultiCall},
};
use sockets_proto::{CallId, Role};

/// The replies to a question, as they come: exactly one for each member that was asked, be it a reply, a failure, a
/// timeout or that the member has left. Then the stream ends.
///
/// Dropping it cancels what is open.
#[must_use = "a question whose replies are dropped is cancelled"]
pub struct Replies<I, T, E = Infallible> {
    /// Those who were asked; `None` once they have answered.
    members: Vec<Option<Socket<I>>>,
    ask: Arc<MultiCall>,
    /// Those who could not be asked.
    failed: VecDeque<(usize, CallError)>,
    open: usize,
    /// `None` if it could be put to nobody.
    id: Option<CallId>,
    decoder: Decoder<T, E>,
}

/// Decodes a reply, which may be the error of its handler.
pub(crate) type Decode<T, E> = fn(&[u8], usize) -> Result<Result<T, CallError<E>>, DecodeError>;

/// The method that was called, and how its reply is decoded.
type Decoder<T, E> = (Described, Decode<T, E>);

/// A reply, with the socket that it came from.
type Reply<I, T, E> = (Socket<I>, Result<T, CallError<E>>);

/// A reply that is the value itself.
pub(crate) fn decode_plain<T: DeserializeOwned>(
    reply: &[u8],
    limit: usize,
) -> Result<Result<T, CallError>, DecodeError> {
    decode_within(reply, limit).map(Ok)
}

/// A reply that is a `Result`.
pub(crate) fn decode_fallible<T: DeserializeOwned, E: DeserializeOwned>(
    reply: &[u8],
    limit: usize,
) -> Result<Result<T, CallError<E>>, DecodeError> {
    Ok(decode_within::<Result<T, E>>(reply, limit)?.map_err(CallError::Handler))
}

impl<I, T, E> Replies<I, T, E> {
    pub(super) fn new(ask: Arc<MultiCall>, id: Option<CallId>, decoder: Decoder<T, E>) -> Self {
        Self { members: Vec::new(), ask, failed: VecDeque::new(), open: 0, id, decoder }
    }

    /// A question that could be put to nobody.
    pub(super) fn failed(sockets: Vec<Socket<I>>, error: &CallError, decoder: Decoder<T, E>) -> Self {
        let mut replies = Self::new(Arc::default(), None, decoder);
        for socket in sockets {
            replies.add(socket);
            replies.fail_last(error.clone());
        }
        replies
    }

    /// Adds a member, and gives its index.
    pub(super) fn add(&mut self, socket: Socket<I>) -> usize {
        self.members.push(Some(socket));
        self.open += 1;
        self.members.len() - 1
    }

    /// The member that was added last could not be asked.
    pub(super) fn fail_last(&mut self, error: CallError) {
        self.failed.push_back((self.members.len() - 1, error));
    }

    /// The next reply, with the socket that it came from; `None` when all have answered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    pub async fn next(&mut self) -> Option<(Socket<I>, Result<T, CallError<E>>)> {
        poll_fn(|cx| self.poll_reply(cx)).await
    }

    /// Calls `f` for each reply as it comes, until all have answered.
    pub async fn for_each_reply(mut self, mut f: impl FnMut(Socket<I>, Result<T, CallError<E>>)) {
        while let Some((socket, reply)) = self.next().await {
            f(socket, reply);
        }
    }

    /// How many outcomes are still to come out of this stream.
    pub fn open(&self) -> usize {
        self.open
    }

    fn decode(&self, reply: &[u8], limit: usize) -> Result<T, CallError<E>> {
        let (method, decode) = &self.decoder;
        decode(reply, limit)
            .unwrap_or_else(|error| Err(method.cannot_decode_reply(Role::Server, &error, type_name::<T>()).widen()))
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply<I, T, E>>> {
        while self.open > 0 {
            let (index, reply) = match self.failed.pop_front() {
                Some((index, error)) => (index, Err(error)),
                None => match self.ask.poll_result(cx) {
                    Poll::Ready((index, answer)) => (index, CallError::from_call_result(answer)),
                    Poll::Pending => return Poll::Pending,
                },
            };
            if let Some(socket) = self.members[index].take() {
                self.open -= 1;
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
        (self.open, Some(self.open))
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
        f.debug_struct("Replies").field("open", &self.open).finish_non_exhaustive()
    }
}
