//! What generated code uses. None of it is part of the public interface.

pub use crate::{
    session::{Ended, Incoming, Kind, Method, Place, Service},
    stub::Stub,
};
pub use sockets_proto::Overflow;
