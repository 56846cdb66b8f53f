//! The input of the decoder.

use std::slice;

use super::decode_error::DecodeError;

/// The remaining input.
///
/// The field is an iterator instead of a slice, because an iterator changes only a single pointer
/// when the reader takes a byte.
pub(super) struct Reader<'de> {
    left: slice::Iter<'de, u8>,
    /// Maximum number of bytes of memory that the decoded value may take.
    limit: usize,
    /// The part of `limit` that remains.
    budget: usize,
    /// The number of elements of the outermost value that follow the element that could not be
    /// decoded.
    pub(super) failed: Option<usize>,
}

/// Defines the reader of an unsigned varint. Each byte holds seven bits of the number, and the
/// first byte holds the lowest bits. The top bit is set in all bytes except the last.
///
/// As postcard does, the reader accepts redundant zero bytes at the end. It rejects bits that do
/// not fit the type.
macro_rules! varint {
    ($name:ident) => {
        /// Reads a varint of this width.
        #[inline]
        pub(super) fn $name(&mut self) -> Result<$name, DecodeError> {
            // The maximum number of bytes of a varint, and the greatest last byte of a varint of
            // that length.
            const BYTES: u32 = <$name>::BITS.div_ceil(7);
            const LAST: u8 = (1 << (<$name>::BITS % 7)) - 1;
            let mut value = 0;
            for position in 0..BYTES {
                let byte = self.byte()?;
                value |= <$name>::from(byte & 0x7f) << (7 * position);
                if byte < 0x80 {
                    let fits = position < BYTES - 1 || byte <= LAST;
                    return if fits { Ok(value) } else { Err(DecodeError::InvalidInteger) };
                }
            }
            Err(DecodeError::InvalidInteger)
        }
    };
}

impl<'de> Reader<'de> {
    /// Creates a reader of `input`, for a value of at most `limit` bytes.
    #[inline]
    pub(super) fn new(input: &'de [u8], limit: usize) -> Self {
        Self { left: input.iter(), limit, budget: limit, failed: None }
    }

    /// Counts memory that the decoder is about to allocate for the value.
    #[inline]
    pub(super) fn count_memory(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.budget.checked_sub(bytes) {
            Some(budget) => {
                self.budget = budget;
                Ok(())
            }
            None => Err(DecodeError::DecodedTooLarge { limit: self.limit }),
        }
    }

    /// Returns the number of remaining bytes.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    /// Reads a byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.left.next().copied().ok_or(DecodeError::UnexpectedEnd)
    }

    /// Reads `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.left.as_slice().split_first_chunk().ok_or(DecodeError::UnexpectedEnd)?;
        self.left = rest.iter();
        Ok(*array)
    }

    varint!(u16);
    varint!(u32);
    varint!(u64);
    varint!(u128);

    /// Reads a length. The length must not exceed the number of remaining bytes.
    ///
    /// This rule prevents an allocation that is larger than the input. As a consequence, the
    /// decoder also rejects a long `Vec<()>`, although its elements take no bytes, if its length
    /// exceeds the number of remaining bytes.
    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.u64()?;
        let left = self.left();
        // The numbers are compared as `u64`, so that the error contains the right length on a
        // 32-bit machine, too.
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(length),
            _ => Err(DecodeError::LengthBeyondInput { length, left }),
        }
    }

    /// Reads a length, and then that number of bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'de [u8], DecodeError> {
        let length = self.length()?;
        let (bytes, rest) = self.left.as_slice().split_at_checked(length).ok_or(DecodeError::UnexpectedEnd)?;
        self.left = rest.iter();
        Ok(bytes)
    }

    /// Reads the length of a string and then the string.
    #[inline]
    pub(super) fn str(&mut self) -> Result<&'de str, DecodeError> {
        str::from_utf8(self.bytes()?).map_err(|_| DecodeError::InvalidUtf8)
    }

    /// Reads a character. A character is encoded as a string of a single character.
    #[inline]
    pub(super) fn char(&mut self) -> Result<char, DecodeError> {
        let mut letters = str::from_utf8(self.bytes()?).map_err(|_| DecodeError::InvalidChar)?.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(letter),
            _ => Err(DecodeError::InvalidChar),
        }
    }
}
