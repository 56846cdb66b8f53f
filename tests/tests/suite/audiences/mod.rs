//! Rooms and other audiences: members, broadcasts and broadcast requests.

mod large_messages;
mod latest;
mod members;
mod overflow;
mod replies;
mod rooms;
