//! No input makes the decoder use up the stack.

use std::{collections::BTreeMap, thread};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{DecodeError, decode, decode_error::MAX_DEPTH, encode};

/// The stack on which everything here is decoded, without optimizations too.
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

/// Nested through options and nothing else.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Options {
    inner: Option<Box<Options>>,
}

/// Nested through newtypes and nothing else, so no byte of input is ever read for it.
#[derive(Debug, Deserialize)]
struct EndlessNewtype(#[expect(dead_code, reason = "there is no such value")] Box<EndlessNewtype>);

/// No byte of input is ever read for this either.
#[derive(Debug, Deserialize)]
struct Endless {
    #[expect(dead_code, reason = "there is no such value")]
    inner: Box<Endless>,
}

/// Decodes on the small stack, where a stack overflow would end the whole test.
fn decode_there<T: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) -> Result<T, DecodeError> {
    let decoder = thread::Builder::new().stack_size(STACK).spawn(move || decode(&bytes)).unwrap();
    decoder.join().unwrap()
}

fn refuses_a_mebibyte_of<T: DeserializeOwned + Send + 'static>(level: &[u8]) {
    let bytes = level.iter().copied().cycle().take(1024 * 1024).collect();
    assert_eq!(decode_there::<T>(bytes).err(), Some(DecodeError::TooDeep));
}

/// Fault 5 of RELIABILITY.md.
#[test]
fn a_mebibyte_of_nested_enums_is_refused_before_it_takes_the_stack() {
    refuses_a_mebibyte_of::<Tree>(&[1, 1]);
    refuses_a_mebibyte_of::<Tree>(&[2, 1]);
    refuses_a_mebibyte_of::<Tree>(&[3, 0, 1]);
    refuses_a_mebibyte_of::<Tree>(&[4, 0]);
}

#[test]
fn a_mebibyte_of_nested_options_is_refused_before_it_takes_the_stack() {
    refuses_a_mebibyte_of::<Chain>(&[1]);
    refuses_a_mebibyte_of::<Options>(&[1]);
}

#[test]
fn a_mebibyte_of_nested_sequences_is_refused_before_it_takes_the_stack() {
    refuses_a_mebibyte_of::<Sequences>(&[1]);
}

#[test]
fn a_mebibyte_of_nested_maps_is_refused_before_it_takes_the_stack() {
    refuses_a_mebibyte_of::<Maps>(&[1, 0]);
}

#[test]
fn a_type_that_contains_itself_without_reading_a_byte_is_refused_and_not_followed_forever() {
    assert_eq!(decode_there::<Endless>(Vec::new()).err(), Some(DecodeError::TooDeep));
    assert_eq!(decode_there::<EndlessNewtype>(Vec::new()).err(), Some(DecodeError::TooDeep));
}

#[test]
fn as_many_levels_as_are_allowed_decode_and_one_more_does_not() {
    // Each `Many` is two levels, the enum and the sequence; an empty one ends it.
    let levels = |count: usize| [[2, 1].repeat(count), vec![2, 0]].concat();
    let most = usize::from(MAX_DEPTH) / 2 - 1;
    let tree = decode_there::<Tree>(levels(most)).unwrap();
    assert_eq!(encode(&tree).unwrap(), levels(most));
    assert_eq!(decode_there::<Tree>(levels(most + 1)), Err(DecodeError::TooDeep));
    // A unit variant inside of the innermost sequence is the one level more.
    assert_eq!(decode_there::<Tree>([[2, 1].repeat(most + 1), vec![0]].concat()), Err(DecodeError::TooDeep));
}

#[test]
fn the_levels_of_every_kind_of_type_fit_the_small_stack() {
    let most = usize::from(MAX_DEPTH);
    // As often as fits: each repetition is two levels, or three where an option is among the fields of a variant.
    assert!(decode_there::<Tree>([[1, 1].repeat(most / 2 - 1), vec![1, 0]].concat()).is_ok());
    assert!(decode_there::<Tree>([[3, 0, 1].repeat(most / 3), vec![3, 0, 0]].concat()).is_ok());
    assert!(decode_there::<Tree>([[4, 0].repeat(most / 2 - 1), vec![0]].concat()).is_ok());
    assert!(decode_there::<Chain>([vec![1; most / 2 - 1], vec![0]].concat()).is_ok());
    assert!(decode_there::<Options>([vec![1; most], vec![0]].concat()).is_ok());
    assert!(decode_there::<Options>([vec![1; most + 1], vec![0]].concat()).is_err());
    assert!(decode_there::<Sequences>([vec![1; most / 2 - 1], vec![0]].concat()).is_ok());
    assert!(decode_there::<Maps>([[1, 0].repeat(most / 2 - 1), vec![0]].concat()).is_ok());
}

#[test]
fn levels_are_counted_from_the_top_and_not_over_siblings() {
    let wide = Tree::Many((0..1000).map(|_| Tree::Maybe(Some(Box::new(Tree::Leaf)))).collect());
    let bytes = encode(&wide).unwrap();
    assert_eq!(decode_there(bytes), Ok(wide));
}
