//! Dynamic calls, by path and name.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call_error::CallError,
    codec::{self, decode},
    listener::{Answering, Listener},
    name::{InvalidName, check_path, check_segment, key},
    peer::Peer,
    proto::Payload,
    server::{Audience, Identity, Replies, decode_plain},
};

/// A group by its path, on a peer or an audience: the dynamic interface, on the same wire as the typed one.
///
/// ```
/// # async fn example(client: &sockets::Client) -> Result<(), sockets::CallError> {
/// let refunds = client.group("Purchases").group("Refunds");
/// let refunded: Result<(), String> = refunds.request("refund", &(7_u32,)).await?;
/// refunds.listen("closed", |reason: String| async move { println!("{reason}") });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Group<T = Peer> {
    target: T,
    path: String,
}

impl<T: Clone> Group<T> {
    pub(crate) fn root(target: T) -> Self {
        Self { target, path: String::new() }
    }

    /// The subgroup under this path.
    pub fn group(&self, path: &str) -> Self {
        let path = if self.path.is_empty() { path.to_owned() } else { format!("{}/{path}", self.path) };
        Self { target: self.target.clone(), path }
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn key(&self, name: &str) -> Result<u64, InvalidName> {
        check_path(&self.path)?;
        check_segment(name)?;
        Ok(key(&self.path, name))
    }
}

impl Group<Peer> {
    /// As [`Peer::emit`], in this group.
    ///
    /// # Errors
    ///
    /// As [`Peer::emit`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        self.target.session().emit(self.key(name)?, args).await
    }

    /// As [`Peer::request`], in this group.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it cancels the call on the other side.
    pub async fn request<R: DeserializeOwned>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        let (session, key) = (self.target.session(), self.key(name)?);
        let timeout = session.limits().call_timeout;
        let waiting = codec::with_scratch(args, |encoded| session.request(key, timeout, &Payload::of(encoded)))??;
        let reply = CallError::from_answer(waiting.await)?;
        Ok(decode(&reply)?)
    }

    /// As [`Peer::listen`], in this group.
    ///
    /// # Panics
    ///
    /// As [`Peer::listen`], and if the path is not legal.
    pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send + Sync> + Send + 'static,
    {
        self.target.add_listener::<A, F>(&self.path, name, f, Answering::InTurn)
    }

    /// As [`Peer::set_callback`], in this group.
    ///
    /// # Panics
    ///
    /// As [`Peer::listen`], and if the path is not legal.
    pub fn set_callback<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send + Sync> + Send + 'static,
    {
        self.target.add_listener::<A, F>(&self.path, name, f, Answering::Always)
    }
}

impl<I: Identity> Group<Audience<I>> {
    /// Sends an emit to every member. It waits for no slow member.
    ///
    /// # Errors
    ///
    /// If the name is not legal, or the arguments do not encode or are too large.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        self.target.emit_by_key(self.key(name)?, args).await
    }

    /// Asks every member. The question is sent now, to those who are members now.
    pub fn request<R: DeserializeOwned>(&self, name: &str, args: &(impl Serialize + ?Sized)) -> Replies<I, R> {
        match self.key(name) {
            Ok(key) => self.target.ask(key, None, args, decode_plain),
            Err(invalid) => self.target.refused(&invalid.into()),
        }
    }
}
