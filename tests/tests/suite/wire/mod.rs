//! The bytes of the protocol: the examples of PROTOCOL.md, and peers that break it.
//!
//! Each bad peer gets a clear answer where possible, and at most its own connection ends.

mod announcements;
mod calls;
mod compressed_frames;
mod examples;
mod fixture;
mod floods;
mod frames;
mod handshakes;
mod hostile_servers;
