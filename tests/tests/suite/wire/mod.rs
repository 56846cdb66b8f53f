//! The bytes of the protocol. The tests cover the examples of PROTOCOL.md, and peers that break the
//! protocol.
//!
//! A peer that breaks the protocol gets a clear answer where possible. The server ends the
//! connection of this peer, but no other connection.

mod announcements;
mod calls;
mod compressed_frames;
mod examples;
mod fixture;
mod floods;
mod frames;
mod handshakes;
mod hostile_servers;
