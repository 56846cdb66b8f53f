//! Tests of the handshake, of framing and of scheduling, over transports.

mod broken_handshakes;
mod framing;
mod scheduling;
