//! Payloads: how arguments, replies and the handshake become bytes and values again.
//!
//! The bytes are those of [postcard](https://postcard.jamesmunns.com/wire-format) 1.x. Its encoder is used as it is. The
//! decoder is our own, because what it reads comes from the other side: it bounds nesting and lengths, refuses
//! bytes left over, keeps the messages of the types' own `Deserialize`, and lends strings and bytes from the input.

mod decode;
mod decode_error;
mod encode;
mod payload;
mod reader;
mod scratch;
#[cfg(test)]
mod tests;

pub use self::{
    decode::{decode, decode_elements, decode_within},
    decode_error::DecodeError,
    encode::{EncodeError, encode, encode_into},
    payload::{Payload, SHARE_FROM},
    scratch::with_scratch,
};
