//! The methods of groups, and their callers' names for them.

use std::time::Duration;

use sockets_proto::Overflow;

/// Whether a method is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Awaited and answered.
    Request,
    /// Fire and forget.
    Emit,
}

/// A method of a group, as its trait declares it.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The group's path.
    pub path: &'static str,
    /// The method's name.
    pub name: &'static str,
    /// Their key on the wire.
    pub key: u64,
    /// Whether it is answered.
    pub kind: Kind,
    /// The deadline that the trait sets for its calls.
    pub timeout: Option<Duration>,
    /// Whether a client may make a call again that may have been executed.
    pub idempotent: bool,
    /// What happens to an emit of it for a member of an audience whose queue is full.
    pub overflow: Overflow,
    /// The names of its arguments.
    pub arguments: &'static [&'static str],
    /// Its types, in a text that is the same wherever they are the same on the wire.
    pub types: &'static str,
    /// The beginning of that text's hash, which is not 0.
    pub signature: u64,
}

/// What is called by its name.
pub(crate) struct Named<'a> {
    pub(crate) key: u64,
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
}

/// What is called: a name, or a method as the caller's trait declares it.
#[derive(Clone, Copy)]
pub(crate) enum Callee<'a> {
    /// Nobody knows its types.
    Named(&'a Named<'a>),
    Declared(&'static Method),
}

impl Callee<'_> {
    pub(crate) fn key(self) -> u64 {
        match self {
            Self::Named(named) => named.key,
            Self::Declared(method) => method.key,
        }
    }

    /// The group's path, and the method's name.
    #[cfg(feature = "middleware")]
    pub(crate) fn names<'a>(self) -> (&'a str, &'a str)
    where
        Self: 'a,
    {
        match self {
            Self::Named(named) => (named.path, named.name),
            Self::Declared(method) => (method.path, method.name),
        }
    }

    /// What happens to it for a member of an audience whose queue is full.
    pub(crate) fn overflow(self) -> Overflow {
        match self {
            Self::Named(_) => Overflow::default(),
            Self::Declared(method) => method.overflow,
        }
    }

    /// Whether it is a request that can be made again.
    pub(crate) fn is_idempotent(self) -> bool {
        matches!(self, Self::Declared(method) if method.idempotent)
    }

    /// Whether it is an emit that is not kept for another connection.
    pub(crate) fn is_volatile(self) -> bool {
        self.overflow() == Overflow::Volatile
    }

    /// Its key and signature, if its types are known.
    pub(crate) fn signed(self) -> Option<(u64, u64)> {
        match self {
            Self::Named(_) => None,
            Self::Declared(method) => Some((method.key, method.signature)),
        }
    }
}
