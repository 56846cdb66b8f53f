//! The replies of an audience.

use std::{
    any::type_name,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};
#[cfg(feature = "middleware")]
use {
    crate::scheduler::poll_unconstrained,
    futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered},
    std::task::Waker,
    tokio_util::sync::ReusableBoxFuture,
};

use super::{Member, Socket};
use crate::codec::{DecodeError, decode_within};
use crate::{
    call_error::CallError,
    session::{Described, MultiCall},
};
use sockets_proto::{CallId, Role, clamp_timeout};

/// A stream of the results of a request to an audience.
///
/// The stream yields exactly one result for each member to which the request was sent, and then
/// ends. It yields the results in the order of arrival. A result is a reply, a failure or a
/// timeout. If a member has left, its result is [`CallError::Disconnected`].
///
/// Dropping the stream cancels the calls that have not completed. So do the methods that end the
/// stream early: [`first_ok`](Self::first_ok), [`quorum`](Self::quorum) and
/// [`until_quiet`](Self::until_quiet).
///
/// ```
/// # use std::time::Duration;
/// # use sockets::Server;
/// # #[sockets::group("Lobby")]
/// # pub trait Lobby {
/// #     async fn vote(&self, choices: Vec<String>) -> String;
/// # }
/// # async fn example(server: &Server<String>, choices: Vec<String>) {
/// let lobby = LobbyClient::new(&server.room("lobby"));
///
/// let first = lobby.vote(choices.clone()).first_ok().await;
/// let three = lobby.vote(choices.clone()).quorum(3).await;
/// let (votes, failures) = lobby.vote(choices.clone()).outcomes().await;
///
/// // Waits for further votes as long as they arrive within 300 ms of each other.
/// let mut replies = lobby.vote(choices).until_quiet(Duration::from_millis(300));
/// while let Some((member, vote)) = replies.next().await {
///     println!("{}: {vote:?}", member.identity());
/// }
/// # }
/// ```
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
    /// The time without a result after which the stream ends.
    quiet: Option<Quiet>,
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

/// A result with its member.
type Reply<I, T, E> = (Member<I>, Result<T, CallError<E>>);

/// A timer that expires after a time without a result.
struct Quiet {
    time: Duration,
    until: Instant,
    /// The sleep until `until`. It is created at the first poll, since the request may be sent
    /// outside of a runtime.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Quiet {
    fn new(time: Duration) -> Self {
        Self { time, until: Instant::now() + clamp_timeout(time), sleep: None }
    }

    fn restart(&mut self) {
        *self = Self::new(self.time);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx)
    }
}

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
            quiet: None,
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

    /// Returns the next result with its member. Returns `None` when all members have results.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, no result is lost.
    pub async fn next(&mut self) -> Option<(Member<I>, Result<T, CallError<E>>)> {
        poll_fn(|cx| self.poll_reply(cx)).await
    }

    /// Calls `f` with each result as it arrives, until all members have results.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the calls that have not completed are cancelled.
    pub async fn for_each_reply(mut self, mut f: impl FnMut(Member<I>, Result<T, CallError<E>>)) {
        while let Some((member, reply)) = self.next().await {
            f(member, reply);
        }
    }

    /// Waits for the first reply that is not an error, and cancels the other calls. Returns `None`
    /// if there is no such reply.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the calls that have not completed are cancelled.
    pub async fn first_ok(self) -> Option<(Member<I>, T)> {
        self.quorum(1).await.pop()
    }

    /// Waits for the first `n` replies that are not errors, and cancels the other calls. Returns
    /// fewer replies if there are no more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the calls that have not completed are cancelled.
    pub async fn quorum(mut self, n: usize) -> Vec<(Member<I>, T)> {
        let mut replies = Vec::new();
        while replies.len() < n
            && let Some((member, reply)) = self.next().await
        {
            replies.extend(reply.ok().map(|reply| (member, reply)));
        }
        replies
    }

    /// Waits for all results. Returns the replies and the failures, each with its member, in the
    /// order of arrival.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the calls that have not completed are cancelled.
    pub async fn outcomes(mut self) -> (Vec<(Member<I>, T)>, Vec<(Member<I>, CallError<E>)>) {
        let (mut replies, mut failures) = (Vec::new(), Vec::new());
        while let Some((member, reply)) = self.next().await {
            match reply {
                Ok(reply) => replies.push((member, reply)),
                Err(error) => failures.push((member, error)),
            }
        }
        (replies, failures)
    }

    /// Ends the stream, and cancels the calls that have not completed, when no result has arrived
    /// for this time.
    ///
    /// The time counts from this call, and again from each result that the stream yields.
    pub fn until_quiet(mut self, quiet: Duration) -> Self {
        self.quiet = Some(Quiet::new(quiet));
        self
    }

    /// Returns the number of results that the stream has not yielded yet. After the end of the
    /// stream, the number is 0.
    pub fn open(&self) -> usize {
        self.remaining
    }

    /// Returns the number of nodes that were lost during the request, so that results of their
    /// members may be missing. The number is final when the stream has ended.
    ///
    /// Servers do not form clusters yet, so the number is 0.
    pub fn lost_nodes(&self) -> usize {
        0
    }

    /// Cancels the calls that have not completed.
    fn cancel(&mut self) {
        self.remaining = 0;
        #[cfg(feature = "middleware")]
        drop(self.calls.take());
        let open = mem::take(&mut self.members);
        if let Some(id) = self.id {
            open.iter().flatten().for_each(|socket| socket.session().cancel_request(id));
        }
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
                None => match self.poll_result(cx) {
                    Poll::Ready(result) => result,
                    Poll::Pending => {
                        ready!(self.quiet.as_mut().map_or(Poll::Pending, |quiet| quiet.poll(cx)));
                        self.cancel();
                        break;
                    }
                },
            };
            if let Some(socket) = self.members[index].take() {
                self.remaining -= 1;
                if let Some(quiet) = &mut self.quiet {
                    quiet.restart();
                }
                let limit = socket.session().limits().max_decoded as usize;
                let reply = reply.map_err(CallError::widen).and_then(|reply| self.decode(&reply, limit));
                return Poll::Ready(Some((Member::new(socket), reply)));
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
        self.cancel();
    }
}

impl<I, T, E> std::fmt::Debug for Replies<I, T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replies").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
