//! Tests of the limit of nesting, which prevents an overflow of the stack by any input.

use std::{collections::BTreeMap, thread};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{DecodeError, decode, decode_error::MAX_DEPTH, encode};

/// Stack size in bytes for all tests of this file. The size suffices even if the compiler does not
/// optimize.
const STACK: usize = 256 * 1024;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Maybe(Option<Box<Tree>>),
    Many(Vec<Tree>),
    Struct { number: u64, inner: Option<Box<Tree>> },
    Tuple(String, Box<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sequences(Vec<Sequences>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Maps {
    inner: BTreeMap<u8, Maps>,
}

/// A type that is nested only through options.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Options {
    inner: Option<Box<Options>>,
}

/// A type that is nested only through newtypes. The decoder never reads a byte for it.
#[derive(Debug, Deserialize)]
struct EndlessNewtype(#[expect(dead_code, reason = "there is no such value")] Box<EndlessNewtype>);

/// A type that is nested through a field. The decoder never reads a byte for it either.
#[derive(Debug, Deserialize)]
struct Endless {
    #[expect(dead_code, reason = "there is no such value")]
    inner: Box<Endless>,
}

/// Decodes on a small stack. If the decoder overflowed this stack, the test process would abort.
fn decode_on_small_stack<T: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) -> Result<T, DecodeError> {
    let decoder = thread::Builder::new().stack_size(STACK).spawn(move || decode(&bytes)).unwrap();
    decoder.join().unwrap()
}

fn assert_too_deep<T: DeserializeOwned + Send + 'static>(level: &[u8]) {
    let bytes = level.iter().copied().cycle().take(1024 * 1024).collect();
    assert_eq!(decode_on_small_stack::<T>(bytes).err(), Some(DecodeError::TooDeep));
}

/// Fault 5 of RELIABILITY.md.
#[test]
fn deeply_nested_enums_are_rejected() {
    assert_too_deep::<Tree>(&[1, 1]);
    assert_too_deep::<Tree>(&[2, 1]);
    assert_too_deep::<Tree>(&[3, 0, 1]);
    assert_too_deep::<Tree>(&[4, 0]);
}

#[test]
fn deeply_nested_options_are_rejected() {
    assert_too_deep::<Chain>(&[1]);
    assert_too_deep::<Options>(&[1]);
}

#[test]
fn deeply_nested_sequences_are_rejected() {
    assert_too_deep::<Sequences>(&[1]);
}

#[test]
fn deeply_nested_maps_are_rejected() {
    assert_too_deep::<Maps>(&[1, 0]);
}

#[test]
fn endless_type_without_input_is_rejected() {
    assert_eq!(decode_on_small_stack::<Endless>(Vec::new()).err(), Some(DecodeError::TooDeep));
    assert_eq!(decode_on_small_stack::<EndlessNewtype>(Vec::new()).err(), Some(DecodeError::TooDeep));
}

#[test]
fn value_beyond_maximum_depth_is_rejected() {
    // Each `Many` takes two levels, for the enum and for the sequence. An empty sequence ends the
    // nesting.
    let levels = |count: usize| [[2, 1].repeat(count), vec![2, 0]].concat();
    let most = usize::from(MAX_DEPTH) / 2 - 1;
    let tree = decode_on_small_stack::<Tree>(levels(most)).unwrap();
    assert_eq!(encode(&tree).unwrap(), levels(most));
    assert_eq!(decode_on_small_stack::<Tree>(levels(most + 1)), Err(DecodeError::TooDeep));
    // The unit variant in the innermost sequence adds the level that exceeds the limit.
    assert_eq!(decode_on_small_stack::<Tree>([[2, 1].repeat(most + 1), vec![0]].concat()), Err(DecodeError::TooDeep));
}

#[test]
fn maximum_depth_of_every_type_fits_small_stack() {
    let most = usize::from(MAX_DEPTH);
    // Each input repeats a nesting until the input has `MAX_DEPTH` levels. Each repetition takes
    // two levels, or three levels if it contains an option in a field of a variant.
    assert!(decode_on_small_stack::<Tree>([[1, 1].repeat(most / 2 - 1), vec![1, 0]].concat()).is_ok());
    assert!(decode_on_small_stack::<Tree>([[3, 0, 1].repeat(most / 3), vec![3, 0, 0]].concat()).is_ok());
    assert!(decode_on_small_stack::<Tree>([[4, 0].repeat(most / 2 - 1), vec![0]].concat()).is_ok());
    assert!(decode_on_small_stack::<Chain>([vec![1; most / 2 - 1], vec![0]].concat()).is_ok());
    assert!(decode_on_small_stack::<Options>([vec![1; most], vec![0]].concat()).is_ok());
    assert!(decode_on_small_stack::<Options>([vec![1; most + 1], vec![0]].concat()).is_err());
    assert!(decode_on_small_stack::<Sequences>([vec![1; most / 2 - 1], vec![0]].concat()).is_ok());
    assert!(decode_on_small_stack::<Maps>([[1, 0].repeat(most / 2 - 1), vec![0]].concat()).is_ok());
}

#[test]
fn siblings_do_not_count_as_depth() {
    let wide = Tree::Many((0..1000).map(|_| Tree::Maybe(Some(Box::new(Tree::Leaf)))).collect());
    let bytes = encode(&wide).unwrap();
    assert_eq!(decode_on_small_stack(bytes), Ok(wide));
}
