//! The bytes of the protocol. The tests cover the examples of PROTOCOL.md, and peers that break the
//! protocol.
//!
//! If a peer breaks the protocol, that peer gets a clear answer where possible. At most the
//! connection of that peer ends.

mod announcements;
mod calls;
mod compressed_frames;
mod examples;
mod fixture;
mod floods;
mod frames;
mod handshakes;
mod hostile_servers;
