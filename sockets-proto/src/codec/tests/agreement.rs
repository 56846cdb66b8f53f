//! Our decoder reads what postcard writes, and reads it as postcard does.

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

/// The value comes back from postcard's bytes, and from none that are shorter or longer.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> TestCaseResult {
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

/// The bytes are a value for both decoders, the same one, or for neither.
fn agrees<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> TestCaseResult {
    let theirs = postcard::take_from_bytes::<T>(bytes).ok().filter(|(_, left)| left.is_empty());
    // Compared as bytes, in which a NaN is equal to itself.
    let theirs = theirs.map(|(value, _)| encode(&value).unwrap());
    let ours = decode::<T>(bytes);
    prop_assert_eq!(ours.as_ref().ok().map(|value| encode(value).unwrap()), theirs, "{:?}", ours.err());
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
    fn integers_of_every_width_come_back(unsigned in any::<Unsigned>(), signed in any::<Signed>()) {
        comes_back(&unsigned)?;
        comes_back(&signed)?;
    }

    #[test]
    fn integers_of_every_length_come_back_because_each_has_as_many_bytes_as_it_needs(
        value in any::<u128>(), shift in 0_u32..128
    ) {
        let value = value >> shift;
        comes_back(&value)?;
        comes_back(&value.cast_signed())?;
        if let Ok(value) = u64::try_from(value) {
            comes_back(&(value, value.cast_signed()))?;
        }
        if let Ok(value) = u32::try_from(value) {
            comes_back(&(value, value.cast_signed()))?;
        }
        if let Ok(value) = u16::try_from(value) {
            comes_back(&(value, value.cast_signed()))?;
        }
    }

    #[test]
    fn structs_and_all_kinds_of_variants_come_back(value in kinds()) {
        comes_back(&value)?;
    }

    #[test]
    fn maps_and_sequences_come_back(
        hashed in collection::hash_map(any::<u16>(), option::of(".{0,6}"), 0..6),
        sorted in collection::btree_map(any::<(bool, char)>(), collection::vec(any::<i32>(), 0..4), 0..6),
    ) {
        comes_back::<HashMap<u16, Option<String>>>(&hashed)?;
        comes_back(&sorted)?;
    }

    #[test]
    fn floats_come_back_to_the_bit_even_if_they_are_no_numbers(single in any::<u32>(), double in any::<u64>()) {
        let bytes = encode(&(f32::from_bits(single), f64::from_bits(double))).unwrap();
        let (f32, f64) = decode::<(f32, f64)>(&bytes).unwrap();
        prop_assert_eq!((f32.to_bits(), f64.to_bits()), (single, double));
    }

    #[test]
    fn addresses_come_back_in_their_compact_form_because_the_format_is_not_for_reading(address in any::<IpAddr>()) {
        comes_back(&address)?;
    }

    #[test]
    fn strings_and_bytes_are_lent_from_the_input(text in ".{0,20}", bytes in any::<Vec<u8>>(), number in any::<u32>()) {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Lent<'a> {
            text: &'a str,
            #[serde(borrow)]
            inner: Option<(&'a [u8], u32)>,
        }

        // Byte slices are written as sequences of bytes, which look the same.
        let value = Lent { text: &text, inner: Some((&bytes, number)) };
        let encoded = encode(&value).unwrap();
        let decoded = decode::<Lent<'_>>(&encoded).unwrap();
        prop_assert_eq!(&decoded, &value);
        let range = encoded.as_ptr_range();
        prop_assert!(decoded.text.is_empty() || range.contains(&decoded.text.as_ptr()));
    }

    #[test]
    fn encoding_appends_so_that_a_header_may_come_first(header in any::<Vec<u8>>(), value in kinds()) {
        let whole = encode_into(&value, header.clone()).unwrap();
        prop_assert_eq!(&whole[..header.len()], &header);
        prop_assert_eq!(decode::<Kinds>(&whole[header.len()..]).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_as_postcard_reads_them(bytes in collection::vec(any::<u8>(), 0..60)) {
        agrees_for_every_type(&bytes)?;
    }

    #[test]
    fn small_bytes_are_read_as_postcard_reads_them_and_are_often_valid(bytes in collection::vec(0_u8..5, 0..60)) {
        agrees_for_every_type(&bytes)?;
    }

    #[test]
    fn damaged_values_are_read_as_postcard_reads_them(
        value in kinds(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = encode(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agrees::<Kinds>(&bytes)?;
    }

    #[test]
    fn damaged_integers_are_read_as_postcard_reads_them_also_where_they_overflow(
        full in 0_usize..20, last in any::<u8>(), ones in any::<bool>()
    ) {
        let mut bytes = vec![if ones { 0xff } else { 0x80 }; full];
        bytes.push(last);
        agrees_for_every_type(&bytes)?;
        agrees::<u32>(&bytes)?;
        agrees::<u128>(&bytes)?;
    }
}
