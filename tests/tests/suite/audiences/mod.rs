//! Rooms and other audiences: members, broadcasts and broadcast requests.

mod large_messages;
mod members;
mod overflow;
mod replies;
mod rooms;
