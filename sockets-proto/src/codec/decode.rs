//! The decoder: serde's data model over postcard's bytes.

use std::mem;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{
    decode_error::{DecodeError, MAX_DEPTH},
    reader::Reader,
};

/// What an allocation of its own takes besides its bytes, about.
const ALLOCATION: usize = 16;

/// Decodes a value that takes up all of `bytes`, and may borrow strings and byte strings from them.
///
/// For types whose values take no more memory than a small multiple of their bytes. Others need
/// [`decode_within`].
///
/// # Errors
///
/// Returns an error if the bytes are not exactly one such value, are nested more than 128 levels
/// deep, or contain a length greater than the number of bytes that follow.
#[inline]
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    decode_within(bytes, usize::MAX)
}

/// Decodes a value as [`decode`] does, if it takes about `limit` bytes of memory at most.
///
/// The memory is estimated before it is allocated. Counted are the elements of sequences and maps, by the size of their
/// type; values in boxes; and the bytes of owned strings. Not counted are the spare capacity of collections, and what a
/// type's own `Deserialize` allocates for itself.
///
/// # Errors
///
/// As those of [`decode`], or [`DecodeError::DecodedTooLarge`].
#[inline]
pub fn decode_within<'de, T: Deserialize<'de>>(bytes: &'de [u8], limit: usize) -> Result<T, DecodeError> {
    decode_elements(bytes, limit).map_err(|(error, _)| error)
}

/// Decodes as [`decode_within`] does, and tells which element of a tuple is at fault: by how many elements follow it.
///
/// # Errors
///
/// As [`decode_within`]. There is no such element if bytes are left over, or if the value is not a tuple.
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

/// Decodes one value from the front of the input.
struct Decoder<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many more levels may be entered. Passed down by value, so that nothing has to be put back on the way up.
    levels: u8,
    /// The size of the place that the value is decoded for, whose memory is counted. Passed down like `levels`, and mostly
    /// a constant by the time that it is compared.
    slot: usize,
}

impl<'a, 'de> Decoder<'a, 'de> {
    /// The decoder for what is inside of this value, of type `T`.
    ///
    /// Called for everything that can hold another value, also where no byte is read for it, so that there is no
    /// recursive type whose values are not bounded.
    #[inline]
    fn enter<T>(self) -> Result<Self, DecodeError> {
        let Some(levels) = self.levels.checked_sub(1) else { return Err(DecodeError::TooDeep) };
        let size = size_of::<T>();
        if size > self.slot {
            // The place is that of a pointer.
            self.reader.charge(size + ALLOCATION)?;
        }
        Ok(Self { levels, slot: size, ..self })
    }

    /// What is inside of this value, as `count` values. Those of a collection are `uncharged`.
    #[inline]
    fn elements(self, count: usize, uncharged: usize) -> Elements<'a, 'de> {
        Elements {
            reader: self.reader,
            levels: self.levels,
            left: count,
            uncharged_keys: uncharged,
            uncharged_values: uncharged,
        }
    }
}

/// Defines methods that read a number with the reader's method, and hand it to the visitor's.
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

/// Defines the methods for types that only a self-describing format could decode.
macro_rules! refused {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
                Err(DecodeError::NotSelfDescribing)
            }
        )*
    };
}

/// Signed integers are encoded as unsigned ones, with the sign in the lowest bit, so that small ones stay short.
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

    refused! { deserialize_any deserialize_identifier deserialize_ignored_any }

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
        self.reader.charge(text.len() + ALLOCATION)?;
        visitor.visit_borrowed_str(text)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let bytes = self.reader.bytes()?;
        self.reader.charge(bytes.len() + ALLOCATION)?;
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

/// The elements of a sequence or the fields of a struct, one behind the other; or the entries of a map.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many more levels each of them may enter.
    levels: u8,
    /// How many are still to come.
    left: usize,
    /// For how many keys, and for how many values or elements, no memory has been counted. All are, with the first one,
    /// whose type is known then.
    uncharged_keys: usize,
    uncharged_values: usize,
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

/// How much memory a map takes for an entry, besides the entry: it keeps a part of its places free.
const MAP_FACTOR: usize = 2;

/// Returns the memory of so many places of type `T`. Elements of a byte take no more than their input.
#[inline]
fn memory<T>(count: usize) -> usize {
    if size_of::<T>() > 1 { count.saturating_mul(size_of::<T>()) } else { 0 }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.uncharged_values > 0 {
            self.reader.charge(memory::<S::Value>(mem::take(&mut self.uncharged_values)))?;
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
        if self.uncharged_keys > 0 {
            let count = mem::take(&mut self.uncharged_keys).saturating_mul(MAP_FACTOR);
            self.reader.charge(memory::<S::Value>(count))?;
        }
        self.decode_next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        if self.uncharged_values > 0 {
            let count = mem::take(&mut self.uncharged_values).saturating_mul(MAP_FACTOR);
            self.reader.charge(memory::<S::Value>(count))?;
        }
        self.decode(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// An enum's variant: its index, and then what it holds.
///
/// Fields are a level of their own below the enum's, for the stack that they take is also more.
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
