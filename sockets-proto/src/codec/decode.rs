//! The decoder. It implements serde's data model for the format of postcard.

use std::mem;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{
    decode_error::{DecodeError, MAX_DEPTH},
    reader::Reader,
};

/// The estimated overhead of an allocation in bytes.
const ALLOCATION: usize = 16;

/// Decodes a value from all of `bytes`. The value may borrow strings and byte strings from `bytes`.
///
/// Use this function only if a value of the type takes at most a small multiple of the length of
/// its encoding in memory. For other types use [`decode_within`], which limits the memory.
///
/// # Errors
///
/// Returns an error if the bytes are not exactly one value of this type, or if the value is nested
/// more than 128 levels deep. Also returns an error if a length in the input exceeds the number of
/// remaining bytes.
#[inline]
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    decode_within(bytes, usize::MAX)
}

/// Decodes a value as [`decode`] does, and limits the memory of the value to about `limit` bytes.
///
/// The decoder estimates the memory before each allocation. The estimate includes the elements of
/// sequences and maps, by the size of their type. It also includes boxed values and the bytes of
/// owned strings. It does not include the spare capacity of collections, or allocations by a type's
/// own `Deserialize`.
///
/// # Errors
///
/// Returns the errors of [`decode`]. Returns [`DecodeError::DecodedTooLarge`] if the estimate
/// exceeds `limit`.
#[inline]
pub fn decode_within<'de, T: Deserialize<'de>>(bytes: &'de [u8], limit: usize) -> Result<T, DecodeError> {
    decode_elements(bytes, limit).map_err(|(error, _)| error)
}

/// Decodes a value as [`decode_within`] does. If an element of a tuple is invalid, the error states
/// how many elements follow the invalid element.
///
/// # Errors
///
/// Returns the errors of [`decode_within`], each with the number of elements after the invalid
/// element. The number is `None` if bytes remain after the value, or if the value is not a tuple.
#[inline]
pub fn decode_elements<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    limit: usize,
) -> Result<T, (DecodeError, Option<usize>)> {
    let mut reader = Reader::new(bytes, limit);
    match T::deserialize(Decoder { reader: &mut reader, levels: MAX_DEPTH, slot: size_of::<T>() }) {
        Ok(value) if reader.left() == 0 => Ok(value),
        Ok(_) => Err((DecodeError::TrailingBytes { left: reader.left() }, None)),
        Err(error) => Err((error, reader.failed)),
    }
}

/// Decodes a single value from the front of the input.
struct Decoder<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// The number of further levels that the decoder may enter. Each nested value receives a
    /// decremented copy of the field. Therefore no code has to restore the field after the nested
    /// value has been decoded.
    levels: u8,
    /// The size of the slot in which the decoded value is stored. The memory of the slot has
    /// already been counted against the memory limit. The field is passed by value, as `levels` is,
    /// so that in most cases the compiler evaluates comparisons with it at compile time.
    slot: usize,
}

impl<'a, 'de> Decoder<'a, 'de> {
    /// Returns the decoder for a value of type `T` within this value.
    ///
    /// The decoder calls this method for every value that can contain another value, even if the
    /// value takes no byte of the input. So `MAX_DEPTH` bounds the nesting of every recursive type.
    #[inline]
    fn enter<T>(self) -> Result<Self, DecodeError> {
        let Some(levels) = self.levels.checked_sub(1) else { return Err(DecodeError::TooDeep) };
        let size = size_of::<T>();
        if size > self.slot {
            // A value that is larger than its slot must be stored behind a pointer.
            self.reader.count_memory(size + ALLOCATION)?;
        }
        Ok(Self { levels, slot: size, ..self })
    }

    /// Returns a decoder for the `count` elements of this value. `uncounted` is the number of
    /// elements whose memory has not yet been counted against the memory limit.
    #[inline]
    fn elements(self, count: usize, uncounted: usize) -> Elements<'a, 'de> {
        Elements {
            reader: self.reader,
            levels: self.levels,
            left: count,
            uncounted_keys: uncounted,
            uncounted_values: uncounted,
        }
    }
}

/// Defines methods that decode a number. Each method reads the number with a method of the reader,
/// and passes the number to a method of the visitor.
macro_rules! numbers {
    ($($method:ident, $visit:ident, |$reader:ident| $read:expr;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
                let $reader = self.reader;
                visitor.$visit($read)
            }
        )*
    };
}

/// Defines the methods for types that only a self-describing format can decode.
macro_rules! unsupported {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
                Err(DecodeError::NotSelfDescribing)
            }
        )*
    };
}

/// Decodes a signed number. The lowest bit holds the sign, so that small negative numbers are
/// short, too.
macro_rules! zig_zag {
    ($value:expr) => {{
        let value = $value;
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }};
}

