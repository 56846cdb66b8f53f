//! The decoder: serde's data model over postcard's bytes.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{
    decode_error::{DecodeError, MAX_DEPTH},
    reader::Reader,
};

/// Decodes a value that takes up all of `bytes`, and may borrow strings and byte strings from them.
///
/// # Errors
///
/// Returns an error if the bytes are not exactly one such value, are nested more than 128 levels
/// deep, or contain a length greater than the number of bytes that follow.
#[inline]
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = T::deserialize(Decoder { reader: &mut reader, levels: MAX_DEPTH })?;
    match reader.left() {
        0 => Ok(value),
        left => Err(DecodeError::TrailingBytes { left }),
    }
}

/// Decodes one value from the front of the input.
struct Decoder<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many more levels may be entered. Passed down by value, so that nothing has to be put back on the way up.
    levels: u8,
}

impl<'a, 'de> Decoder<'a, 'de> {
    /// The decoder for what is inside of this value.
    ///
    /// Called for everything that can hold another value, also where no byte is read for it, so that there is no
    /// recursive type whose values are not bounded.
    #[inline]
    fn enter(self) -> Result<Self, DecodeError> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels, ..self }),
            None => Err(DecodeError::TooDeep),
        }
    }

    /// What is inside of this value, as `count` values.
    #[inline]
    fn elements(self, count: usize) -> Elements<'a, 'de> {
        Elements { reader: self.reader, levels: self.levels, left: count }
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
        deserialize_string, visit_borrowed_str, |reader| reader.str()?;
        deserialize_bytes, visit_borrowed_bytes, |reader| reader.bytes()?;
        deserialize_byte_buf, visit_borrowed_bytes, |reader| reader.bytes()?;
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
            1 => visitor.visit_some(self.enter()?),
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
        visitor.visit_newtype_struct(self.enter()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let inside = self.enter()?;
        let count = inside.reader.length()?;
        visitor.visit_seq(inside.elements(count))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.enter()?.elements(len))
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
        let inside = self.enter()?;
        let count = inside.reader.length()?;
        visitor.visit_map(inside.elements(count))
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
        visitor.visit_enum(Variant(self.enter()?))
    }
}

/// The elements of a sequence or the fields of a struct, one behind the other; or the entries of a map.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many more levels each of them may enter.
    levels: u8,
    /// How many are still to come.
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn decode<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(Decoder { reader: self.reader, levels: self.levels })
    }

    #[inline]
    fn decode_next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.decode(seed).map(Some)
            }
            None => Ok(None),
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
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
        self.decode_next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
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
        seed.deserialize(self.0)
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
