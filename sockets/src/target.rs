//! The targets of stubs.

use serde::Serialize;

use crate::{
    call_error::CallError,
    client::Client,
    identity::Identity,
    method::{Callee, Method},
    server::{Audience, Member, Socket},
    session::Peer,
};

/// A value for which a stub can be created: a [`Client`], a [`Socket`], a [`Peer`], a
/// [`Member`], an [`Audience`], or a reference to any of them. Sealed.
///
/// A function that sends emits takes any target. A function that makes requests takes
/// `impl IntoTarget<Target = Peer>`, since a request to an [`Audience`] has several replies.
///
/// ```
/// use sockets::{CallError, Client, IntoTarget, Peer, Server};
///
/// #[sockets::group("Lobby")]
/// pub trait Lobby {
///     async fn name(&self) -> String;
///     #[emit]
///     async fn message(&self, text: &str);
/// }
///
/// async fn greet(target: impl IntoTarget) -> Result<(), CallError> {
///     LobbyClient::new(&target).message("welcome").await
/// }
///
/// async fn name_of(target: impl IntoTarget<Target = Peer>) -> Result<String, CallError> {
///     LobbyClient::new(&target).name().await
/// }
///
/// # struct Ada;
/// # impl Lobby for Ada {
/// #     async fn name(&self) -> String {
/// #         "Ada".into()
/// #     }
/// #     async fn message(&self, _: &str) {}
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder().serve(LobbyServer::new(Ada)).build();
/// let client = Client::builder().serve(LobbyServer::new(Ada)).connect_local(&server).await?;
/// greet(&client).await?;
/// greet(server.all()).await?;
/// assert_eq!(name_of(&server.sockets()[0]).await?, "Ada");
/// assert_eq!(name_of(client.as_peer()).await?, "Ada");
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called",
    label = "pass a `&Client`, `&Socket`, `&Peer`, `&Member` or `&Audience`"
)]
pub trait IntoTarget: sealed::Sealed {
    /// The handle that a stub holds: [`Peer`] or [`Audience`]. It determines the result of a
    /// request.
    type Target: Target;

    /// Returns a handle to the target. The handle does not keep the target open.
    fn target(&self) -> Self::Target;
}

/// The handle that a stub holds: a [`Peer`] or an [`Audience`]. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the target of a stub",
    label = "the target of a stub is `Peer` or `Audience`"
)]
pub trait Target: sealed::Emit + Clone + Send + Sync + 'static {}

mod sealed {
    use super::{CallError, Method, Serialize};

    pub trait Sealed {}

    pub trait Emit {
        /// Encodes the arguments, and then returns a future that sends the emit.
        fn emit<A: Serialize + ?Sized>(
            &self,
            method: &'static Method,
            args: &A,
        ) -> impl Future<Output = Result<(), CallError>> + Send;
    }
}

impl Target for Peer {}

impl sealed::Emit for Peer {
    fn emit<A: Serialize + ?Sized>(
        &self,
        method: &'static Method,
        args: &A,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        self.emit_to(Callee::Declared(method), args)
    }
}

impl<I: Identity> Target for Audience<I> {}

impl<I: Identity> sealed::Emit for Audience<I> {
    fn emit<A: Serialize + ?Sized>(
        &self,
        method: &'static Method,
        args: &A,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        self.emit_to_all(Callee::Declared(method), args)
    }
}

impl sealed::Sealed for Peer {}

impl IntoTarget for Peer {
    type Target = Self;

    fn target(&self) -> Self {
        self.clone()
    }
}

impl sealed::Sealed for Client {}

impl IntoTarget for Client {
    type Target = Peer;

    fn target(&self) -> Peer {
        self.as_peer().clone()
    }
}

impl<I> sealed::Sealed for Socket<I> {}

impl<I: Identity> IntoTarget for Socket<I> {
    type Target = Peer;

    fn target(&self) -> Peer {
        self.as_peer().clone()
    }
}

impl<I> sealed::Sealed for Member<I> {}

impl<I: Identity> IntoTarget for Member<I> {
    type Target = Peer;

    fn target(&self) -> Peer {
        self.peer().clone()
    }
}

impl<I> sealed::Sealed for Audience<I> {}

impl<I: Identity> IntoTarget for Audience<I> {
    type Target = Self;

    fn target(&self) -> Self {
        self.clone()
    }
}

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &T {}

impl<T: IntoTarget + ?Sized> IntoTarget for &T {
    type Target = T::Target;

    fn target(&self) -> T::Target {
        (**self).target()
    }
}
