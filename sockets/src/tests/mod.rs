//! Tests of the handshake and of framing, over transports.

mod broken_handshakes;
mod framing;
