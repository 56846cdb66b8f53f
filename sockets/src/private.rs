//! Items that generated code uses. They are not part of the public interface.

pub use crate::{
    method::{Kind, Method},
    session::{Completed, HandlerSlot, Responder, Service},
    stub::Stub,
    type_checks::{Outgoing, Owned, Probe, Unencodable, Unsendable},
};
pub use sockets_proto::Overflow;
