//! The description of a peer in log events.

use std::{fmt, net::SocketAddr};

use sockets_proto::Role;

/// A description of a peer for log events. It contains the session number and the address, if they
/// are known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PeerLabel {
    /// A client that has no session yet.
    Connecting { address: Option<SocketAddr> },
    /// A client with a session.
    Client { session: u64, address: Option<SocketAddr> },
    /// The server of a client.
    Server,
}

impl PeerLabel {
    /// Returns the role of the local endpoint.
    pub(crate) fn own_role(self) -> Role {
        match self {
            Self::Server => Role::Client,
            Self::Connecting { .. } | Self::Client { .. } => Role::Server,
        }
    }
}

impl fmt::Display for PeerLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self {
            Self::Server => return f.write_str("server"),
            Self::Connecting { address } => {
                f.write_str("client")?;
                address
            }
            Self::Client { session, address } => {
                write!(f, "client of session {session}")?;
                address
            }
        };
        match address {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}
