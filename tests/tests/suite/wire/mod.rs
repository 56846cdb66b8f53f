//! Peers that break the protocol, send what cannot be understood, or flood: each gets its own clear answer where one
//! is possible, and at most its own connection ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(missing_docs, reason = "a test's own groups")]

mod announcements;
mod bombs;
mod calls;
mod floods;
mod frames;
mod from_servers;
mod greetings;
mod raw;
mod served;
