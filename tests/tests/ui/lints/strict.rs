//! Lints find the two mistakes in this file, and nothing in the group beside them. Its types have
//! derives of serde, which `forbid` would reject.

#![deny(missing_docs, unused, unreachable_pub, unused_qualifications, rust_2018_idioms, future_incompatible)]
#![deny(single_use_lifetimes, redundant_lifetimes)]

use serde::{Deserialize, Serialize};

pub fn undocumented() {
    let unused = 3;
}

/// A note.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note<'a> {
    /// Its text.
    pub text: &'a str,
}

/// A contract without mistakes.
#[sockets::group("Notes")]
pub trait Notes {
    /// Takes notes.
    async fn add(&self, note: Note<'_>, notes: &[Note<'_>], list: &Vec<u8>) -> u32;
}

fn main() {}
