//! Whom a message is for.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
    iter,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Identity, Inner, Replies, Socket, registry::Registry, roster::Roster};
use crate::{
    call_error::CallError,
    clock::now,
    session::{Ask, Callee, Kind, Member, Outgoing},
};
use sockets_proto::{
    PREFIX,
    codec::{self, Payload},
    shared_emit, shared_request,
};

/// A set of sockets, by a description that is evaluated at each call: a room means those who are in it then.
///
/// An emit to an audience is encoded once. It waits at most 1 s for members whose queues are full, by
/// [`Limits::outgoing_queue`](crate::Limits::outgoing_queue), and only while they take bytes. Then the method's
/// [policy](macro@crate::group#emits-to-slow-members) applies: they are disconnected or miss messages. It never waits
/// for sockets outside of the audience.
pub struct Audience<I = ()> {
    server: Arc<Inner<I>>,
    selector: Arc<Selector<I>>,
}

/// A description of sockets.
pub(super) enum Selector<I> {
    All,
    Room(String),
    Sockets(BTreeMap<u64, Socket<I>>),
    Users(HashSet<I>),
    Union(Arc<Self>, Arc<Self>),
    Except(Arc<Self>, Arc<Self>),
}

impl<I: Identity> Selector<I> {
    pub(super) fn sockets<S: Borrow<Socket<I>>>(sockets: impl IntoIterator<Item = S>) -> Self {
        let numbered = |socket: S| (socket.borrow().number(), socket.borrow().clone());
        Self::Sockets(sockets.into_iter().map(numbered).collect())
    }

    pub(super) fn users<U: Borrow<I>>(identities: impl IntoIterator<Item = U>) -> Self {
        Self::Users(identities.into_iter().map(|identity| identity.borrow().clone()).collect())
    }

    fn contains(&self, registry: &Registry<I>, socket: &Socket<I>) -> bool {
        match self {
            Self::All => true,
            Self::Room(name) => registry.is_member(name, socket.number()),
            Self::Sockets(sockets) => sockets.get(&socket.number()) == Some(socket),
            Self::Users(identities) => identities.contains(&*socket.identity()),
            Self::Union(one, other) => one.contains(registry, socket) || other.contains(registry, socket),
            Self::Except(those, these) => those.contains(registry, socket) && !these.contains(registry, socket),
        }
    }

    /// Those who belong to it now, by shard.
    fn roster(&self, registry: &Registry<I>, shards: usize) -> Roster {
        match self {
            Self::All => registry.everyone(shards),
            Self::Room(name) => registry.roster(name, shards).unwrap_or_else(|| Roster::new(shards, iter::empty())),
            _ => {
                let mut sockets = Vec::new();
                self.for_each(registry, &mut |socket| sockets.push(socket.clone()));
                Roster::new(shards, sockets.iter().map(Socket::numbered))
            }
        }
    }

    /// Goes through the sockets, each once.
    fn for_each(&self, registry: &Registry<I>, visit: &mut dyn FnMut(&Socket<I>)) {
        match self {
            Self::All => registry.sockets().for_each(visit),
            Self::Room(name) => registry.members(name).for_each(visit),
            Self::Sockets(sockets) => {
                let connected = |socket: &&Socket<I>| registry.socket(socket.number()) == Some(*socket);
                sockets.values().filter(connected).for_each(visit);
            }
            Self::Users(identities) => {
                identities.iter().flat_map(|identity| registry.sockets_of(identity)).for_each(visit);
            }
            Self::Union(one, other) => {
                one.for_each(registry, visit);
                other.for_each(registry, &mut |socket| {
                    if !one.contains(registry, socket) {
                        visit(socket);
                    }
                });
            }
            Self::Except(those, these) => those.for_each(registry, &mut |socket| {
                if !these.contains(registry, socket) {
                    visit(socket);
                }
            }),
        }
    }
}

/// What can be left out of an audience: a [`Socket`] or another [`Audience`].
pub trait Excluded<I>: sealed::Selects<I> {}

impl<I: Identity> Excluded<I> for Socket<I> {}
impl<I: Identity> Excluded<I> for Audience<I> {}

mod sealed {
    use std::sync::Arc;

    use super::{Audience, Identity, Selector, Socket};

    pub trait Selects<I> {
        #[expect(private_interfaces, reason = "sealed: only this module calls it")]
        fn selector(&self) -> Arc<Selector<I>>;
    }

