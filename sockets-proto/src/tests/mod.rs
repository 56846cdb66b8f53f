//! Properties of the wire, of the handshake's bytes, and of two cores that talk to each other.

mod core_rules;
mod frames;
mod overflow;
mod two_cores;
