//! The expansion of a group. Each declaration of its trait takes effect on both peers.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sockets::{Call, CallError, Client, Server};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    name: String,
    price: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note<'a> {
    text: &'a str,
    #[serde(borrow)]
    author: Cow<'a, str>,
}

#[sockets::group("Borrowing")]
trait Borrowing {
    async fn text(&self, text: &str) -> String;
    async fn bytes(&self, bytes: &[u8]) -> Vec<u8>;
    async fn value(&self, item: &Item) -> Item;
    async fn values(&self, items: &[Item]) -> Vec<Item>;
    async fn texts(&self, texts: &[&str]) -> String;
    async fn array(&self, array: &[u8; 4]) -> u8;
    async fn tuple(&self, pair: &(String, Item)) -> String;
    async fn maybe(&self, text: Option<&str>, bytes: Option<&[u8]>) -> Option<usize>;
    async fn cow(&self, text: Cow<'_, str>) -> String;
    async fn note(&self, note: Note<'_>) -> String;
    async fn lent_note(&self, note: &Note<'_>) -> String;
    async fn anonymous(&self, text: &'_ str) -> String;
    async fn nested(&self, list: Vec<(&str, Option<&[u8]>)>) -> usize;
    #[allow(unused_parens, reason = "this is what a macro may write")]
    async fn parenthesised(&self, text: &(str), number: (u32)) -> String;
}

struct Borrower;

impl Borrowing for Borrower {
    async fn text(&self, text: &str) -> String {
        text.to_owned()
    }
    async fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_owned()
    }
    async fn value(&self, item: &Item) -> Item {
        item.clone()
    }
    async fn values(&self, items: &[Item]) -> Vec<Item> {
        items.to_owned()
    }
    async fn texts(&self, texts: &[&str]) -> String {
        texts.concat()
    }
    async fn array(&self, array: &[u8; 4]) -> u8 {
        array.iter().sum()
    }
    async fn tuple(&self, (text, item): &(String, Item)) -> String {
        format!("{text} {}", item.name)
    }
    async fn maybe(&self, text: Option<&str>, bytes: Option<&[u8]>) -> Option<usize> {
        Some(text?.len() + bytes?.len())
    }
    async fn cow(&self, text: Cow<'_, str>) -> String {
        text.into_owned()
    }
    async fn note(&self, note: Note<'_>) -> String {
        tokio::task::yield_now().await;
        format!("{} {}", note.text, note.author)
    }
    async fn lent_note(&self, note: &Note<'_>) -> String {
        format!("{} {}", note.text, note.author)
    }
    async fn anonymous(&self, text: &str) -> String {
        text.to_owned()
    }
    async fn nested(&self, list: Vec<(&str, Option<&[u8]>)>) -> usize {
        list.iter().map(|(text, bytes)| text.len() + bytes.map_or(0, <[u8]>::len)).sum()
    }
    async fn parenthesised(&self, text: &str, number: u32) -> String {
        format!("{text}{number}")
    }
}

async fn connected(service: impl FnOnce(sockets::ServerBuilder) -> sockets::ServerBuilder) -> (Server, Client) {
    let server = service(Server::builder()).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    (server, client)
}

#[tokio::test]
async fn argument_is_borrowed_in_every_form() {
    let (_server, client) = connected(|server| server.serve(BorrowingServer::new(Borrower))).await;
    let stub = BorrowingClient::new(&client);
    let item = Item { name: "sword".to_owned(), price: 3 };
    let note = || Note { text: "hello", author: Cow::Borrowed("ada") };

    assert_eq!(stub.text("hello").await.unwrap(), "hello");
    assert_eq!(stub.bytes(&[1, 2]).await.unwrap(), [1, 2]);
    assert_eq!(stub.value(&item).await.unwrap(), item);
    assert_eq!(stub.values(&[item.clone(), item.clone()]).await.unwrap(), [item.clone(), item.clone()]);
    assert_eq!(stub.texts(&["a", "b"]).await.unwrap(), "ab");
    assert_eq!(stub.array(&[1, 2, 3, 4]).await.unwrap(), 10);
    assert_eq!(stub.tuple(&("a".to_owned(), item)).await.unwrap(), "a sword");
    assert_eq!(stub.maybe(Some("ab"), Some(&[1])).await.unwrap(), Some(3));
    assert_eq!(stub.maybe(None, Some(&[1])).await.unwrap(), None);
    assert_eq!(stub.cow(Cow::Borrowed("cow")).await.unwrap(), "cow");
    assert_eq!(stub.note(note()).await.unwrap(), "hello ada");
    assert_eq!(stub.lent_note(&note()).await.unwrap(), "hello ada");
    assert_eq!(stub.anonymous("a").await.unwrap(), "a");
    assert_eq!(stub.nested(vec![("ab", None), ("c", Some(&[1, 2]))]).await.unwrap(), 5);
    assert_eq!(stub.parenthesised("a", 3).await.unwrap(), "a3");
}

trait Named {
    fn name(&self) -> String;
}

#[sockets::group("Detailed")]
trait Detailed: Named + std::fmt::Debug {
    /// Has sixteen arguments, which is the maximum.
    #[allow(clippy::too_many_arguments, clippy::many_single_char_names, reason = "as many as there can be")]
    async fn sixteen(
        &self,
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        g: u8,
        h: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
        m: u8,
        n: u8,
        o: u8,
        p: u8,
    ) -> Vec<u8> {
        vec![a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
    /// Uses a supertrait that the user declares, and borrows `greeting` across a suspension.
    async fn greet(&self, greeting: &str) -> String {
        tokio::task::yield_now().await;
        format!("{greeting} {} {self:?}", self.name())
    }
    #[request(timeout = "20ms")]
    async fn never(&self) {
        std::future::pending::<()>().await;
    }
    #[cfg(any())]
    async fn which(&self, of: NotThere) -> u8;
    #[cfg(not(any()))]
    async fn which(&self) -> u8;
    #[cfg(any())]
    #[emit]
    async fn absent(&self, of: NotThere);
    async fn call_alone(&self, call: &Call) -> bool;
    #[allow(unused_qualifications, reason = "a `Call` is recognised in both forms")]
    async fn call_by_path(&self, _call: &sockets::Call, number: u32) -> u32;
    async fn remaining(&self, call: &Call) -> Duration;
    #[emit]
    async fn counted(&self, call: &Call, by: u32);
}

#[derive(Debug, Default)]
struct Desk {
    counted: AtomicU32,
}

impl Named for Desk {
    fn name(&self) -> String {
        "desk".to_owned()
    }
}

impl Detailed for Desk {
    async fn which(&self) -> u8 {
        2
    }
    async fn call_alone(&self, call: &Call) -> bool {
        call.socket::<()>().is_some()
    }
    async fn call_by_path(&self, _: &Call, number: u32) -> u32 {
        number
    }
    async fn remaining(&self, call: &Call) -> Duration {
        call.deadline() - Instant::now().into_std()
    }
    async fn counted(&self, call: &Call, by: u32) {
        assert!(call.peer().is_connected());
        self.counted.fetch_add(by, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn method_attributes_defaults_and_bounds_are_kept() {
    let desk = Arc::new(Desk::default());
    let served = DetailedServer::from_arc(Arc::clone(&desk));
    let (_server, client) = connected(|server| server.serve(served.clone())).await;
    let stub = DetailedClient::new(&client);

    let numbers = stub.sixteen(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16).await.unwrap();
    assert_eq!(numbers, (1..=16).collect::<Vec<u8>>());
    assert_eq!(stub.greet("hello").await.unwrap(), "hello desk Desk { counted: 0 }");
    assert_eq!(stub.which().await.unwrap(), 2);
    assert!(stub.call_alone().await.unwrap());
    assert_eq!(stub.call_by_path(7).await.unwrap(), 7);

    stub.counted(3).await.unwrap();
    // The server starts the handlers of a peer in order. Therefore it has handled the emit when the
    // reply to this request arrives.
    stub.which().await.unwrap();
    assert_eq!(desk.counted.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn trait_timeout_is_overridden_by_the_stub() {
    let (_server, client) = connected(|server| server.serve(DetailedServer::new(Desk::default()))).await;
    let stub = DetailedClient::new(&client);

    let start = Instant::now();
    assert_eq!(stub.never().await, Err(CallError::Timeout));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    let start = Instant::now();
    assert_eq!(stub.clone().with_timeout(Duration::from_secs(5)).never().await, Err(CallError::Timeout));
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());

    let remaining = stub.with_timeout(Duration::from_secs(5)).remaining().await.unwrap();
    assert!(remaining <= Duration::from_secs(5) && remaining > Duration::from_secs(4), "{remaining:?}");
}

macro_rules! counter {
    ($vis:vis $name:ident at $path:literal: $($method:ident($($arg:ident: $ty:ty),*) -> $reply:ty),*) => {
        #[sockets::group($path)]
        $vis trait $name {
            /// Is written in the macro. The other methods come from the arguments of the macro.
            async fn fixed(&self, arg: &[u8]) -> usize {
                arg.len()
            }
            $(async fn $method(&self, $($arg: $ty),*) -> $reply;)*
        }
    };
}
counter!(
    pub(crate) Counter at "Macro/Counter":
    add(by: u32, list: &[u32], text: &str) -> Result<u32, String>, get() -> u32
);

impl Counter for Desk {
    async fn add(&self, by: u32, list: &[u32], text: &str) -> Result<u32, String> {
        if text.is_empty() { Ok(by + list.iter().sum::<u32>()) } else { Err(text.to_owned()) }
    }
    async fn get(&self) -> u32 {
        4
    }
}

#[tokio::test]
async fn group_may_be_written_by_a_macro() {
    let (_server, client) = connected(|server| server.serve(CounterServer::new(Desk::default()))).await;
    let stub = CounterClient::new(&client);
    assert_eq!(stub.add(1, &[2, 3], "").await, Ok(6));
    assert_eq!(stub.add(1, &[2, 3], "no").await, Err(CallError::Handler("no".to_owned())));
    assert_eq!(stub.get().await, Ok(4));
    assert_eq!(stub.fixed(&[1, 2]).await, Ok(2));
}

#[tokio::test]
async fn group_may_be_inside_a_function() {
    #[sockets::group("Inside")]
    trait Inside {
        async fn ask(&self, item: &Local) -> Local;
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Local(u8);

    impl Inside for Borrower {
        async fn ask(&self, item: &Local) -> Local {
            item.clone()
        }
    }

    let (_server, client) = connected(|server| server.serve(InsideServer::new(Borrower))).await;
    assert_eq!(InsideClient::new(&client).ask(&Local(3)).await, Ok(Local(3)));
}

mod inner {
    #[sockets::group("Same")]
    pub(super) trait Same {
        async fn ask(&self) -> u8;
    }

    #[sockets::group("Same/Same")]
    pub(in super::inner) trait Hidden {
        async fn ask(&self) -> u8;
    }

    pub(super) struct Both;

    impl Same for Both {
        async fn ask(&self) -> u8 {
            1
        }
    }

    impl Hidden for Both {
        async fn ask(&self) -> u8 {
            2
        }
    }

    pub(super) fn hidden() -> impl Fn(sockets::ServerBuilder) -> sockets::ServerBuilder {
        |server| server.serve(HiddenServer::new(Both))
    }

    pub(super) async fn ask_hidden(client: &sockets::Client) -> u8 {
        HiddenClient::new(client).ask().await.unwrap()
    }
}

#[tokio::test]
async fn group_and_subgroup_may_share_method_names() {
    use inner::{Both, SameClient, SameServer};
    let (_server, client) = connected(|server| inner::hidden()(server.serve(SameServer::new(Both)))).await;
    assert_eq!(SameClient::new(&client).ask().await, Ok(1));
    assert_eq!(inner::ask_hidden(&client).await, 2);
}
