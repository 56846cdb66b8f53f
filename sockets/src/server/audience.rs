//! Audiences: the sockets that a message is sent to.

use std::{
    any::type_name,
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashSet},
    iter,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
#[cfg(feature = "middleware")]
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "middleware")]
use super::replies::Decoder;
use super::{
    Inner, JoinError, Member, Replies, Socket,
    registry::Registry,
    replies::{Decode, decode_plain},
};
use crate::codec::{self, EncodeError, Payload};
use crate::elements::failing_element;
use crate::lock::{self, RwLock, event};
use crate::{
    broadcast::MemberList,
    call_error::CallError,
    clock::now,
    group::Group,
    identity::{Identity, sealed::IntoKey},
    method::Callee,
    session::{Described, MultiCall, MultiCallSlot, Session},
};
#[cfg(feature = "middleware")]
use crate::{
    method::{Kind, OwnedCallee},
    session::{Interceptor, OutgoingCall, OutgoingTarget, Peer},
};
#[cfg(feature = "middleware")]
use sockets_proto::clamp_timeout;
use sockets_proto::{Role, name::check_room, shared_emit, shared_request};

/// A set of sockets, such as a room. The server evaluates the set at each call. A call to a room
/// therefore reaches the sockets that are members of the room at that time.
///
/// The server encodes an emit to an audience once. If members have full queues
/// ([`Limits::outgoing_queue`](crate::Limits::outgoing_queue)), the emit waits at most 1 s, and
/// only while these members accept bytes. If a queue is then still full, the method's [overflow
/// policy](macro@crate::group#emits-to-slow-members) applies: the server disconnects the member or
/// drops messages to it. The emit never waits for sockets outside of the audience.
///
/// From time to time, an emit also waits for long queues that are not full. These waits slow down
/// loops of emits. The server counts the bytes of all emits to audiences, whatever the audience.
/// When the count reaches 256 KiB, or an eighth of `outgoing_queue` if that is less, it restarts at
/// 0. The emit that causes the restart waits for the slow members of its own audience:
///
/// - A member is slow if its queue holds more than 512 KiB, or more than half of `outgoing_queue`
///   if that is less. If a member has accepted no bytes in the last 300 ms, the emit does not wait
///   for this member.
/// - The emit waits at most 10 ms, or at most 1 s if all members of its audience are slow. The emit
///   may wait that long even if the counted bytes were emitted to other rooms.
pub struct Audience<I = ()> {
    server: Arc<Inner<I>>,
    selector: Arc<Selector<I>>,
}

/// A description of sockets.
pub(super) enum Selector<I> {
    All,
    Room(String),
    Sockets(BTreeMap<u64, Socket<I>>),
    Users(Users<I>),
    Union(Arc<Self>, Arc<Self>),
    Except(Arc<Self>, Arc<Self>),
}

/// A description of users by their keys.
pub(super) struct Users<I> {
    /// The hashes of the keys.
    hashes: BTreeSet<u64>,
    /// A function that returns `true` for an identity with one of the keys.
    includes: Box<dyn Fn(&I) -> bool + Send + Sync>,
}

impl<I: Identity> Selector<I> {
    pub(super) fn sockets<S: Borrow<Socket<I>>>(sockets: impl IntoIterator<Item = S>) -> Self {
        let numbered = |socket: S| (socket.borrow().number(), socket.borrow().clone());
        Self::Sockets(sockets.into_iter().map(numbered).collect())
    }

    pub(super) fn users<K: IntoKey<I::Key>>(server: &Inner<I>, keys: impl IntoIterator<Item = K>) -> Self {
        let keys: HashSet<_> = keys.into_iter().map(IntoKey::into_key).collect();
        let hashes = keys.iter().map(|key| server.hash(key)).collect();
        Self::Users(Users { hashes, includes: Box::new(move |identity| keys.contains(&identity.key())) })
    }

    /// Returns the current members, in the order in which they connected.
    fn members(&self, registry: &RwLock<Registry<I>>) -> Vec<Socket<I>> {
        let found = self.find(&registry.read());
        lock::assert_unlocked();
        found.members()
    }

    /// Returns the current members by shard.
    fn member_list(&self, registry: &RwLock<Registry<I>>, shards: usize) -> MemberList<Session> {
        match self {
            Self::All => registry.read().all_members(shards),
            Self::Room(name) => {
                let members = registry.read().member_list(name, shards);
                members.unwrap_or_else(|| MemberList::new(shards, iter::empty()))
            }
            _ => MemberList::new(shards, self.members(registry).iter().map(Socket::with_number)),
        }
    }

