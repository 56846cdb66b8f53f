//! What transports are told by the builders.

/// For the side that listens.
#[derive(Clone, Default)]
pub(crate) struct ServerOptions {}

/// For the side that connects.
#[derive(Clone, Default)]
pub(crate) struct ClientOptions {}
