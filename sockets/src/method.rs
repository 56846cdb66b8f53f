//! Descriptions of the methods of groups.

#[cfg(feature = "middleware")]
use std::sync::Arc;
use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
    time::Duration,
};

use serde::Serialize;
use sha2::{Digest, Sha256};
use sockets_proto::{LatestKey, Overflow};

use crate::elements::encode_elements;

/// The kind of a method: a request or an emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method with a reply.
    Request,
    /// A method without a reply.
    Emit,
}

/// A method of a group, as declared in its trait.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The group's path.
    pub path: &'static str,
    /// The method's name.
    pub name: &'static str,
    /// The key of the path and the name. The key identifies the method on the wire.
    pub key: u64,
    /// The kind of the method.
    pub kind: Kind,
    /// The timeout that the trait sets for calls of the method.
    pub timeout: Option<Duration>,
    /// `true` if a client may repeat a call after a connection loss, even if the peer may have
    /// executed the call.
    pub idempotent: bool,
    /// `true` if handlers of the method run to completion, whatever happens to the call.
    pub detached: bool,
    /// The overflow policy of an emit to an audience. It applies to members with a full queue.
    pub overflow: Overflow,
    /// The arguments by which newer emits replace older ones that wait, in ascending order. It is
    /// `None` if no emit is replaced.
    pub latest: Option<&'static [usize]>,
    /// The names of the arguments.
    pub arguments: &'static [&'static str],
    /// The types of the method as a text. If the types of two methods have the same encoding, their
    /// texts are equal.
    pub types: &'static str,
    /// The beginning of the hash of [`types`](Self::types). It is never 0.
    pub signature: u64,
}

/// A method that is called by its name.
pub(crate) struct Named<'a> {
    pub(crate) key: u64,
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
}

/// The method of a call. The caller calls it by name, or as declared in the caller's trait.
#[derive(Clone, Copy)]
pub(crate) enum Callee<'a> {
    /// A method of unknown types.
    Named(&'a Named<'a>),
    Declared(&'static Method),
    /// A declared method, and the key of an emit that replaces older ones.
    Latest(&'a LatestCallee),
}

/// A method with emits that replace older ones, and the key of such an emit.
#[derive(Clone)]
pub(crate) struct LatestCallee {
    method: &'static Method,
    key: LatestKey,
}

impl LatestCallee {
    pub(crate) fn method(&self) -> &'static Method {
        self.method
    }
}

impl Callee<'_> {
    pub(crate) fn key(self) -> u64 {
        match self {
            Self::Named(named) => named.key,
            Self::Declared(method) => method.key,
            Self::Latest(latest) => latest.method.key,
        }
    }

    /// Returns the overflow policy of the emit. It applies to members with a full queue.
    pub(crate) fn overflow(self) -> Overflow {
        match self {
            Self::Named(_) => Overflow::default(),
            Self::Declared(method) => method.overflow,
            Self::Latest(latest) => latest.method.overflow,
        }
    }

    /// Returns the method with the key of an emit with these arguments, if newer emits of the method
    /// replace older ones. The method is boxed, so that other emits pay nothing for it.
    #[inline]
    pub(crate) fn latest_of<A: Serialize + ?Sized>(self, args: &A) -> Option<Box<LatestCallee>> {
        match self {
            Self::Declared(method) => method.latest.and_then(|key| latest(method, key, args)),
            _ => None,
        }
    }

    /// Returns the callee of an emit, for which [`latest_of`](Self::latest_of) returned `latest`.
    #[inline]
    pub(crate) fn with_latest<'b>(self, latest: Option<&'b LatestCallee>) -> Callee<'b>
    where
        Self: 'b,
    {
        latest.map_or(self, Callee::Latest)
    }

    /// Returns the key of an emit that replaces older ones.
    pub(crate) fn latest(self) -> Option<LatestKey> {
        match self {
            Self::Latest(latest) => Some(latest.key),
            _ => None,
        }
    }

    /// Returns `true` if an emitter waits for members that have a full queue. Emits that replace
    /// older ones need no wait.
    pub(crate) fn waits(self) -> bool {
        self.latest().is_none() && self.overflow().waits()
    }

    /// Returns `true` for a request that may be repeated.
    pub(crate) fn is_idempotent(self) -> bool {
        matches!(self, Self::Declared(method) if method.idempotent)
    }

    /// Returns `true` if the method is a volatile emit, which the sender does not retain for
    /// retransmission.
    pub(crate) fn is_volatile(self) -> bool {
        self.overflow() == Overflow::Volatile
    }

    /// Returns the key and the signature, if the types are known.
    pub(crate) fn signed(self) -> Option<(u64, u64)> {
        match self {
            Self::Named(_) => None,
            Self::Declared(method) => Some((method.key, method.signature)),
            Self::Latest(latest) => Some((latest.method.key, latest.method.signature)),
        }
    }
}

