//! Arguments that are references.

use std::{ops::Range, path::Path};

use serde::{Deserialize, Serialize};
use sockets::{Client, Server};

type Text = str;
type Octets = [u8];
type Numbers = [u32];
type File = Path;
type Bytes = serde_bytes::Bytes;
type Title<'a> = &'a str;
type Thing = Item;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item(String);

/// The range of addresses at which an argument lies.
type Addresses = Range<usize>;

#[sockets::group("Files")]
trait Files {
    async fn name(&self, file: &Path, of: Option<&Path>) -> Option<String>;
    async fn borrowed(
        &self,
        text: &Text,
        octets: &Octets,
        file: &File,
        bytes: &Bytes,
        title: Title<'_>,
    ) -> Vec<Addresses>;
    async fn inside(&self, text: Option<&Text>, list: Vec<&Octets>, pair: (&File, &Bytes)) -> Vec<Addresses>;
    async fn owned(
        &self,
        numbers: &Numbers,
        texts: &[&Text],
        thing: &Thing,
        boxed: Box<Text>,
        title: &Title<'_>,
    ) -> String;
}

struct Disk;

fn addresses<const N: usize>(borrowed: [&[u8]; N]) -> Vec<Addresses> {
    borrowed.map(<[u8]>::as_ptr_range).map(|range| range.start.addr()..range.end.addr()).to_vec()
}

impl Files for Disk {
    async fn name(&self, file: &Path, of: Option<&Path>) -> Option<String> {
        let joined = of.map_or_else(|| file.to_owned(), |of| of.join(file));
        joined.to_str().map(str::to_owned)
    }
    async fn borrowed(&self, text: &str, octets: &[u8], file: &Path, bytes: &Bytes, title: &str) -> Vec<Addresses> {
        addresses([text.as_bytes(), octets, file.to_str().unwrap().as_bytes(), bytes, title.as_bytes()])
    }
    async fn inside(&self, text: Option<&Text>, list: Vec<&Octets>, (file, bytes): (&File, &Bytes)) -> Vec<Addresses> {
        addresses([text.unwrap().as_bytes(), list[0], list[1], file.to_str().unwrap().as_bytes(), bytes])
    }
    async fn owned(&self, numbers: &[u32], texts: &[&str], thing: &Item, boxed: Box<str>, title: &&str) -> String {
        format!("{numbers:?} {texts:?} {thing:?} {boxed} {title}")
    }
}

async fn connected() -> (Server, Client, FilesClient) {
    let server = Server::builder().serve(FilesServer::new(Disk)).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let files = FilesClient::new(&client);
    (server, client, files)
}

/// Asserts that all arguments lie in the same message. In a message, arguments follow each other,
/// with only the length of the next argument between them.
fn assert_adjacent(ranges: &[Addresses], lengths: &[usize]) {
    let found: Vec<_> = ranges.iter().map(ExactSizeIterator::len).collect();
    assert_eq!(found, lengths);
    assert!(ranges.windows(2).all(|pair| (1..=2).contains(&pair[1].start.wrapping_sub(pair[0].end))), "{ranges:?}");
}

#[tokio::test]
async fn path_argument_is_borrowed() {
    let (_server, _client, files) = connected().await;
    assert_eq!(files.name(Path::new("a/b"), None).await, Ok(Some("a/b".into())));
    assert_eq!(files.name(Path::new("b"), Some(Path::new("a"))).await, Ok(Some("a/b".into())));
}

#[tokio::test]
async fn alias_argument_is_borrowed_from_the_received_bytes() {
    let (_server, _client, files) = connected().await;
    let bytes = Bytes::new(b"four");
    let found = files.borrowed("a", &[1, 2], Path::new("abc"), bytes, "12345").await.unwrap();
    assert_adjacent(&found, &[1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn alias_within_another_type_is_borrowed() {
    let (_server, _client, files) = connected().await;
    let bytes = Bytes::new(b"12345");
    let found = files.inside(Some("a"), vec![&[1, 2], &[1, 2, 3]], (Path::new("abcd"), bytes)).await.unwrap();
    assert_adjacent(&found, &[1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn alias_of_an_owned_type_is_decoded_and_borrowed() {
    let (_server, _client, files) = connected().await;
    let found = files.owned(&[1, 2], &["a", "b"], &Item("c".into()), "d".into(), &"e").await.unwrap();
    assert_eq!(found, r#"[1, 2] ["a", "b"] Item("c") d e"#);
}
