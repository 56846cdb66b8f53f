//! WebSocket (RFC 6455): one binary message for each frame of ours, without its prefix.
//!
//! The upgrade, the headers of frames and the codes are `tungstenite`'s. The buffers are not: its stream sets one aside for
//! each connection, idle ones too, and one of a whole message as soon as that announces itself; and a session has to know
//! how much has come of a message that is not whole.

mod client;
mod declined;
mod fields;
mod frame;
mod frame_writer;
mod head;
mod origins;
mod reassembly;
mod receiver;
mod transmitter;
mod upgrade;

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::protocol::Role;

#[cfg(feature = "axum")]
pub(crate) use self::upgrade::{accept_upgrade, of_request};
pub(crate) use self::{
    client::connect,
    declined::UpgradeError,
    origins::Origins,
    upgrade::{UpgradePolicy, accept},
};
use self::{frame_writer::FrameWriter, receiver::Receiver, transmitter::Transmitter};
use super::Link;
use crate::lock::TransportMutex;

/// What the two sides call the protocol within a WebSocket. It carries the protocol's version.
pub(crate) const SUBPROTOCOL: &str = "sockets.v1";

/// A connection over a stream of bytes that has been upgraded. `read` is what has been read of it behind the upgrade.
pub(crate) fn over_websocket(
    role: Role,
    read: BytesMut,
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
) -> Link {
    let outgoing = Arc::new(TransportMutex::new(FrameWriter::new(role, writer)));
    Link::new(Receiver::new(role, read, reader, Arc::clone(&outgoing)), Transmitter::new(outgoing))
}

#[cfg(test)]
mod tests;
