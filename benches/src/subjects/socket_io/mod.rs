//! The subjects with Socket.IO. The servers are `socketioxide`, and the original server on Node.
//! Both subjects use the same client, which is in the module [`client`].

mod client;
mod node;
mod packet;
mod socketioxide;

pub use self::{node::SocketIo, socketioxide::Socketioxide};
