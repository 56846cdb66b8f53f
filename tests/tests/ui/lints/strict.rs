//! The strictest lints find what is wrong in this file on purpose, and nothing in the groups beside it.

#![deny(missing_docs, unused, unreachable_pub, unused_qualifications, rust_2018_idioms, deprecated, future_incompatible)]
#![deny(single_use_lifetimes, trivial_casts, unnameable_types, let_underscore_drop, redundant_lifetimes, unit_bindings)]

use std::borrow::Cow;

pub fn undocumented() {
    let unused = 3;
}

/// A contract that the other program has too.
pub mod contract {
    use super::{Cow, Deserialize, Serialize};

    /// A note.
    #[derive(Debug, Serialize, Deserialize)]
    pub struct Note<'a> {
        /// Its text.
        pub text: &'a str,
    }

    /// What a shop does.
    #[sockets::group("Shop")]
    pub trait Shop {
        /// Buys something.
        async fn buy(&self, item: &str, count: u32) -> Result<u32, String>;
        /// Takes notes.
        async fn note(&self, note: Note<'_>, notes: &[Note<'_>], name: Cow<'_, str>, of: Option<&str>) -> u32;
        /// The caller is known.
        #[request(timeout = "2s")]
        async fn who(&self, call: &sockets::Call, bytes: &[u8], list: &Vec<u8>) -> String;
        /// Has a default.
        async fn count(&self, of: &str) -> u32 {
            u32::try_from(of.len()).unwrap_or_default()
        }
        /// Nobody waits.
        #[emit]
        async fn viewed(&self, item: &str);
        /// Is old.
        #[deprecated = "ask for `count`"]
        async fn old(&self);
        /// Is not there.
        #[cfg(any())]
        async fn absent(&self, of: Absent) -> Absent;
    }

    /// Nothing happens here.
    #[sockets::group("Empty")]
    pub trait Empty {}

    /// Is old.
    #[deprecated]
    #[sockets::group("Old")]
    pub trait Old {
        /// Asks.
        async fn ask(&self) -> u32;
    }

    /// Is not for everyone.
    #[sockets::group]
    pub(crate) trait Internal {
        async fn ask(&self) -> u32;
        #[emit]
        async fn tell(&self);
    }
}

use serde::{Deserialize, Serialize};

/// No one uses what is generated for this one.
#[sockets::group("Private")]
trait Private {
    async fn ask(&self, r#type: &str) -> u32;
}

/// A handler.
#[derive(Debug)]
pub struct Desk;

impl contract::Empty for Desk {}

impl contract::Internal for Desk {
    async fn ask(&self) -> u32 {
        1
    }
    async fn tell(&self) {}
}

impl Private for Desk {
    async fn ask(&self, r#type: &str) -> u32 {
        u32::try_from(r#type.len()).unwrap_or_default()
    }
}

fn main() {
    #[sockets::group("Local")]
    trait Local {
        async fn ask(&self) -> u32;
    }

    impl Local for Desk {
        async fn ask(&self) -> u32 {
            1
        }
    }
    drop(LocalServer::new(Desk));
}
