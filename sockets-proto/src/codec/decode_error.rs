//! Errors of decoding.

use std::fmt::{self, Display, Write};

use serde::de;
use thiserror::Error;

/// The maximum depth of nested values. The limit suffices for practical types, and values of this
/// depth do not overflow the stack of a small thread.
pub(super) const MAX_DEPTH: u8 = 128;

/// The maximum length in bytes of a message that a type's own `Deserialize` returns.
///
/// Such a message may quote the input. Without the limit, a peer would therefore control the length
/// of the message.
const MAX_MESSAGE: usize = 256;

/// The reason for which bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("the input ends before the value does")]
    UnexpectedEnd,
    /// Bytes remain after the value, so the two peers disagree about its type.
    #[error("{left} trailing {}", if *left == 1 { "byte" } else { "bytes" })]
    TrailingBytes {
        /// The number of remaining bytes.
        left: usize,
    },
    /// The value is nested more deeply than is allowed.
    #[error("the value is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The value would take more memory than is allowed.
    #[error(
        "the decoded value takes more than {limit} bytes of memory; send less at once, or raise `Limits::max_decoded`"
    )]
    DecodedTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A length in the input exceeds the number of remaining bytes. It is the length of a string,
    /// byte string, sequence or map.
    #[error("a length of {length} exceeds the {left} remaining bytes")]
    LengthBeyondInput {
        /// The length that the input contains.
        length: u64,
        /// The number of bytes that follow the length in the input.
        left: usize,
    },
    /// An integer does not fit its type.
    #[error("an integer is too large for its type")]
    InvalidInteger,
    /// A boolean is neither 0 nor 1.
    #[error("invalid boolean {0}, expected 0 or 1")]
    InvalidBool(u8),
    /// The tag of an option is neither 0 nor 1.
    #[error("invalid tag {0} of an option, expected 0 or 1")]
    InvalidOption(u8),
    /// The string for a character does not contain exactly one character in UTF-8.
    #[error("invalid character, expected exactly one in UTF-8")]
    InvalidChar,
    /// A string is not UTF-8.
    #[error("invalid UTF-8 in a string")]
    InvalidUtf8,
    /// The type can only be decoded from a self-describing format.
    #[error(
        "postcard is not self-describing, so types with #[serde(tag)], #[serde(untagged)] or #[serde(flatten)] \
         cannot be decoded; remove the attribute, or list the fields in the struct itself"
    )]
    NotSelfDescribing,
    /// The type's own `Deserialize` rejected the value with this message. The message is truncated
    /// to 256 bytes.
    #[error("{0}")]
    Custom(String),
}

impl de::Error for DecodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        let mut kept = Truncated(String::new());
        // Writing fails if the message was truncated. The truncation is intended, so the error is
        // ignored.
        let _ = write!(kept, "{message}");
        Self::Custom(kept.0)
    }
}

/// Keeps the first [`MAX_MESSAGE`] bytes that are written. The end is truncated to a whole
/// character.
struct Truncated(String);

impl Write for Truncated {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = MAX_MESSAGE.saturating_sub(self.0.len());
        if part.len() <= room {
            self.0.push_str(part);
            return Ok(());
        }
        let fits = part.char_indices().map(|(start, letter)| start + letter.len_utf8()).take_while(|end| *end <= room);
        self.0.push_str(part.get(..fits.last().unwrap_or(0)).unwrap_or_default());
        // The error makes the formatter stop.
        Err(fmt::Error)
    }
}
