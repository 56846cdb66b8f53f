//! Tests of the handshake, of framing and of permits, over transports.

mod broken_handshakes;
mod framing;
mod permits;
