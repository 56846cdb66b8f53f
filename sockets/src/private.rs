//! What generated code uses. None of it is part of the public interface.

pub use crate::{
    incoming::{Ended, Incoming},
    place::Place,
    service::{Kind, Method, Service},
    stub::Stub,
};
