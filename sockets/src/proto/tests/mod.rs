//! Properties of the wire, of the handshake's bytes, and of two cores that talk to each other.

mod broken_handshakes;
mod core_rules;
mod frames;
mod framing;
mod sim;
mod two_cores;
