//! Socket.IO servers: `socketioxide`, and the original on Node. Both have the same client, see
//! [`client`].

mod client;
mod node;
mod packet;
mod socketioxide;

pub use self::{node::SocketIo, socketioxide::Socketioxide};
