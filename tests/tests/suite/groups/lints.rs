//! Groups of all kinds under strict lints. Clippy must find nothing in their generated code.

#![deny(missing_docs, unused, unreachable_pub, unused_qualifications, rust_2018_idioms)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery, clippy::cargo)]
#![allow(clippy::cargo_common_metadata, clippy::multiple_crate_versions, reason = "about the package, not this file")]

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sockets::{Call, CallError, Client, Server};

/// A note that borrows from the received bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note<'a> {
    /// The text of the note.
    pub text: &'a str,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused(pub String);

/// All kinds of methods.
#[sockets::group("Everything")]
pub trait Everything {
    /// Has borrowed arguments and an error.
    async fn buy(&self, item: &str, count: u32) -> Result<u32, Refused>;
    /// Borrows in all ways.
    async fn lengths(&self, note: Note<'_>, notes: &[Note<'_>], name: Cow<'_, str>, of: Option<&str>) -> Vec<usize>;
    /// Receives its caller.
    #[request(timeout = "2s")]
    async fn connected(&self, call: &Call, bytes: &[u8]) -> bool;
    /// Has a body.
    #[must_use]
    #[inline]
    async fn count(&self, of: &str) -> usize {
        of.len()
    }
    /// Returns nothing.
    #[doc(alias = "pause")]
    #[cfg_attr(all(), doc = "More.", allow(clippy::unused_async))]
    async fn wait(&self);
    /// Has no reply.
    #[emit]
    async fn viewed(&self, item: &str, by: u64);
    /// Is deprecated.
    #[deprecated = "call `count`"]
    async fn old(&self) -> Option<String>;
    /// Is not compiled.
    #[cfg(any())]
    async fn absent(&self, of: Absent) -> Absent;
}

/// Has no methods.
#[sockets::group]
pub trait Silent {}

/// A group that is visible in the crate.
#[sockets::group("Crate")]
pub(crate) trait OfTheCrate {
    async fn undocumented(&self) -> u32;
}

#[sockets::group("Private")]
trait OfTheFile {
    async fn undocumented(&self) -> u32;
    #[emit]
    async fn notified(&self);
}

/// Clippy must report these signatures only here, and not again in the stub.
#[sockets::group("Odd")]
#[allow(clippy::wrong_self_convention, clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
#[allow(clippy::len_without_is_empty, clippy::ptr_arg, clippy::type_complexity)]
pub trait Odd {
    /// Has a length.
    async fn len(&self) -> usize;
    /// Has the name of a method of iterators.
    async fn next(&self) -> Option<u8>;
    /// Has the name of a conversion.
    async fn into_all(&self, list: &Vec<u8>, number: &u32, text: String, texts: Vec<String>) -> bool;
    /// Has many arguments.
    async fn many(&self, a: bool, b: bool, c: bool, d: bool, e: u8, f: u8, g: u8, items: u8, item: u8) -> u8;
    /// Has an argument with a complex type.
    async fn complex(&self, of: Vec<Vec<Option<(Box<[u8]>, Vec<Option<(String, u8, Vec<u8>)>>)>>>) -> ();
}

struct Handler;

impl Everything for Handler {
    async fn buy(&self, item: &str, count: u32) -> Result<u32, Refused> {
        item.is_empty().then_some(count).ok_or_else(|| Refused(item.to_owned()))
    }

    async fn lengths(&self, note: Note<'_>, notes: &[Note<'_>], name: Cow<'_, str>, of: Option<&str>) -> Vec<usize> {
        let notes = notes.iter().map(|note| note.text.len());
        notes.chain([note.text.len(), name.len(), of.map_or(0, str::len)]).collect()
    }

    async fn connected(&self, call: &Call, bytes: &[u8]) -> bool {
        call.peer().is_connected() && bytes == [1, 2, 3]
    }

    async fn wait(&self) {}

    async fn viewed(&self, _: &str, _: u64) {}

    async fn old(&self) -> Option<String> {
        None
    }
}

impl Silent for Handler {}

impl Odd for Handler {
    async fn len(&self) -> usize {
        0
    }

    async fn next(&self) -> Option<u8> {
        None
    }

    async fn into_all(&self, list: &Vec<u8>, number: &u32, text: String, texts: Vec<String>) -> bool {
        *list == [1] && *number == 2 && text == "three" && texts.is_empty()
    }

    #[allow(clippy::many_single_char_names, reason = "as in the trait")]
    async fn many(&self, a: bool, b: bool, c: bool, d: bool, e: u8, f: u8, g: u8, items: u8, item: u8) -> u8 {
        if a & b & c & d { e + f + g + items + item } else { 0 }
    }

    async fn complex(&self, _: Vec<Vec<Option<(Box<[u8]>, Vec<Option<(String, u8, Vec<u8>)>>)>>>) {}
}

impl OfTheCrate for Handler {
    async fn undocumented(&self) -> u32 {
        1
    }
}

impl OfTheFile for Handler {
    async fn undocumented(&self) -> u32 {
        2
    }

    async fn notified(&self) {}
}

fn server() -> Server {
    let builder = Server::builder().serve(EverythingServer::new(Handler)).serve(SilentServer::new(Handler));
    builder
        .serve(OfTheCrateServer::new(Handler))
        .serve(OfTheFileServer::new(Handler))
        .serve(OddServer::new(Handler))
        .build()
}

#[tokio::test]
async fn every_kind_of_group_works_under_strict_lints() -> Result<(), Box<dyn std::error::Error>> {
    let server = server();
    let client = Client::builder().connect_local(&server).await?;

    let everything = EverythingClient::new(&client);
    assert_eq!(everything.buy("", 3).await, Ok(3));
    assert_eq!(everything.buy("sword", 3).await, Err(CallError::Handler(Refused("sword".to_owned()))));
    let note = Note { text: "one" };
    let notes = [Note { text: "four" }, Note { text: "" }];
    assert_eq!(everything.lengths(note, &notes, Cow::Borrowed("ab"), Some("a")).await, Ok(vec![4, 0, 3, 2, 1]));
    assert_eq!(everything.connected(&[1, 2, 3]).await, Ok(true));
    assert_eq!(everything.count("twelve").await, Ok(6));
    everything.wait().await?;
    everything.viewed("sword", 1).await?;

    let odd = OddClient::new(&client);
    assert_eq!(odd.len().await, Ok(0));
    assert_eq!(odd.next().await, Ok(None));
    assert_eq!(odd.into_all(&vec![1], &2, "three".to_owned(), vec![]).await, Ok(true));
    assert_eq!(odd.many(true, true, true, true, 1, 2, 3, 4, 5).await, Ok(15));
    odd.complex(vec![]).await?;

    assert_eq!(OfTheCrateClient::new(&client).undocumented().await, Ok(1));
    assert_eq!(OfTheFileClient::new(&client).undocumented().await, Ok(2));
    OfTheFileClient::new(&client).notified().await?;
    assert!(format!("{:?}", SilentClient::new(&client)).starts_with("SilentClient"));
    Ok(())
}

#[tokio::test]
async fn deprecated_method_is_deprecated_in_the_stub_alone() -> Result<(), Box<dyn std::error::Error>> {
    let server = server();
    let client = Client::builder().connect_local(&server).await?;
    #[expect(deprecated, reason = "the stub says so")]
    let old = EverythingClient::new(&client).old().await?;
    assert_eq!(old, None);
    Ok(())
}
