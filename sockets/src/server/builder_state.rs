//! The parameter of a server's builder.

use crate::identity::Identity;

/// The parameter of a [`ServerBuilder`](crate::ServerBuilder) without an identity. The server
/// admits every client with the identity `()`, unless
/// [`authenticate`](crate::ServerBuilder::authenticate) is called.
#[derive(Debug)]
pub struct Unset(());

/// The parameter of a [`ServerBuilder`](crate::ServerBuilder): an [`Identity`], or [`Unset`].
pub trait BuilderState: 'static {
    /// The type of the identity of the built server.
    type Identity: Identity;
}

impl BuilderState for Unset {
    type Identity = ();
}

impl<I: Identity> BuilderState for I {
    type Identity = I;
}

/// The state of a builder whose identity can be chosen. Implemented only for [`Unset`].
#[diagnostic::on_unimplemented(
    message = "the identity is chosen already",
    note = "call `authenticate` once, before `connected`, `serve_each` and `layer_connecting`"
)]
pub trait NoIdentityYet {}

impl NoIdentityYet for Unset {}
