//! The encoding of arguments, of replies and of the messages of the handshake.
//!
//! The format is that of [postcard](https://postcard.jamesmunns.com/wire-format) 1.x. The encoder
//! is that of postcard. The decoder is this crate's own, because its input comes from a peer. The
//! decoder limits nesting and lengths, and rejects trailing bytes. It keeps the error messages of a
//! type's own `Deserialize`. Decoded strings and bytes may borrow from the input.

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
    encode::{EncodeError, append, encode, encode_into},
    payload::{Payload, SHARE_FROM},
    scratch::with_scratch,
};
