//! Dynamic calls to audiences, by path and name.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Audience, Identity, Replies,
    replies::{Decode, decode_plain},
};
use crate::{call_error::CallError, group::Group, method::Callee, session::Described};

impl<I: Identity> Audience<I> {
    /// The group under this path, for dynamic calls.
    pub fn group(&self, path: &str) -> Group<Self> {
        Group::root(self.clone()).group(path)
    }

    /// Sends an emit to every member's listeners of `name` that are in no group. It waits for slow members as
    /// [every emit to an audience](Audience) does.
    ///
    /// # Errors
    ///
    /// If the name is not legal, or the arguments do not encode or are too large. A member that accepts only smaller
    /// messages is passed over.
    ///
    /// # Cancel safety
    ///
    /// It is sent to all members before it first waits.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        Group::root(self.clone()).emit(name, args).await
    }

    /// Asks every member's answerer of `name` that is in no group. The question is sent now, to those who are members
    /// now.
    pub fn request<R: DeserializeOwned>(&self, name: &str, args: &(impl Serialize + ?Sized)) -> Replies<I, R> {
        Group::root(self.clone()).request(name, args)
    }
}

impl<I: Identity> Group<Audience<I>> {
    /// Sends an emit to every member. It waits for slow members as [every emit to an audience](Audience) does.
    ///
    /// # Errors
    ///
    /// If the name is not legal, or the arguments do not encode or are too large.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        self.target().emit_to_all(Callee::Named(&self.named(name)?), args).await
    }

    /// Asks every member. The question is sent now, to those who are members now.
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