impl<'de> Deserializer<'de> for Decoder<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    unsupported! { deserialize_any deserialize_identifier deserialize_ignored_any }

    numbers! {
        deserialize_u8, visit_u8, |reader| reader.byte()?;
        deserialize_u16, visit_u16, |reader| reader.u16()?;
        deserialize_u32, visit_u32, |reader| reader.u32()?;
        deserialize_u64, visit_u64, |reader| reader.u64()?;
        deserialize_u128, visit_u128, |reader| reader.u128()?;
        deserialize_i8, visit_i8, |reader| reader.byte()?.cast_signed();
        deserialize_i16, visit_i16, |reader| zig_zag!(reader.u16()?);
        deserialize_i32, visit_i32, |reader| zig_zag!(reader.u32()?);
        deserialize_i64, visit_i64, |reader| zig_zag!(reader.u64()?);
        deserialize_i128, visit_i128, |reader| zig_zag!(reader.u128()?);
        deserialize_f32, visit_f32, |reader| f32::from_le_bytes(reader.array()?);
        deserialize_f64, visit_f64, |reader| f64::from_le_bytes(reader.array()?);
        deserialize_char, visit_char, |reader| reader.char()?;
        deserialize_str, visit_borrowed_str, |reader| reader.str()?;
        deserialize_bytes, visit_borrowed_bytes, |reader| reader.bytes()?;
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = self.reader.str()?;
        self.reader.count_memory(text.len() + ALLOCATION)?;
        visitor.visit_borrowed_str(text)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let bytes = self.reader.bytes()?;
        self.reader.count_memory(bytes.len() + ALLOCATION)?;
        visitor.visit_borrowed_bytes(bytes)
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.reader.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(DecodeError::InvalidBool(other)),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.reader.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.enter::<V::Value>()?),
            other => Err(DecodeError::InvalidOption(other)),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self.enter::<V::Value>()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let inside = self.enter::<V::Value>()?;
        let count = inside.reader.length()?;
        visitor.visit_seq(inside.elements(count, count))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.enter::<V::Value>()?.elements(len, 0))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let inside = self.enter::<V::Value>()?;
        let count = inside.reader.length()?;
        visitor.visit_map(inside.elements(count, count))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Variant(self.enter::<V::Value>()?))
    }
}

/// The elements of a sequence, the fields of a struct, or the entries of a map.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// The number of further levels that each element may enter.
    levels: u8,
    /// The number of remaining elements.
    left: usize,
    /// The number of keys whose memory has not yet been counted against the memory limit. The decoder
    /// counts all keys together at the first key, because it does not know their type before.
    uncounted_keys: usize,
    /// As `uncounted_keys`, but for the values of a map or the elements of a sequence.
    uncounted_values: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn decode<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(Decoder { reader: self.reader, levels: self.levels, slot: size_of::<S::Value>() })
    }

    #[inline]
    fn decode_next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                let decoded = self.decode(seed);
                if decoded.is_err() && self.levels == MAX_DEPTH - 1 {
                    self.reader.failed = Some(left);
                }
                decoded.map(Some)
            }
            None => Ok(None),
        }
    }
}

/// The estimated memory of a map, divided by the memory of its entries. A map takes more memory
/// than its entries, because it keeps some of its slots free.
const MAP_FACTOR: usize = 2;

/// Returns the memory of `count` slots of type `T`. If a slot has at most one byte, the result is
/// 0, since such values take no more memory than their encoding.
#[inline]
fn memory<T>(count: usize) -> usize {
    if size_of::<T>() > 1 { count.saturating_mul(size_of::<T>()) } else { 0 }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.uncounted_values > 0 {
            self.reader.count_memory(memory::<S::Value>(mem::take(&mut self.uncounted_values)))?;
        }
        self.decode_next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.uncounted_keys > 0 {
            let count = mem::take(&mut self.uncounted_keys).saturating_mul(MAP_FACTOR);
            self.reader.count_memory(memory::<S::Value>(count))?;
        }
        self.decode_next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        if self.uncounted_values > 0 {
            let count = mem::take(&mut self.uncounted_values).saturating_mul(MAP_FACTOR);
            self.reader.count_memory(memory::<S::Value>(count))?;
        }
        self.decode(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A variant of an enum. The input contains the index of the variant and then its content.
///
/// The fields of the variant count as nested one level deeper than the enum, because decoding them
/// uses more of the stack.
struct Variant<'a, 'de>(Decoder<'a, 'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let index = self.0.reader.u32()?;
        let variant = seed.deserialize(IntoDeserializer::<DecodeError>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(Decoder { slot: size_of::<S::Value>(), ..self.0 })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.0.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.0.deserialize_tuple(fields.len(), visitor)
    }
}