    /// Evaluates the selector, but compares no keys. The caller compares them without the registry's
    /// lock, since their `Eq` is user code.
    fn find(&self, registry: &Registry<I>) -> Found<'_, I> {
        match self {
            Self::All => Found::Sockets(registry.sockets().cloned().collect()),
            Self::Room(name) => Found::Sockets(registry.members(name).cloned().collect()),
            Self::Sockets(sockets) => {
                let connected = |socket: &&Socket<I>| registry.socket(socket.number()) == Some(*socket);
                Found::Sockets(sockets.values().filter(connected).cloned().collect())
            }
            Self::Users(users) => {
                let candidates = users.hashes.iter().flat_map(|hash| registry.sockets_with(*hash)).cloned().collect();
                Found::Users(users, candidates)
            }
            Self::Union(first, second) => Found::Union(Box::new((first.find(registry), second.find(registry)))),
            Self::Except(from, left_out) => Found::Except(Box::new((from.find(registry), left_out.find(registry)))),
        }
    }
}

/// The sockets of the parts of an audience. All parts are found under a single lock, so that they
/// are consistent with each other.
enum Found<'a, I> {
    Sockets(Vec<Socket<I>>),
    /// Users, and the sockets with keys of their hashes.
    Users(&'a Users<I>, Vec<Socket<I>>),
    Union(Box<(Self, Self)>),
    Except(Box<(Self, Self)>),
}

impl<I: Identity> Found<'_, I> {
    /// Returns the sockets without duplicates, in the order in which they connected.
    fn members(self) -> Vec<Socket<I>> {
        match self {
            Self::Sockets(sockets) => sockets,
            Self::Users(users, mut sockets) => {
                sockets.retain(|socket| (users.includes)(&socket.identity()));
                sockets.sort_by_key(Socket::number);
                sockets
            }
            Self::Union(parts) => {
                let (first, second) = *parts;
                let mut sockets = first.members();
                sockets.extend(second.members());
                sockets.sort_by_key(Socket::number);
                sockets.dedup();
                sockets
            }
            Self::Except(parts) => {
                let (from, left_out) = *parts;
                let (mut sockets, left_out) = (from.members(), left_out.members());
                sockets.retain(|socket| left_out.binary_search_by_key(&socket.number(), Socket::number).is_err());
                sockets
            }
        }
    }
}

/// A set that can be excluded from an audience: a [`Socket`], a [`Member`] or another [`Audience`].
/// Sealed.
pub trait Excluded<I>: sealed::Selects<I> {}

impl<I: Identity> Excluded<I> for Socket<I> {}
impl<I: Identity> Excluded<I> for Member<I> {}
impl<I: Identity> Excluded<I> for Audience<I> {}

mod sealed {
    use std::sync::Arc;

    use super::{Audience, Member, Selector, Socket};
    use crate::identity::Identity;

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

