//! What generated code uses. None of it is part of the public interface.

pub use crate::{
    method::{Kind, Method},
    session::{Ended, Incoming, Place, Service},
    stub::Stub,
};
pub use sockets_proto::Overflow;
