//! Calls to audiences by path and name.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Audience, Replies,
    replies::{Decode, decode_plain},
};
use crate::{authenticator::Identity, call_error::CallError, group::Group, method::Callee, session::Described};

impl<I: Identity> Audience<I> {
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