    impl<I: Identity> Selects<I> for Member<I> {
        #[expect(private_interfaces, reason = "sealed: only this module calls it")]
        fn selector(&self) -> Arc<Selector<I>> {
            self.local().selector()
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

    /// Returns the audience of the members of both audiences. A socket that is a member of both
    /// receives a message once.
    pub fn union(&self, other: &Self) -> Self {
        self.with(Selector::Union(Arc::clone(&self.selector), Arc::clone(&other.selector)))
    }

    /// Returns the audience without `left_out`, which is a socket, a member or an audience.
    pub fn except(&self, left_out: &impl Excluded<I>) -> Self {
        self.with(Selector::Except(Arc::clone(&self.selector), left_out.selector()))
    }

    /// Returns the sockets of the current members that are connected to this node, in the order in
    /// which they connected.
    pub fn sockets(&self) -> Vec<Socket<I>> {
        self.selector.members(&self.server.registry)
    }

    /// Returns the current members on all nodes.
    ///
    /// Servers do not form clusters yet, so the members are those of [`sockets`](Self::sockets), in
    /// the same order.
    #[expect(clippy::unused_async, reason = "the members of other nodes will have to be requested")]
    pub async fn members(&self) -> Vec<Member<I>> {
        self.sockets().into_iter().map(Member::new).collect()
    }

    /// Lets the current members join a room, as [`Socket::join`] does. Clients that become members
    /// of the audience later do not join.
    ///
    /// If a member is in [`Limits::rooms_per_socket`](crate::Limits::rooms_per_socket) rooms
    /// already, the method skips that member, and logs a warning.
    ///
    /// # Errors
    ///
    /// The method fails if the name of the room is invalid.
    pub fn join(&self, room: &str) -> Result<(), JoinError> {
        check_room(room)?;
        for socket in self.sockets() {
            // A member whose session has just ended needs no room.
            if let Err(error @ JoinError::TooManyRooms { .. }) = socket.join(room) {
                event!(warn, peer = %socket.session().label(), room, %error, "a member could not join a room");
            }
        }
        Ok(())
    }

    /// Lets the current members leave a room, as [`Socket::leave`] does.
    pub fn leave(&self, room: &str) {
        for socket in self.sockets() {
            socket.leave(room);
        }
    }

    /// Disconnects the current members that are connected to this node, as [`Socket::disconnect`]
    /// does.
    ///
    /// ```
    /// # fn example(server: &sockets::Server<String>) {
    /// // Disconnects all devices of a user.
    /// server.users(["ada"]).disconnect("the account was deleted");
    /// # }
    /// ```
    pub fn disconnect(&self, message: &str) {
        for socket in self.sockets() {
            socket.disconnect(message);
        }
    }

    /// Sends an emit to every member. The returned future does not refer to `args`.
    pub(crate) fn emit_to_all<'a, A: Serialize + ?Sized>(
        &'a self,
        callee: Callee<'a>,
        args: &A,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<'a, A, I> {
        let latest = callee.latest_of(args);
        let encode = |payload: &Payload<'_>| (shared_emit(callee.key(), payload), payload.len());
        let encoded = codec::with_scratch(args, encode).map_err(|error| cannot_encode(callee, &error, args));
        async move {
            #[cfg_attr(not(feature = "middleware"), expect(unused_variables, reason = "only layers need the length"))]
            let (frame, length) = encoded?;
            let callee = callee.with_latest(latest.as_deref());
            #[cfg(feature = "middleware")]
            if let Some(interceptor) = self.server.outgoing_interceptor() {
                let (audience, owned) = (self.clone(), OwnedCallee::from(callee));
                let arguments = frame.slice(frame.len() - length..);
                let send = move || -> BoxFuture<'static, _> {
                    Box::pin(async move {
                        let mut storage = None;
                        audience.emit_frame(owned.borrow(&mut storage), frame).await
                    })
                };
                let call = OutgoingCall {
                    callee: callee.into(),
                    kind: Kind::Emit,
                    arguments,
                    deadline: now() + self.server.limits.call_timeout,
                    target: OutgoingTarget::Audience(Box::new(send)),
                };
                return interceptor.send(call).await.map(drop);
            }
            self.emit_frame(callee, frame).await
        }
    }

    async fn emit_frame(&self, callee: Callee<'_>, frame: Bytes) -> Result<(), CallError> {
        let fanout = &self.server.fanout;
        let members = || self.selector.member_list(&self.server.registry, fanout.shards());
        fanout.emit(callee, &frame, members).await.map_err(CallError::from_send_outcome)
    }

