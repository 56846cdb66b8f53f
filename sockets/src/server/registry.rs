//! The connected sockets and their rooms.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use super::{Socket, join_error::JoinError};
use crate::{broadcast::MemberList, disconnect_reason::DisconnectReason, session::Session};
use sockets_proto::ReleaseUnused;

/// The sockets of a server by number, and the rooms. The numbers follow the order in which the
/// sockets connected. A room exists while it has members.
pub(super) struct Registry<I> {
    sockets: BTreeMap<u64, SocketEntry<I>>,
    /// The numbers of the sockets by the hash of their keys. Code that holds the registry's lock
    /// does not compare keys, since their `Eq` is user code.
    by_key: HashMap<u64, BTreeSet<u64>>,
    rooms: HashMap<String, Room<I>>,
    all_members: CachedMemberList,
    rooms_per_socket: u32,
    /// The reason for which the server shuts down, if it does.
    closed: Option<DisconnectReason>,
}

struct Room<I> {
    members: BTreeMap<u64, Socket<I>>,
    member_list: CachedMemberList,
}

impl<I> Default for Room<I> {
    fn default() -> Self {
        Self { members: BTreeMap::new(), member_list: CachedMemberList::new() }
    }
}

/// The list of members by shard. The server creates the list when it first needs the list, and
/// discards it after each change of the members.
type CachedMemberList = OnceLock<MemberList<Session>>;

struct SocketEntry<I> {
    socket: Socket<I>,
    rooms: BTreeSet<String>,
}

impl<I> Registry<I> {
    pub(super) fn new(rooms_per_socket: u32) -> Self {
        Self {
            sockets: BTreeMap::new(),
            by_key: HashMap::new(),
            rooms: HashMap::new(),
            all_members: CachedMemberList::new(),
            rooms_per_socket,
            closed: None,
        }
    }

    /// Admits no further sockets, and returns the sessions of the registered sockets.
    pub(super) fn close(&mut self, reason: DisconnectReason) -> Vec<Arc<Session>> {
        self.closed = Some(reason);
        self.sockets.values().map(|entry| Arc::clone(entry.socket.session())).collect()
    }

    /// Returns the reason for which the server shuts down. Returns `None` if it does not.
    pub(super) fn closed(&self) -> Option<&DisconnectReason> {
        self.closed.as_ref()
    }

    pub(super) fn socket(&self, id: u64) -> Option<&Socket<I>> {
        self.sockets.get(&id).map(|entry| &entry.socket)
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &Socket<I>> {
        self.sockets.values().map(|entry| &entry.socket)
    }

    pub(super) fn members(&self, room: &str) -> impl Iterator<Item = &Socket<I>> {
        self.rooms.get(room).into_iter().flat_map(|room| room.members.values())
    }

    pub(super) fn rooms(&self) -> Vec<String> {
        let mut rooms: Vec<_> = self.rooms.keys().cloned().collect();
        rooms.sort_unstable();
        rooms
    }

    /// Returns the rooms of a socket. If the socket has left the registry, returns the rooms that it
    /// was in at that time.
    pub(super) fn rooms_of<'a>(&'a self, socket: &'a Socket<I>) -> Option<&'a BTreeSet<String>> {
        let entry = self.sockets.get(&socket.number());
        entry.map(|entry| &entry.rooms).or_else(|| socket.last_rooms())
    }

    /// Adds a socket to a room. Returns `false` if the socket is in too many rooms already.
    ///
    /// If the socket has left the registry, the method does not add it. A room therefore never
    /// keeps a disconnected member.
    pub(super) fn join(&mut self, id: u64, room: &str) -> Result<(), JoinError> {
        let entry = self.sockets.get_mut(&id).ok_or(JoinError::Disconnected)?;
        let limit = self.rooms_per_socket;
        if entry.rooms.len() >= limit as usize && !entry.rooms.contains(room) {
            return Err(JoinError::TooManyRooms { limit });
        }
        entry.rooms.insert(room.to_owned());
        let room = self.rooms.entry(room.to_owned()).or_default();
        if room.members.insert(id, entry.socket.clone()).is_none() {
            room.member_list.take();
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, id: u64, room: &str) {
        if let Some(entry) = self.sockets.get_mut(&id) {
            entry.rooms.remove(room);
        }
        self.remove_member(id, room);
    }

    fn remove_member(&mut self, id: u64, room: &str) {
        let Some(Room { members, member_list }) = self.rooms.get_mut(room) else { return };
        if members.remove(&id).is_some() {
            member_list.take();
        }
        if members.is_empty() {
            self.rooms.remove(room);
            self.rooms.release_unused();
        }
    }

    /// Returns all sockets by shard.
    pub(super) fn all_members(&self, shards: usize) -> MemberList<Session> {
        self.all_members.get_or_init(|| MemberList::new(shards, self.sockets().map(Socket::with_number))).clone()
    }

    /// Returns the members of a room by shard.
    pub(super) fn member_list(&self, room: &str, shards: usize) -> Option<MemberList<Session>> {
        let Room { members, member_list } = self.rooms.get(room)?;
        Some(member_list.get_or_init(|| MemberList::new(shards, members.values().map(Socket::with_number))).clone())
    }

    /// Registers a socket. If the server is closed, returns the reason.
    pub(super) fn insert(&mut self, socket: Socket<I>) -> Result<(), DisconnectReason> {
        if let Some(reason) = &self.closed {
            return Err(reason.clone());
        }
        self.by_key.entry(socket.key_hash()).or_default().insert(socket.number());
        self.sockets.insert(socket.number(), SocketEntry { socket, rooms: BTreeSet::new() });
        self.all_members.take();
        Ok(())
    }

    /// Removes a socket from the registry and from its rooms. The socket keeps the names of the
    /// rooms. Returns the socket, because its drop runs user code: the caller drops it after it has
    /// released the registry's lock.
    pub(super) fn remove(&mut self, id: u64) -> Option<Socket<I>> {
        let SocketEntry { socket, rooms } = self.sockets.remove(&id)?;
        self.all_members.take();
        for room in &rooms {
            self.remove_member(id, room);
        }
        socket.set_last_rooms(rooms);
        let hash = socket.key_hash();
        if let Some(numbers) = self.by_key.get_mut(&hash) {
            numbers.remove(&id);
            if numbers.is_empty() {
                self.by_key.remove(&hash);
                self.by_key.release_unused();
            }
        }
        Some(socket)
    }

    /// Returns the sockets with keys of this hash, oldest first.
    pub(super) fn sockets_with(&self, key_hash: u64) -> impl Iterator<Item = &Socket<I>> {
        self.by_key.get(&key_hash).into_iter().flatten().filter_map(|id| self.socket(*id))
    }
}
