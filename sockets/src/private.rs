//! What generated code uses. None of it is part of the public interface.

pub use crate::{
    proto::Overflow,
    session::{Ended, Incoming, Kind, Method, Place, Service},
    stub::Stub,
};