    /// Sends a request to every member.
    pub(crate) fn request_all<R, E>(
        &self,
        callee: Callee<'_>,
        timeout: Option<Duration>,
        args: &(impl Serialize + ?Sized),
        decode: Decode<R, E>,
    ) -> Replies<I, R, E> {
        let decoder = (Described::new(callee), decode);
        let timeout = timeout.unwrap_or(self.server.limits.call_timeout);
        #[cfg(feature = "middleware")]
        if let Some(interceptor) = self.server.outgoing_interceptor() {
            return match codec::encode_shared(args) {
                Ok(arguments) => self.request_through(interceptor, callee, timeout, &arguments, decoder),
                Err(error) => Replies::failed(self.sockets(), &cannot_encode(callee, &error, args), decoder),
            };
        }
        let number = self.server.next_multi_call();
        let request = codec::with_scratch(args, |payload| shared_request(number, callee.key(), timeout, payload));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Replies::failed(self.sockets(), &cannot_encode(callee, &error, args), decoder),
        };
        let (now, multi_call) = (now(), Arc::new(MultiCall::default()));
        let mut replies = Replies::new(Arc::clone(&multi_call), Some(request.id()), decoder);
        let mut batch = self.server.fanout.flush_batch();
        for socket in self.selector.members(&self.server.registry) {
            let session = Arc::clone(socket.session());
            let number = socket.number();
            let member = MultiCallSlot::new(&multi_call, replies.add(socket));
            let (write, outcome) = session.request_shared(now, callee, &request, member);
            if write {
                batch.add(number, &session);
            }
            if let Err((error, _)) = outcome {
                replies.fail_last(error);
            }
        }
        replies
    }

    /// Sends a request to every member, through the layers around outgoing calls.
    #[cfg(feature = "middleware")]
    fn request_through<R, E>(
        &self,
        interceptor: &dyn Interceptor,
        callee: Callee<'_>,
        timeout: Duration,
        arguments: &Bytes,
        decoder: Decoder<R, E>,
    ) -> Replies<I, R, E> {
        let mut replies = Replies::new(Arc::default(), None, decoder);
        let (callee, deadline) = (OwnedCallee::from(callee), now() + clamp_timeout(timeout));
        for socket in self.selector.members(&self.server.registry) {
            let call = interceptor.send(OutgoingCall {
                callee: callee.clone(),
                kind: Kind::Request,
                arguments: arguments.clone(),
                deadline,
                target: OutgoingTarget::Peer(Peer::clone(socket.as_peer())),
            });
            replies.add_call(socket, call);
        }
        replies
    }

    /// Returns the group under this path, for calls by name.
    pub fn group(&self, path: &str) -> Group<Self> {
        Group::root(self.clone()).group(path)
    }

    /// Sends an emit to the listeners of `name` outside of any group, at every member. Waits for
    /// slow members as [every emit to an audience](Audience) does.
    ///
    /// # Errors
    ///
    /// The method fails if the name is invalid, or if the arguments cannot be encoded or are too
    /// large. The emit skips members that accept only smaller messages.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the emit has been sent to all members or to
    /// none.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        Group::root(self.clone()).emit(name, args).await
    }

    /// Sends a request for `name` outside of any group to every member.
    ///
    /// The method sends the request immediately, to the members at the time of this call.
    pub fn request<R: DeserializeOwned>(&self, name: &str, args: &(impl Serialize + ?Sized)) -> Replies<I, R> {
        Group::root(self.clone()).request(name, args)
    }
}

impl<I: Identity> Group<Audience<I>> {
    /// Sends an emit to the listeners of `name` in this group, at every member. Waits for slow
    /// members as [every emit to an audience](Audience) does.
    ///
    /// # Errors
    ///
    /// The method fails if the name or the path is invalid, or if the arguments cannot be encoded
    /// or are too large. The emit skips members that accept only smaller messages.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        self.target().emit_to_all(Callee::Named(&self.named(name)?), args).await
    }

    /// Sends a request for `name` in this group to every member.
    ///
    /// The method sends the request immediately, to the members at the time of this call.
    pub fn request<R: DeserializeOwned>(&self, name: &str, args: &(impl Serialize + ?Sized)) -> Replies<I, R> {
        match self.named(name) {
            Ok(named) => self.target().request_all(Callee::Named(&named), None, args, decode_plain),
            Err(invalid) => {
                let decoder = (Described::Named(name.to_owned()), decode_plain as Decode<R, _>);
                Replies::failed(self.target().sockets(), &invalid.into(), decoder)
            }
        }
    }
}

#[cold]
fn cannot_encode<A: Serialize + ?Sized>(callee: Callee<'_>, error: &EncodeError, args: &A) -> CallError {
    let failed = failing_element(args);
    Described::new(callee).cannot_encode_arguments(Role::Server, error, failed, type_name::<A>())
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

#[cfg(all(test, feature = "compression"))]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use crate::{Client, Server};

    #[tokio::test]
    async fn message_to_audience_is_compressed_once() {
        let server = Server::builder().compress_from(1000).build();
        let (sender, mut received) = unbounded_channel();
        let mut clients = Vec::new();
        for _ in 0..5 {
            let sender = sender.clone();
            let client = Client::builder().compress_from(1000).each_session(move |peer, _| {
                let sender = sender.clone();
                peer.listen("text", move |text: String| {
                    sender.send(text).unwrap();
                    async {}
                });
                async {}
            });
            clients.push(client.connect_local(&server).await.unwrap());
        }
        let text = "the same for all ".repeat(1000);
        server.all().emit("text", &text).await.unwrap();
        for _ in &clients {
            assert!(received.recv().await.unwrap() == text);
        }
        assert_eq!(server.inner.options.compression.cached(), 1);
    }
}
