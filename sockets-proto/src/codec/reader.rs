//! The input, taken from its front piece by piece.

use std::slice;

use super::decode_error::DecodeError;

/// What is left of the input.
///
/// An iterator rather than a slice: taking a byte then moves one pointer and leaves the end alone.
pub(super) struct Reader<'de> {
    left: slice::Iter<'de, u8>,
    /// How much memory the decoded value may take, and how much of that has not been counted.
    limit: usize,
    budget: usize,
    /// How many elements of the outermost value follow the one that could not be decoded.
    pub(super) failed: Option<usize>,
}

/// Defines the reader of an unsigned varint: seven bits a byte, the lowest first, the top bit set on all but the last.
///
/// Like postcard's, it accepts needless zero bytes at the end, and refuses bits that the type has no room for.
macro_rules! varint {
    ($name:ident) => {
        /// The next varint of this width.
        #[inline]
        pub(super) fn $name(&mut self) -> Result<$name, DecodeError> {
            // How many bytes it takes at most, and the greatest last byte if it takes all of them.
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
    /// Reads `input` from its beginning, for a value of at most `limit` bytes.
    #[inline]
    pub(super) fn new(input: &'de [u8], limit: usize) -> Self {
        Self { left: input.iter(), limit, budget: limit, failed: None }
    }

    /// Counts memory that the value is going to take.
    #[inline]
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.budget.checked_sub(bytes) {
            Some(budget) => {
                self.budget = budget;
                Ok(())
            }
            None => Err(DecodeError::DecodedTooLarge { limit: self.limit }),
        }
    }

    /// How many bytes are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.left.next().copied().ok_or(DecodeError::UnexpectedEnd)
    }

    /// The next `N` bytes, as an array.
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

    /// The length of what follows, if there can be that much: at most as many as there are bytes left.
    ///
    /// So no length makes anyone reserve more memory than the input itself took. The price is that a sequence of elements
    /// that take no bytes, such as `Vec<()>`, is refused when it is longer than the bytes that follow its length.
    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.u64()?;
        let left = self.left();
        // As `u64`, so that a 32-bit machine refuses a huge length for what it is.
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(length),
            _ => Err(DecodeError::LengthBeyondInput { length, left }),
        }
    }

    /// The next bytes, with their length before them.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'de [u8], DecodeError> {
        let length = self.length()?;
        let (bytes, rest) = self.left.as_slice().split_at_checked(length).ok_or(DecodeError::UnexpectedEnd)?;
        self.left = rest.iter();
        Ok(bytes)
    }

    /// The next string, with its length before it.
    #[inline]
    pub(super) fn str(&mut self) -> Result<&'de str, DecodeError> {
        str::from_utf8(self.bytes()?).map_err(|_| DecodeError::InvalidUtf8)
    }

    /// The next character: a string that holds just that one.
    #[inline]
    pub(super) fn char(&mut self) -> Result<char, DecodeError> {
        let mut letters = str::from_utf8(self.bytes()?).map_err(|_| DecodeError::InvalidChar)?.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(letter),
            _ => Err(DecodeError::InvalidChar),
        }
    }
}
