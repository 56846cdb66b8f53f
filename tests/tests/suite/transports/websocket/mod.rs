//! What is particular to WebSockets: the upgrade from HTTP, whose pages may connect, and what RFC 6455 asks for when a
//! peer misuses it. That everything else is as over other transports is what the other tests show.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod in_axum;
mod messages;
mod misuse;
mod raw;
mod upgrade;