    impl<I: Identity> Selects<I> for Socket<I> {
        #[expect(private_interfaces, reason = "sealed: only this module calls it")]
        fn selector(&self) -> Arc<Selector<I>> {
            Arc::new(Selector::sockets([self]))
        }
    }

    impl<I> Selects<I> for Audience<I> {
        #[expect(private_interfaces, reason = "sealed: only this module calls it")]
        fn selector(&self) -> Arc<Selector<I>> {
            Arc::clone(&self.selector)
        }
    }
}

impl<I: Identity> Audience<I> {
    pub(super) fn new(server: Arc<Inner<I>>, selector: Selector<I>) -> Self {
        Self { server, selector: Arc::new(selector) }
    }

    fn with(&self, selector: Selector<I>) -> Self {
        Self::new(Arc::clone(&self.server), selector)
    }

    /// Those of both; a member of both hears once.
    pub fn union(&self, other: &Self) -> Self {
        self.with(Selector::Union(Arc::clone(&self.selector), Arc::clone(&other.selector)))
    }

    /// Those who are not in `left_out`: a socket or an audience.
    pub fn except(&self, left_out: &impl Excluded<I>) -> Self {
        self.with(Selector::Except(Arc::clone(&self.selector), left_out.selector()))
    }

    /// Those who belong to it now.
    pub fn sockets(&self) -> Vec<Socket<I>> {
        let mut sockets = Vec::new();
        self.selector.for_each(&self.server.registry.read(), &mut |socket| sockets.push(socket.clone()));
        sockets
    }

    pub(crate) async fn emit_to_all<A: Serialize + ?Sized>(
        &self,
        callee: Callee<'_>,
        args: &A,
    ) -> Result<(), CallError> {
        let encode = |payload: &Payload<'_>| (shared_emit(callee.key(), payload), payload.len());
        let (frame, length) = codec::with_scratch(args, encode)?;
        let Some(around) = self.server.around.as_deref() else { return self.emit_frame(callee, frame).await };
        let send = || -> BoxFuture<'_, _> {
            Box::pin(async move { self.emit_frame(callee, frame).await.map(|()| Bytes::new()) })
        };
        let outgoing = Outgoing { callee, kind: Kind::Emit, peer: None, length, send: Box::new(send) };
        around.send(outgoing).await.map(drop)
    }

    async fn emit_frame(&self, callee: Callee<'_>, frame: Bytes) -> Result<(), CallError> {
        let (length, limit) = (frame.len() - PREFIX, self.server.limits.max_frame);
        if length > limit as usize {
            return Err(CallError::TooLarge { message: format!("{length} bytes, the limit is {limit}") });
        }
        let fanout = &self.server.fanout;
        fanout.emit(callee, &frame, || self.selector.roster(&self.server.registry.read(), fanout.shards())).await;
        Ok(())
    }

    /// Asks every member.
    pub(crate) fn ask<R, E>(
        &self,
        callee: Callee<'_>,
        timeout: Option<Duration>,
        args: &(impl Serialize + ?Sized),
        decode: fn(Bytes) -> Result<R, CallError<E>>,
    ) -> Replies<I, R, E> {
        let timeout = timeout.unwrap_or(self.server.limits.call_timeout);
        let number = self.server.next_ask();
        let question = codec::with_scratch(args, |payload| shared_request(number, callee.key(), timeout, payload));
        let question = match question {
            Ok(question) => question,
            Err(error) => return Replies::refused(self.sockets(), &error.into(), decode),
        };
        let (now, ask) = (now(), Arc::new(Ask::default()));
        let mut replies = Replies::new(Arc::clone(&ask), Some(question.id()), decode);
        let mut round = self.server.fanout.round();
        self.selector.for_each(&self.server.registry.read(), &mut |socket| {
            let member = Member::new(&ask, replies.add(socket.clone()));
            let (write, asked) = socket.session().ask(now, callee, &question, member);
            if write {
                round.add(socket.number(), socket.session());
            }
            if let Err((error, _)) = asked {
                replies.refuse_last(error);
            }
        });
        replies
    }
}

impl<I> Clone for Audience<I> {
    fn clone(&self) -> Self {
        Self { server: Arc::clone(&self.server), selector: Arc::clone(&self.selector) }
    }
}

impl<I> std::fmt::Debug for Audience<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audience").finish_non_exhaustive()
    }
}
