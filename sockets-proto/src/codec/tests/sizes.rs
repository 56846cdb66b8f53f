//! Tests of the estimate of a decoded value's memory.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Debug,
};

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, decode_within, encode};

/// An enum. A value takes 32 bytes in memory, but only 1 byte on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Wide {
    Small,
    Large([u64; 3]),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf([u64; 8]),
    Empty,
    Node(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn of_depth(depth: u32) -> Self {
        match depth.checked_sub(1) {
            None => Self::Empty,
            Some(depth) => Self::Node(Box::new(Self::of_depth(depth)), Box::new(Self::of_depth(depth))),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List {
    value: [u64; 16],
    next: Option<Box<List>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fields {
    numbers: (u64, [u64; 30]),
    inner: Inner,
    text: Option<Inner>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner(Wide, Wide);

/// Checks that the decoder rejects the value with a limit of `low` bytes, and accepts the value
/// with a limit of `high` bytes.
fn check<T>(value: &T, low: usize, high: usize)
where
    T: Serialize + for<'de> Deserialize<'de> + Debug + PartialEq,
{
    let bytes = encode(value).unwrap();
    assert_eq!(decode_within::<T>(&bytes, low), Err(DecodeError::DecodedTooLarge { limit: low }));
    assert_eq!(decode_within::<T>(&bytes, high).as_ref(), Ok(value));
}

#[test]
fn elements_of_collections_count_by_size() {
    check(&vec![Wide::Small; 1000], 31_999, 32_000);
    check(&vec![Some(7_u64); 100], 1599, 1600);
    check(&VecDeque::from(vec![7_u32; 100]), 399, 400);
    check(&vec![Wide::Small; 10].into_boxed_slice(), 319, 400);
    check(&(0..100_u64).map(|key| (key, Wide::Small)).collect::<HashMap<_, _>>(), 4000, 8000);
    check(&(0..100_u64).map(|key| (key, Wide::Small)).collect::<BTreeMap<_, _>>(), 4000, 8000);
}

#[test]
fn nested_collections_count_together() {
    check(&vec![vec![0_u64; 10]; 10], 10 * 24 + 799, 10 * 24 + 800);
    check(&vec![(1_u8, vec![Wide::Small; 3]); 10], 10 * 32 + 30 * 32 - 1, 10 * 32 + 30 * 32);
}

#[test]
fn boxed_values_count_by_size() {
    let node = size_of::<Tree>();
    check(&Tree::of_depth(10), 2046 * node, 2046 * (node + 16));
    let list = (0..50).fold(None, |next, _| Some(Box::new(List { value: [0; 16], next })));
    check(&list, 50 * 128, 50 * (size_of::<List>() + 16));
}

#[test]
fn owned_strings_count_and_borrowed_ones_do_not() {
    check(&vec!["a".to_owned(); 100], 100 * (24 + 1), 100 * (24 + 1 + 16));
    let bytes = encode(&"a".repeat(1000)).unwrap();
    assert_eq!(decode_within::<&str>(&bytes, 0).map(str::len), Ok(1000));
    assert_eq!(decode_within::<Cow<'_, str>>(&bytes, 1016).map(|text| text.len()), Ok(1000));
}

#[test]
fn fields_do_not_count_twice() {
    let inner = || Inner(Wide::Large([1; 3]), Wide::Small);
    let fields = Fields { numbers: (1, [2; 30]), inner: inner(), text: Some(inner()) };
    let bytes = encode(&fields).unwrap();
    assert_eq!(decode_within::<Fields>(&bytes, 0), Ok(fields));
}

#[test]
fn bytes_count_by_their_input() {
    let bytes = encode(&vec![7_u8; 100_000]).unwrap();
    assert_eq!(decode_within::<Vec<u8>>(&bytes, 0).map(|bytes| bytes.len()), Ok(100_000));
}

#[test]
fn error_contains_limit() {
    let bytes = encode(&vec![7_u64; 100]).unwrap();
    let error = decode_within::<Vec<u64>>(&bytes, 99).unwrap_err().to_string();
    assert!(error.contains("99 bytes") && error.contains("max_decoded"), "{error}");
}
