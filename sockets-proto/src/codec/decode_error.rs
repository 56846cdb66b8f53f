//! What can be wrong with a payload.

use std::fmt::{self, Display, Write};

use serde::de;
use thiserror::Error;

/// How many levels a value may be nested: enough for any honest value, and few enough for a small thread's stack.
pub(super) const MAX_DEPTH: u8 = 128;

/// A message of a type's own `Deserialize` is cut to this many bytes.
///
/// Such messages quote the input, so their length is the other side's choice.
const MAX_MESSAGE: usize = 256;

/// Why bytes could not be decoded as the value they were to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("the input ends before the value does")]
    UnexpectedEnd,
    /// The value ends before the input does, so the two sides disagree about its type.
    #[error("{left} {} left over", if *left == 1 { "byte" } else { "bytes" })]
    TrailingBytes {
        /// How many bytes are left.
        left: usize,
    },
    /// The value is nested more deeply than is allowed.
    #[error("the value is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The value would take more memory than is allowed.
    #[error(
        "the decoded value takes more than {limit} bytes of memory: send less at once, or raise `Limits::max_decoded`"
    )]
    DecodedTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A string, byte string, sequence or map claims more bytes or elements than there are bytes left.
    #[error("a length of {length} with {left} bytes left in the input")]
    LengthBeyondInput {
        /// The length that the input claims.
        length: u64,
        /// How many bytes follow it.
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
    /// A character is not exactly one character in UTF-8.
    #[error("invalid character, expected exactly one in UTF-8")]
    InvalidChar,
    /// A string is not UTF-8.
    #[error("invalid UTF-8 in a string")]
    InvalidUtf8,
    /// The type wants to be told by the input what it holds, and the input does not say.
    #[error(
        "postcard is not self-describing, so types with #[serde(tag)], #[serde(untagged)] or #[serde(flatten)] \
         cannot be decoded: leave the attribute out, or list the fields in the struct itself"
    )]
    NotSelfDescribing,
    /// The type's own `Deserialize` refused the value, with this message, cut to 256 bytes.
    #[error("{0}")]
    Custom(String),
}

impl de::Error for DecodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        let mut kept = Truncated(String::new());
        // Fails when the message is cut, and then what fits has been kept.
        let _ = write!(kept, "{message}");
        Self::Custom(kept.0)
    }
}

/// Keeps the first [`MAX_MESSAGE`] bytes of what is written, to a whole character.
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
        // The rest need not be formatted at all.
        Err(fmt::Error)
    }
}
