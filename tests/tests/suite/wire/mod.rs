//! The bytes of the protocol. The tests cover the examples of PROTOCOL.md, and peers that break the
//! protocol.
//!
//! If a peer breaks the protocol, it gets a clear answer where possible. At most its own connection
//! ends.

mod announcements;
mod calls;
mod compressed_frames;
mod examples;
mod fixture;
mod floods;
mod frames;
mod handshakes;
mod hostile_servers;
