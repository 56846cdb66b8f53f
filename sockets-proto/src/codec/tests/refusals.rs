//! Tests of input that the decoder rejects, and of the errors.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::codec::{DecodeError, decode, encode};

/// A type with a visitor that panics when the decoder calls it. A visitor allocates the memory of a
/// value. So a test with this type shows that the decoder rejects the input before any allocation.
#[derive(Debug, PartialEq)]
struct Untouched<const METHOD: char>;

impl<'de, const METHOD: char> Deserialize<'de> for Untouched<METHOD> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match METHOD {
            'q' => deserializer.deserialize_seq(Self),
            'm' => deserializer.deserialize_map(Self),
            's' => deserializer.deserialize_string(Self),
            _ => deserializer.deserialize_byte_buf(Self),
        }
    }
}

impl<'de, const METHOD: char> Visitor<'de> for Untouched<METHOD> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self, A::Error> {
        panic!("visit_seq was called")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self, A::Error> {
        panic!("visit_map was called")
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        panic!("visit_str was called")
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self, E> {
        panic!("visit_bytes was called")
    }
}

/// Fault 2 of RELIABILITY.md.
#[test]
fn length_beyond_input_is_rejected_before_allocation() {
    let bytes = [encode(&(1_u64 << 32)).unwrap(), vec![0; 3]].concat();
    let refused = DecodeError::LengthBeyondInput { length: 1 << 32, left: 3 };
    assert_eq!(decode::<Untouched<'q'>>(&bytes), Err(refused.clone()));
    assert_eq!(decode::<Untouched<'m'>>(&bytes), Err(refused.clone()));
    assert_eq!(decode::<Untouched<'s'>>(&bytes), Err(refused.clone()));
    assert_eq!(decode::<Untouched<'b'>>(&bytes), Err(refused.clone()));
    assert_eq!(decode::<Vec<u64>>(&bytes), Err(refused.clone()));
    assert_eq!(decode::<String>(&bytes), Err(refused));
}

#[test]
fn maximum_length_does_not_overflow() {
    let bytes = encode(&u64::MAX).unwrap();
    assert_eq!(decode::<&str>(&bytes), Err(DecodeError::LengthBeyondInput { length: u64::MAX, left: 0 }));
}

#[test]
fn sequence_of_units_longer_than_input_is_rejected() {
    assert_eq!(decode::<Vec<()>>(&[5]), Err(DecodeError::LengthBeyondInput { length: 5, left: 0 }));
    assert_eq!(decode::<(Vec<()>, [u8; 2])>(&[2, 8, 9]), Ok((vec![(), ()], [8, 9])));
}

/// Fault 4 of RELIABILITY.md.
#[test]
fn truncated_input_is_unexpected_end() {
    assert_eq!(decode::<u8>(&[]), Err(DecodeError::UnexpectedEnd));
    assert_eq!(decode::<u32>(&[0x80]), Err(DecodeError::UnexpectedEnd));
    assert_eq!(decode::<f64>(&[0; 7]), Err(DecodeError::UnexpectedEnd));
    assert_eq!(decode::<Option<u8>>(&[1]), Err(DecodeError::UnexpectedEnd));
}

/// Fault 3 of RELIABILITY.md.
#[test]
fn trailing_bytes_are_rejected() {
    assert_eq!(decode::<u8>(&[1, 2, 3]), Err(DecodeError::TrailingBytes { left: 2 }));
    assert_eq!(decode::<()>(&[0]), Err(DecodeError::TrailingBytes { left: 1 }));
}

#[test]
fn overflowing_integer_is_rejected() {
    assert_eq!(decode::<u16>(&[0xff, 0xff, 0x03]), Ok(u16::MAX));
    assert_eq!(decode::<u16>(&[0xff, 0xff, 0x04]), Err(DecodeError::InvalidInteger));
    assert_eq!(decode::<u16>(&[0x80, 0x80, 0x80, 0x00]), Err(DecodeError::InvalidInteger));
    assert_eq!(decode::<u32>(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(DecodeError::InvalidInteger));
    assert_eq!(decode::<i64>(&[[0xff; 9].as_slice(), &[0x02]].concat()), Err(DecodeError::InvalidInteger));
    assert_eq!(decode::<i128>(&[[0xff; 18].as_slice(), &[0x04]].concat()), Err(DecodeError::InvalidInteger));
}

#[test]
fn invalid_booleans_and_options_are_rejected() {
    assert_eq!(decode::<bool>(&[2]), Err(DecodeError::InvalidBool(2)));
    assert_eq!(decode::<Option<()>>(&[2]), Err(DecodeError::InvalidOption(2)));
}

#[test]
fn character_of_other_length_is_rejected() {
    assert_eq!(decode::<char>(&[2, 0xc3, 0xa9]), Ok('é'));
    for bytes in [[0].as_slice(), &[2, b'a', b'b'], &[1, 0xc3], &[5, b'a', b'b', b'c', b'd', b'e']] {
        assert_eq!(decode::<char>(bytes), Err(DecodeError::InvalidChar));
    }
    assert_eq!(decode::<char>(&[2, b'a']), Err(DecodeError::LengthBeyondInput { length: 2, left: 1 }));
}

#[test]
fn string_of_invalid_utf8_is_rejected() {
    assert_eq!(decode::<&str>(&[1, 0xff]), Err(DecodeError::InvalidUtf8));
    assert_eq!(decode::<String>(&[2, 0xc3, b'a']), Err(DecodeError::InvalidUtf8));
}

#[test]
fn types_that_need_self_description_are_rejected() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Only { number: u8 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        number: u8,
    }

    let tagged = encode(&Tagged::Only { number: 1 }).unwrap();
    assert_eq!(decode::<Tagged>(&tagged), Err(DecodeError::NotSelfDescribing));
    let untagged = encode(&Untagged::Number(1)).unwrap();
    assert_eq!(decode::<Untagged>(&untagged), Err(DecodeError::NotSelfDescribing));
    assert_eq!(decode::<Flattened>(&[1, 1, 1]), Err(DecodeError::NotSelfDescribing));
    assert_eq!(decode::<IgnoredAny>(&[1]), Err(DecodeError::NotSelfDescribing));
    assert!(DecodeError::NotSelfDescribing.to_string().contains("#[serde(flatten)]"));
}

#[test]
fn unknown_variant_is_rejected_with_message_of_serde() {
    #[derive(Debug, PartialEq, Deserialize)]
    enum Two {
        One,
        Two,
    }

    assert_eq!(decode::<[Two; 2]>(&[0, 1]), Ok([Two::One, Two::Two]));
    let message = decode::<Two>(&[7]).unwrap_err().to_string();
    assert_eq!(message, "invalid value: integer `7`, expected variant index 0 <= i < 2");
}
