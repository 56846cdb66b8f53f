//! The bytes of the protocol. The tests cover the examples of PROTOCOL.md, and peers that break the
//! protocol.
//!
//! If a peer breaks the protocol, that peer gets a clear answer where possible. No connection ends
//! except that of this peer.

mod announcements;
mod calls;
mod compressed_frames;
mod examples;
mod fixture;
mod floods;
mod frames;
mod handshakes;
mod hostile_servers;
