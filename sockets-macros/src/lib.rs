//! The `#[group]` attribute of the `sockets` library, which re-exports it.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attr;
mod check;
mod errors;
mod expand;
mod fallback;
mod key;
mod model;
mod name;
mod obstacle;
mod options;
mod overflow;
mod shape;
mod signature;
#[cfg(test)]
mod tests;
mod timeout;
mod travel;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Ident, Item};

use crate::{attr::GroupArgs, errors::Errors, model::Group};

/// Makes a trait a *group*: methods that one side of a connection serves and the other calls.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// pub struct Receipt {
///     pub item: String,
///     pub price: u32,
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// pub enum PurchaseError {
///     SoldOut,
/// }
///
/// /// What a shop does.
/// #[sockets::group("Purchases")]
/// pub trait Purchases {
///     /// A request: the caller waits for the reply.
///     async fn get_price(&self, item: &str) -> Option<u32>;
///     /// A request that can fail: the caller gets this error back.
///     async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError>;
///     /// An emit: nobody waits for it, and it returns nothing.
///     #[emit]
///     async fn viewed(&self, item: &str);
/// }
///
/// // One side implements the trait,
/// struct Shop;
///
/// impl Purchases for Shop {
///     async fn get_price(&self, item: &str) -> Option<u32> {
///         (item == "sword").then_some(300)
///     }
///     async fn buy(&self, item: &str, _count: u32) -> Result<Receipt, PurchaseError> {
///         let price = self.get_price(item).await.ok_or(PurchaseError::SoldOut)?;
///         Ok(Receipt { item: item.to_owned(), price })
///     }
///     async fn viewed(&self, item: &str) {
///         println!("somebody looks at the {item}");
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // and serves it with `PurchasesServer`;
/// let server = sockets::Server::builder().serve(PurchasesServer::new(Shop)).build();
///
/// // the other side calls it with `PurchasesClient`.
/// let client = sockets::Client::builder().connect_to(&server).await?;
/// let shop = PurchasesClient::new(&client);
/// assert_eq!(shop.get_price("sword").await?, Some(300));
/// assert!(matches!(shop.buy("shield", 1).await, Err(sockets::CallError::Handler(PurchaseError::SoldOut))));
/// shop.viewed("sword").await?;
/// # Ok(()) }
/// ```
///
/// # The path
///
/// `#[sockets::group("Purchases")]` gives the group its path, by which both sides know it. A subgroup has a path of
/// several segments, `"Purchases/Refunds"`; a group without a path, `#[sockets::group]`, is the root. A segment has 1 to
/// 128 bytes and no control characters, a path at most 512 bytes.
///
/// If the runtime's crate has another name, say so: `#[sockets::group("Purchases", crate = renamed)]`.
///
/// # What is generated
///
/// Beside the trait `X`, with its visibility:
///
/// - `XServer<H>`, for whoever serves the group: `XServer::new(handler)`, or `XServer::from_arc(handler)` for a handler
///   that is shared. It is `Clone`, whatever the handler is.
/// - `XClient<T>`, the stub, for whoever calls it: `XClient::new(&target)`, and `with_timeout(duration)` for a deadline of
///   its own. It has the methods of the trait. The target decides what they give: on a `Client`, a `Socket` or a `Peer` a
///   request gives a `Result`, and on an `Audience` a stream of `Replies`.
///
/// The trait itself stays as it is written, with futures that are `Send` and the supertraits `Send + Sync + 'static`.
/// Methods may have bodies, which serve for handlers that do not have their own.
///
/// # Methods
///
/// A method is an `async fn` with `&self`. It is a *request* unless it is marked as an *emit*:
///
/// - `#[emit]`: fire and forget. It has no return type. `#[emit(overflow = "…")]` says what happens to it on its way to an
///   audience, for a member whose outgoing queue is full; see [below](#emits-to-slow-members).
/// - `#[request(timeout = "2s")]`: the deadline of a request, if the stub sets no other: a whole number of `ms`, `s`, `m`
///   or `h`. Without it, it is that of the connection's limits.
/// - `#[request(idempotent)]`: to execute it twice is the same as once. If a client's connection breaks and its session cannot
///   go on, a call that may have been executed is made again in the next session, within its deadline, instead of failing as
///   `Disconnected`.
/// - `#[emit(volatile)]`: what it says is worth nothing later. It is sent at once or not at all: it is dropped where there is
///   no room for it, where the connection is broken, and where it breaks on the way. Those that were not sent are counted as
///   `dropped_emits`.
///
/// A handler runs to its end, or is stopped at its next suspension:
///
/// - The handler of a request is stopped at the deadline of its call, when the caller drops the call's future, and when the
///   session ends. The first ends the call as `CallError::Timeout`.
/// - The handler of an emit is stopped when it has run for the receiver's `Limits::call_timeout` (30 s by default), and
///   when the session ends. The sender does not learn of either.
///
/// A handler that is stopped for another reason than the deadline of a request is counted in the receiver's `stats()`, as
/// `timed_out_emits` or `cancelled_handlers`, and sent as an event of `tracing`. So is an emit whose arguments cannot be
/// decoded, as `undecodable_emits`.
///
/// `#[cfg(..)]`, documentation and lint attributes have their usual meaning, in the trait and the stub. `#[deprecated]` on a
/// method warns those who call it by the stub; on the trait, those who make a server or a stub.
/// A stub has functions called `new` and `with_timeout` already.
///
/// # Emits to slow members
///
/// An emit to one peer waits for room in its outgoing queue. An emit to an audience waits at most 1 s for members whose queues,
/// of `Limits::outgoing_queue` bytes, are full. It waits only for members that have taken bytes within that second, and not
/// at all if the policy is `"latest"` or the method `volatile`. After that the method's policy applies:
///
/// | `#[emit(overflow = "…")]` | a member whose queue is full |
/// | --- | --- |
/// | `"disconnect"`, the default | is disconnected, so that it never misses a message |
/// | `"drop_newest"` | does not get the new message |
/// | `"drop_oldest"` | gets the new message instead of the oldest ones of this method that wait, as many as it takes |
/// | `"latest"` | gets the new message instead of all of this method that wait: only the newest counts, as of positions |
///
/// What is kept arrives in its order. What is dropped is counted in the member's `stats()`, as `dropped_emits`. A message
/// that may be on its way already is not dropped: up to half of the queue is out of reach, and what the system has taken.
/// If other messages fill the queue, an emit with `"drop_oldest"` is dropped itself, and the newest one with `"latest"` is kept
/// beside it. Emits by name (`audience.emit("name", …)`) have the default policy.
///
/// ```
/// #[sockets::group("World")]
/// pub trait World {
///     #[emit(overflow = "latest")]
///     async fn moved(&self, x: f32, y: f32);
///     #[emit(overflow = "drop_oldest")]
///     async fn log(&self, line: &str);
/// }
/// ```
///
/// # Arguments
///
/// Up to 16, each with a plain name. Their types implement serde's `Serialize` and `Deserialize`.
///
/// | argument | what the handler gets |
/// | --- | --- |
/// | `T` | its own value |
/// | `&str`, `&[u8]`, `&Path`, `&serde_bytes::Bytes`, `Option<&str>`, … | a borrow from the received bytes, without a copy |
/// | `Note<'_>`, `Cow<'_, str>` | a value that may borrow from the received bytes |
/// | `&T`, `&[T]` | a borrow from a value that has been decoded for it |
///
/// Types that can only be borrowed are known by these names. An alias of `str` has to be written as `&str`.
///
/// A handler that has to know its caller takes `call: &sockets::Call` as the first argument. It is not on the wire, and
/// the stub has no such parameter. A `Call` of your own is told from ours by a path, such as `phone::Call`.
///
/// ```
/// #[sockets::group("Lobby")]
/// pub trait Lobby {
///     #[request(timeout = "500ms")]
///     async fn vote(&self, call: &sockets::Call, choices: &[String]) -> Option<String>;
/// }
///
/// async fn ask(socket: &sockets::Socket) -> Result<Option<String>, sockets::CallError> {
///     LobbyClient::new(socket).vote(&["tea".to_owned(), "coffee".to_owned()]).await
/// }
/// ```
///
/// # Replies
///
/// A reply is owned, since the caller decodes it: a type that is `Serialize`, `DeserializeOwned` and `Send`.
///
/// `Result<T, E>` is recognised by its name and its two arguments, and becomes `Result<T, CallError<E>>` for the caller.
/// An alias with one argument hides the error, and is not taken.
///
/// # Signatures
///
/// Each side is told what the other takes the types of its methods to be, and a call that differs fails with
/// `CallError::SignatureMismatch` before it is sent. Types are compared by their names. What is the same on the wire is the
/// same there: `&str`, `String` and `Cow<'_, str>`; `&[T]`, `Vec<T>` and sets; `T`, `Box<T>` and `Arc<T>`; maps; and a type by
/// whatever path it is named. An alias counts as another type, so both sides have to name it.
#[proc_macro_attribute]
pub fn group(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

/// The attribute, callable by tests.
fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = GroupArgs::parse(args, &mut errors);
    let item = match syn::parse2(item.clone()) {
        Ok(Item::Trait(item)) => item,
        Ok(_) => {
            match keyword(item.clone()) {
                Some(keyword) => {
                    errors.on(&keyword, format!("a group is a trait; `#[sockets::group]` cannot go on `{keyword}`"));
                }
                None => errors.on(&item, "a group is a trait; put `#[sockets::group]` on one"),
            }
            return [item, errors.into_tokens()].into_iter().collect();
        }
        Err(error) => {
            errors.push(error);
            return [item, errors.into_tokens()].into_iter().collect();
        }
    };
    let group = Group::new(args, item, &mut errors);
    check::check(&group, &mut errors);
    if errors.is_empty() {
        expand::expand(&group)
    } else {
        [fallback::skeleton(&group), errors.into_tokens()].into_iter().collect()
    }
}

/// The word that says what an item is.
fn keyword(item: TokenStream) -> Option<Ident> {
    const KEYWORDS: &[&str] =
        &["struct", "enum", "union", "fn", "mod", "impl", "type", "const", "static", "use", "extern", "macro_rules"];
    item.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if KEYWORDS.iter().any(|keyword| ident == keyword) => Some(ident),
        _ => None,
    })
}
