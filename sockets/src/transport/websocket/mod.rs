//! WebSocket (RFC 6455). Each frame of the protocol is a binary message without the frame's prefix.
//!
//! The upgrade, the frame headers and the close codes come from `tungstenite`. Its `WebSocket` type
//! is not used, for three reasons:
//!
//! - It allocates a buffer for each connection, even if the connection is idle.
//! - It allocates memory for a whole message when the header of the message arrives.
//! - It does not report the received length of an incomplete message. A session needs this length.

mod client;
mod fields;
mod frame;
mod frame_writer;
mod head;
mod origins;
mod reassembly;
mod receiver;
mod upgrade;
mod upgrade_error;

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::protocol::Role;

#[cfg(feature = "axum")]
pub(crate) use self::upgrade::{accept_upgrade, connect_info};
pub(crate) use self::{
    client::connect,
    origins::Origins,
    upgrade::{UpgradePolicy, accept},
    upgrade_error::UpgradeError,
};
use self::{
    frame_writer::{FrameWriter, Transmitter},
    receiver::Receiver,
};
use super::Link;
use crate::lock::TransportMutex;

/// The WebSocket subprotocol that clients offer and servers select. Its name includes the version
/// of the protocol.
pub(crate) const SUBPROTOCOL: &str = "sockets.v1";

/// Creates a connection over an upgraded byte stream. `read` contains the bytes that were received
/// after the upgrade.
pub(crate) fn over_websocket(
    role: Role,
    read: BytesMut,
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
) -> Link {
    let writer = Arc::new(TransportMutex::new(FrameWriter::new(role, writer)));
    Link::new(Receiver::new(role, read, reader, Arc::clone(&writer)), Transmitter::new(writer))
}

#[cfg(test)]
mod tests;
