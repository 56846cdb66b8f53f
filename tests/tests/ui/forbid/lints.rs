//! Users may forbid any lint of this list. Each lint must find nothing in generated code, and
//! generated code must not allow any of these lints.

#![forbid(dead_code, deprecated, unreachable_pub, unused_qualifications, unused_variables, missing_docs, unsafe_code)]
#![forbid(unused, nonstandard_style, future_incompatible, keyword_idents, let_underscore, refining_impl_trait)]
#![forbid(rust_2018_idioms, rust_2021_compatibility, rust_2024_compatibility)]
#![forbid(single_use_lifetimes, trivial_casts, unnameable_types, redundant_lifetimes, unit_bindings, unused_lifetimes)]
#![forbid(missing_debug_implementations, unused_results, let_underscore_drop, unused_import_braces)]
#![forbid(non_local_definitions)]
#![forbid(clippy::all, clippy::pedantic, clippy::nursery, clippy::cargo)]
#![forbid(warnings)]

use std::{borrow::Cow, collections::BTreeMap, path::Path};

/// A contract that another program uses, too.
pub mod contract {
    use super::{BTreeMap, Cow, Path};

    /// A text.
    pub type Text = str;

    /// The methods of a shop.
    #[sockets::group("Shop")]
    pub trait Shop {
        /// Buys something.
        async fn buy(&self, item: &str, count: u32) -> Result<u32, String>;
        /// Takes borrowed arguments.
        async fn borrows(&self, name: Cow<'_, str>, of: Option<&str>, file: &Path, list: &[u8]) -> u32;
        /// Takes aliases.
        async fn aliases(&self, text: &Text, texts: &[&Text], boxed: Box<Text>) -> u32;
        /// Receives its caller.
        #[request(timeout = "2s", idempotent)]
        async fn who(&self, call: &sockets::Call, owned: String, map: BTreeMap<String, u8>) -> String;
        /// Has a default.
        async fn count(&self, of: &str) -> u32 {
            u32::try_from(of.len()).unwrap_or_default()
        }
        /// Has no reply.
        #[emit]
        async fn viewed(&self, item: &str);
        /// Is deprecated.
        #[deprecated = "ask for `count`"]
        async fn old(&self, r#type: u8);
        /// Is not compiled.
        #[cfg(any())]
        async fn absent(&self, of: Absent) -> Absent;
    }

    /// Has no methods.
    #[sockets::group("Empty")]
    pub trait Empty {}

    /// Is deprecated.
    #[deprecated]
    #[sockets::group("Old")]
    pub trait Old {
        /// Returns a number.
        async fn ask(&self) -> u32;
    }
}

/// A contract that is outside of any group.
#[sockets::group]
pub(crate) trait Root {
    async fn ask(&self) -> u32;
    #[emit]
    async fn tell(&self);
}

/// The program uses nothing that the macro generates for this group.
#[sockets::group("Private")]
trait Private {
    async fn ask(&self, r#type: &str) -> u32;
    #[emit]
    async fn tell(&self);
}

mod inner {
    /// Is visible in a part of the crate.
    #[sockets::group("Internal")]
    pub(super) trait Internal {
        async fn ask(&self, of: &u32) -> u32;
    }
}

struct Desk;

impl contract::Empty for Desk {}

impl contract::Old for Desk {
    async fn ask(&self) -> u32 {
        1
    }
}

impl Root for Desk {
    async fn ask(&self) -> u32 {
        1
    }
    async fn tell(&self) {}
}

impl Private for Desk {
    async fn ask(&self, r#type: &str) -> u32 {
        u32::try_from(r#type.len()).unwrap_or_default()
    }
    async fn tell(&self) {}
}

impl inner::Internal for Desk {
    async fn ask(&self, of: &u32) -> u32 {
        *of
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
    drop(RootServer::new(Desk));
    drop(contract::EmptyServer::new(Desk));
    drop(inner::InternalServer::new(Desk));
}
