//! Lints find two mistakes in this file, in `undocumented`, and none in the group. This file uses
//! `deny`, since `forbid` would reject the serde derives of the group's types.

#![deny(missing_docs, unused, unreachable_pub, unused_qualifications, rust_2018_idioms, future_incompatible)]
#![deny(single_use_lifetimes, redundant_lifetimes)]

use serde::{Deserialize, Serialize};

pub fn undocumented() {
    let unused = 3;
}

/// A note.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note<'a> {
    /// The text of the note.
    pub text: &'a str,
}

/// A contract without mistakes.
#[sockets::group("Notes")]
pub trait Notes {
    /// Takes notes.
    async fn add(&self, note: Note<'_>, notes: &[Note<'_>], list: &Vec<u8>) -> u32;
}

fn main() {}