/// A [`Callee`] that borrows nothing, for layers.
#[cfg(feature = "middleware")]
#[derive(Clone)]
pub(crate) enum OwnedCallee {
    /// The path and the name of the method, without a separator, and the length of the path.
    Named {
        key: u64,
        names: Arc<str>,
        path_len: usize,
    },
    Declared(&'static Method),
    Latest(LatestCallee),
}

#[cfg(feature = "middleware")]
impl OwnedCallee {
    pub(crate) fn named(key: u64, path: &str, name: &str) -> Self {
        Self::Named { key, names: Arc::from([path, name].concat()), path_len: path.len() }
    }

    pub(crate) fn key(&self) -> u64 {
        match self {
            Self::Named { key, .. } => *key,
            Self::Declared(method) => method.key,
            Self::Latest(latest) => latest.method.key,
        }
    }

    /// Returns the path of the group and the name of the method.
    pub(crate) fn names(&self) -> (&str, &str) {
        match self {
            Self::Named { names, path_len, .. } => names.split_at(*path_len),
            Self::Declared(method) => (method.path, method.name),
            Self::Latest(latest) => (latest.method.path, latest.method.name),
        }
    }

    /// Returns the callee, which borrows from `storage`.
    pub(crate) fn borrow<'a>(&'a self, storage: &'a mut Option<Named<'a>>) -> Callee<'a> {
        let (path, name) = self.names();
        match self {
            Self::Named { key, .. } => Callee::Named(storage.insert(Named { key: *key, path, name })),
            Self::Declared(method) => Callee::Declared(method),
            Self::Latest(latest) => Callee::Latest(latest),
        }
    }
}

#[cfg(feature = "middleware")]
impl From<Callee<'_>> for OwnedCallee {
    fn from(callee: Callee<'_>) -> Self {
        match callee {
            Callee::Named(&Named { key, path, name }) => Self::named(key, path, name),
            Callee::Declared(method) => Self::Declared(method),
            Callee::Latest(latest) => Self::Latest(latest.clone()),
        }
    }
}

/// Returns the method with the key of an emit. The key is a hash, because a key of any length would
/// need another allocation for each emit. Peers may choose the arguments, but they do not know the
/// secret. So they cannot choose arguments with the same hash. Returns `None` if the arguments
/// cannot be encoded, so that the emit will fail.
#[cold]
fn latest<A: Serialize + ?Sized>(method: &'static Method, arguments: &[usize], args: &A) -> Option<Box<LatestCallee>> {
    static SECRET: LazyLock<[u64; 2]> = LazyLock::new(|| {
        let random = RandomState::new();
        [0, 1].map(|half| random.hash_one(half))
    });
    let mut hash = Sha256::new();
    SECRET.iter().chain([&method.key]).for_each(|number| hash.update(number.to_le_bytes()));
    // The encodings of values of the same type are prefix-free, so their concatenation is unique.
    encode_elements(args, |at| arguments.contains(&at), |bytes| hash.update(bytes)).ok()?;
    let hash = hash.finalize();
    let [first, second] = [&hash[..8], &hash[8..16]].map(|half| half.try_into().map_or(0, u64::from_le_bytes));
    Some(Box::new(LatestCallee { method, key: LatestKey([first, second]) }))
}
