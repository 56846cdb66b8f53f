//! Finds the argument that cannot be encoded, for error messages.

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{self, Impossible, SerializeTuple},
};

use crate::codec;

/// Returns the position of the first element of a tuple that cannot be encoded, or `None` if the
/// value is not a tuple.
#[cold]
pub(crate) fn failing_element<T: Serialize + ?Sized>(tuple: &T) -> Option<usize> {
    tuple.serialize(Probe).err().and_then(|Failed(position)| position)
}

/// A serializer that accepts only tuples and encodes each element separately.
struct Probe;

/// The position of the element that cannot be encoded.
#[derive(Debug)]
struct Failed(Option<usize>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element cannot be encoded")
    }
}

impl std::error::Error for Failed {}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

struct Elements(usize);

impl SerializeTuple for Elements {
    type Ok = ();
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), Failed> {
        codec::encode(element).map_err(|_| Failed(Some(self.0)))?;
        self.0 += 1;
        Ok(())
    }

    fn end(self) -> Result<(), Failed> {
        Ok(())
    }
}

/// Rejects values that are not tuples.
macro_rules! reject {
    ($($method:ident($($value:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $value),*) -> Result<$ok, Failed> {
            Err(Failed(None))
        })*
    };
}

impl Serializer for Probe {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Impossible<(), Failed>;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = Impossible<(), Failed>;
    type SerializeTupleVariant = Impossible<(), Failed>;
    type SerializeMap = Impossible<(), Failed>;
    type SerializeStruct = Impossible<(), Failed>;
    type SerializeStructVariant = Impossible<(), Failed>;

    fn serialize_tuple(self, _: usize) -> Result<Elements, Failed> {
        Ok(Elements(0))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Failed> {
        Err(Failed(None))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Failed> {
        Err(Failed(None))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Failed> {
        Err(Failed(None))
    }

    reject! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fragile;

    impl Serialize for Fragile {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("broken"))
        }
    }

    #[test]
    fn failing_element_of_tuple_is_found() {
        assert_eq!(failing_element(&(1_u8, "text", Fragile, Fragile)), Some(2));
        assert_eq!(failing_element(&(1_u8, 2_u8)), None);
        assert_eq!(failing_element(&Fragile), None);
    }
}
