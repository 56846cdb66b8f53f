//! Tests that the decoder agrees with postcard. Both accept the same bytes, and both return the
//! same values.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    net::IpAddr,
};

use proptest::{collection, option, prelude::*, test_runner::TestCaseResult};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{DecodeError, decode, encode, encode_into};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(Unit, i16);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    name: Newtype,
    pair: Pair,
    nothing: (),
    maybe: Option<(Option<bool>,)>,
    grid: Vec<Vec<u16>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kinds {
    Unit,
    Newtype(Newtype),
    Tuple(char, Option<i64>, [u8; 3]),
    Struct { nested: Nested, counts: BTreeMap<String, u32> },
    Many(Vec<Kinds>),
}

type Unsigned = (u8, u16, u32, u64, u128, usize);
type Signed = (i8, i16, i32, i64, i128, isize);

fn nested() -> impl Strategy<Value = Nested> {
    (
        ".{0,8}",
        any::<i16>(),
        option::of((option::of(any::<bool>()),)),
        collection::vec(collection::vec(any::<u16>(), 0..4), 0..4),
    )
        .prop_map(|(name, number, maybe, grid)| Nested {
            name: Newtype(name),
            pair: Pair(Unit, number),
            nothing: (),
            maybe,
            grid,
        })
}

fn kinds() -> impl Strategy<Value = Kinds> {
    let flat = prop_oneof![
        Just(Kinds::Unit),
        ".{0,8}".prop_map(|text| Kinds::Newtype(Newtype(text))),
        any::<(char, Option<i64>, [u8; 3])>().prop_map(|(letter, maybe, bytes)| Kinds::Tuple(letter, maybe, bytes)),
        (nested(), collection::btree_map(".{0,4}", any::<u32>(), 0..4))
            .prop_map(|(nested, counts)| Kinds::Struct { nested, counts }),
    ];
    flat.prop_recursive(4, 12, 3, |inner| collection::vec(inner, 0..3).prop_map(Kinds::Many))
}

/// Checks that the decoder returns the value from postcard's bytes. Also checks that the decoder
/// rejects truncated or extended bytes.
fn round_trips<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> TestCaseResult {
    let mut bytes = postcard::to_stdvec(value).unwrap();
    prop_assert_eq!(&encode(value).unwrap(), &bytes);
    prop_assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    for end in 0..bytes.len() {
        prop_assert!(decode::<T>(&bytes[..end]).is_err(), "{} of {} bytes are a value", end, bytes.len());
    }
    bytes.extend([0, 1]);
    prop_assert_eq!(decode::<T>(&bytes), Err(DecodeError::TrailingBytes { left: 2 }));
    Ok(())
}

/// Checks that both decoders return the same value for these bytes, or that both return an error.
fn agrees<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> TestCaseResult {
    let expected = postcard::take_from_bytes::<T>(bytes).ok().filter(|(_, left)| left.is_empty());
    // The values are compared as bytes, since a NaN is not equal to itself otherwise.
    let expected = expected.map(|(value, _)| encode(&value).unwrap());
    let decoded = decode::<T>(bytes);
    prop_assert_eq!(decoded.as_ref().ok().map(|value| encode(value).unwrap()), expected, "{:?}", decoded.err());
    Ok(())
}

fn agrees_for_every_type(bytes: &[u8]) -> TestCaseResult {
    agrees::<Unsigned>(bytes)?;
    agrees::<Signed>(bytes)?;
    agrees::<u16>(bytes)?;
    agrees::<i32>(bytes)?;
    agrees::<u64>(bytes)?;
    agrees::<i128>(bytes)?;
    agrees::<bool>(bytes)?;
    agrees::<char>(bytes)?;
    agrees::<f32>(bytes)?;
    agrees::<(f64, Option<f32>)>(bytes)?;
    agrees::<String>(bytes)?;
    agrees::<Vec<Option<char>>>(bytes)?;
    agrees::<Vec<Vec<i16>>>(bytes)?;
    agrees::<BTreeMap<i8, String>>(bytes)?;
    agrees::<IpAddr>(bytes)?;
    agrees::<Kinds>(bytes)
}

