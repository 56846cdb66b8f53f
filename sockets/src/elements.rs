//! The elements of the arguments of a call, each encoded separately.

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
    encode_elements(tuple, |_| true, |_| {}).err().and_then(|Failed(position)| position)
}

/// Encodes the elements of a tuple at the positions for which `is_wanted` returns `true`, in order,
/// and passes their bytes to `consume`.
///
/// # Errors
///
/// Fails if one of these elements cannot be encoded, or if the value is not a tuple.
pub(crate) fn encode_elements<T: Serialize + ?Sized>(
    tuple: &T,
    is_wanted: impl Fn(usize) -> bool,
    consume: impl FnMut(&[u8]),
) -> Result<(), Failed> {
    tuple.serialize(Probe { is_wanted, consume })
}

/// A serializer that accepts only tuples and encodes each wanted element separately.
struct Probe<W, C> {
    is_wanted: W,
    consume: C,
}

/// The position of the element that cannot be encoded.
#[derive(Debug)]
pub(crate) struct Failed(Option<usize>);

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

struct Elements<W, C> {
    probe: Probe<W, C>,
    at: usize,
}

impl<W: Fn(usize) -> bool, C: FnMut(&[u8])> SerializeTuple for Elements<W, C> {
    type Ok = ();
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), Failed> {
        if (self.probe.is_wanted)(self.at) {
            let consume = |payload: &codec::Payload<'_>| (self.probe.consume)(payload.as_slice());
            codec::with_scratch(element, consume).map_err(|_| Failed(Some(self.at)))?;
        }
        self.at += 1;
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

impl<W: Fn(usize) -> bool, C: FnMut(&[u8])> Serializer for Probe<W, C> {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Impossible<(), Failed>;
    type SerializeTuple = Elements<W, C>;
    type SerializeTupleStruct = Impossible<(), Failed>;
    type SerializeTupleVariant = Impossible<(), Failed>;
    type SerializeMap = Impossible<(), Failed>;
    type SerializeStruct = Impossible<(), Failed>;
    type SerializeStructVariant = Impossible<(), Failed>;

    fn serialize_tuple(self, _: usize) -> Result<Elements<W, C>, Failed> {
        Ok(Elements { probe: self, at: 0 })
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