proptest! {
    #[test]
    fn integers_of_every_width_round_trip(unsigned in any::<Unsigned>(), signed in any::<Signed>()) {
        round_trips(&unsigned)?;
        round_trips(&signed)?;
    }

    #[test]
    fn integers_of_every_encoded_length_round_trip(
        value in any::<u128>(), shift in 0_u32..128
    ) {
        let value = value >> shift;
        round_trips(&value)?;
        round_trips(&value.cast_signed())?;
        if let Ok(value) = u64::try_from(value) {
            round_trips(&(value, value.cast_signed()))?;
        }
        if let Ok(value) = u32::try_from(value) {
            round_trips(&(value, value.cast_signed()))?;
        }
        if let Ok(value) = u16::try_from(value) {
            round_trips(&(value, value.cast_signed()))?;
        }
    }

    #[test]
    fn structs_and_variants_round_trip(value in kinds()) {
        round_trips(&value)?;
    }

    #[test]
    fn maps_and_sequences_round_trip(
        hashed in collection::hash_map(any::<u16>(), option::of(".{0,6}"), 0..6),
        sorted in collection::btree_map(any::<(bool, char)>(), collection::vec(any::<i32>(), 0..4), 0..6),
    ) {
        round_trips::<HashMap<u16, Option<String>>>(&hashed)?;
        round_trips(&sorted)?;
    }

    #[test]
    fn floats_round_trip_bitwise(single in any::<u32>(), double in any::<u64>()) {
        let bytes = encode(&(f32::from_bits(single), f64::from_bits(double))).unwrap();
        let (f32, f64) = decode::<(f32, f64)>(&bytes).unwrap();
        prop_assert_eq!((f32.to_bits(), f64.to_bits()), (single, double));
    }

    #[test]
    fn addresses_round_trip_in_compact_form(address in any::<IpAddr>()) {
        round_trips(&address)?;
    }

    #[test]
    fn strings_and_bytes_borrow_from_input(text in ".{0,20}", bytes in any::<Vec<u8>>(), number in any::<u32>()) {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Borrowed<'a> {
            text: &'a str,
            #[serde(borrow)]
            inner: Option<(&'a [u8], u32)>,
        }

        // The encoding of a byte slice is the same as that of a sequence of bytes.
        let value = Borrowed { text: &text, inner: Some((&bytes, number)) };
        let encoded = encode(&value).unwrap();
        let decoded = decode::<Borrowed<'_>>(&encoded).unwrap();
        prop_assert_eq!(&decoded, &value);
        let range = encoded.as_ptr_range();
        prop_assert!(decoded.text.is_empty() || range.contains(&decoded.text.as_ptr()));
    }

    #[test]
    fn encoding_appends_to_buffer(header in any::<Vec<u8>>(), value in kinds()) {
        let whole = encode_into(&value, header.clone()).unwrap();
        prop_assert_eq!(&whole[..header.len()], &header);
        prop_assert_eq!(decode::<Kinds>(&whole[header.len()..]).unwrap(), value);
    }

    #[test]
    fn arbitrary_bytes_decode_as_in_postcard(bytes in collection::vec(any::<u8>(), 0..60)) {
        agrees_for_every_type(&bytes)?;
    }

    #[test]
    fn small_bytes_decode_as_in_postcard(bytes in collection::vec(0_u8..5, 0..60)) {
        agrees_for_every_type(&bytes)?;
    }

    #[test]
    fn damaged_values_decode_as_in_postcard(
        value in kinds(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = encode(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agrees::<Kinds>(&bytes)?;
    }

    #[test]
    fn overflowing_integers_decode_as_in_postcard(
        full in 0_usize..20, last in any::<u8>(), ones in any::<bool>()
    ) {
        let mut bytes = vec![if ones { 0xff } else { 0x80 }; full];
        bytes.push(last);
        agrees_for_every_type(&bytes)?;
        agrees::<u32>(&bytes)?;
        agrees::<u128>(&bytes)?;
    }
}
