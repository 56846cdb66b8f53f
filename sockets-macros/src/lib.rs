//! The `#[group]` attribute of the `sockets` library, which re-exports it.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attr;
mod check;
mod errors;
mod expand;
mod fallback;
mod model;
mod name;
mod options;
mod overflow;
mod peel;
mod signature;
#[cfg(test)]
mod tests;
mod timeout;
mod types;
mod unsupported;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Ident, Item};

use crate::{attr::GroupArgs, errors::Errors, model::Group};

/// Makes a trait a *group*: methods that one peer serves and the other calls.
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
/// /// The methods of a shop.
/// #[sockets::group("Purchases")]
/// pub trait Purchases {
///     /// A request: the caller waits for the reply.
///     async fn get_price(&self, item: &str) -> Option<u32>;
///     /// A request that can fail: the caller receives this error.
///     async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError>;
///     /// An emit: it has no reply.
///     #[emit]
///     async fn viewed(&self, item: &str);
/// }
///
/// // The server implements the trait,
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
///         println!("a customer views the {item}");
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // and serves it with `PurchasesServer`;
/// let server = sockets::Server::builder().serve(PurchasesServer::new(Shop)).build();
///
/// // the client calls it with `PurchasesClient`.
/// let client = sockets::Client::builder().connect_local(&server).await?;
/// let shop = PurchasesClient::new(&client);
/// assert_eq!(shop.get_price("sword").await?, Some(300));
/// assert!(matches!(shop.buy("shield", 1).await, Err(sockets::CallError::Handler(PurchaseError::SoldOut))));
/// shop.viewed("sword").await?;
/// # Ok(()) }
/// ```
///
/// # The path
///
/// `#[sockets::group("Purchases")]` sets the path by which both peers address the group. A subgroup
/// has a path of several segments, such as `"Purchases/Refunds"`. A group without a path,
/// `#[sockets::group]`, is the root. A segment has 1 to 128 bytes and no control characters. A path
/// has at most 512 bytes.
///
/// If the runtime's crate has another name, state it: `#[sockets::group("Purchases", crate =
/// renamed)]`.
///
/// # Generated items
///
/// The macro generates two types for a trait `X`, with the trait's visibility:
///
/// - `XServer<H>` serves the group with a handler of type `H`. `XServer::new(handler)` makes it, or
///   `XServer::from_arc(handler)` for a shared handler. It is `Clone` for every handler.
/// - `XClient<T>`, the stub, calls the group. `XClient::new(&target)` makes it, and
///   `with_timeout(duration)` sets a deadline for its requests. It has the methods of the trait.
///   The target decides their return types: a request to a `Client`, a `Socket` or a `Peer` returns
///   a `Result`, and a request to an `Audience` returns a stream of `Replies`.
///
/// The trait keeps its methods. Their futures become `Send`, and `Send + Sync + 'static` become
/// supertraits. A method with a body has a default, which handlers may override.
///
/// # Methods
///
/// A method is an `async fn` with `&self`. It is a *request* unless it is marked as an *emit*:
///
/// - `#[emit]`: a call without a result. It has no return type. `#[emit(overflow = "…")]` sets the
///   overflow policy for members of an audience with a full outgoing queue; see
///   [below](#emits-to-slow-members).
/// - `#[request(timeout = "2s")]`: the deadline of a request, if the stub sets no other. It is a
///   whole number of `ms`, `s`, `m` or `h`. The default is the timeout in the limits of the
///   connection.
/// - `#[request(idempotent)]`: a repeated execution has the same effect as a single execution. If a
///   client's connection breaks and its session cannot be resumed, a call may have been executed
///   already. Such a call is repeated in the next session, within its deadline, instead of failing
///   as `Disconnected`.
/// - `#[emit(volatile)]`: the message is of no use later. It is sent at once or dropped: if the
///   queue has no capacity for it, and if the connection is broken or breaks during the transfer.
///   Messages that were not sent are counted as `dropped_emits`.
///
/// A handler runs to completion, or is stopped at its next suspension:
///
/// - The handler of a request is stopped at the deadline of its call, when the caller drops the
///   call's future, and when the session ends. At the deadline, the call ends as
///   `CallError::Timeout`.
/// - The handler of an emit is stopped when it has run for the receiver's `Limits::call_timeout`
///   (30 s by default), and when the session ends. The sender is not notified of either.
///
/// A handler that is stopped for another reason than the deadline of a request is counted in the
/// receiver's `stats()`, as `timed_out_emits` or `cancelled_handlers`. It is also sent as an event
/// of `tracing`. Both also apply to an emit with arguments that cannot be decoded, as
/// `undecodable_emits`.
///
/// `#[cfg(..)]`, documentation and lint attributes have their usual meaning, in the trait and the
/// stub. `#[deprecated]` on a method warns callers of the stub's method. On the trait, it warns
/// where a server or a stub is made. The names `new` and `with_timeout` are reserved for functions
/// of the stub.
///
/// # Emits to slow members
///
/// An emit to a single peer waits for capacity in its outgoing queue. The capacity of a queue is
/// `Limits::outgoing_queue` bytes. An emit to an audience waits at most 1 s for members with full
/// queues. It waits only for members that have accepted bytes within that second. It does not wait
/// if the policy is `"latest"` or the method is `volatile`. Then the method's policy applies:
///
/// | `#[emit(overflow = "…")]` | a member with a full queue |
/// | --- | --- |
/// | `"disconnect"`, the default | is disconnected, so that it never misses a message |
/// | `"drop_newest"` | does not receive the new message |
/// | `"drop_oldest"` | receives the new message instead of this method's oldest waiting messages, as many as needed |
/// | `"latest"` | receives the new message instead of all waiting messages of this method, for values such as positions |
///
/// Messages that are not dropped arrive in order. Dropped messages are counted in the member's
/// `stats()`, as `dropped_emits`. A message is not dropped if its transfer may have begun: this
/// applies to up to half of the queue, and to the bytes that the system has taken. If other
/// messages fill the queue, an emit with `"drop_oldest"` is dropped itself. The newest emit with
/// `"latest"` is kept in addition to the queue. Emits by name (`audience.emit("name", …)`) have the
/// default policy.
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
/// A method has at most 16 arguments, each with a plain name. Their types implement serde's
/// `Serialize` and `Deserialize`.
///
/// | argument | value that the handler receives |
/// | --- | --- |
/// | `T` | its own value |
/// | `&str`, `&[u8]`, `&Path`, `&serde_bytes::Bytes`, `Option<&str>`, … | a borrow from the received bytes, without a copy |
/// | `Note<'_>`, `Cow<'_, str>` | a value that may borrow from the received bytes |
/// | `&T`, `&[T]` | a borrow from a value that has been decoded for it |
///
/// A reference is borrowed from the received bytes if `&T` implements `Deserialize`, also if `T` is
/// an alias. Inside another type, only such references are possible.
///
/// A handler that needs its caller takes `call: &sockets::Call` as the first argument. It is not
/// sent, and the stub has no such parameter. Write a type `Call` of your own with a path, such as
/// `phone::Call`.
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
/// A reply is owned, since the caller decodes it: a type that is `Serialize`, `DeserializeOwned`
/// and `Send`.
///
/// `Result<T, E>` is recognised by its name and its two arguments. The caller receives it as
/// `Result<T, CallError<E>>`. An alias with a single argument hides the error, and is rejected.
///
/// # Signatures
///
/// Each peer announces the types of the methods that it serves. A call with other types fails with
/// `CallError::SignatureMismatch` before it is sent. Types are compared by their names. Types with
/// the same encoding have the same name:
///
/// - `&str`, `String` and `Cow<'_, str>`
/// - `&[T]`, `Vec<T>` and sets
/// - `T`, `Box<T>` and `Arc<T>`
/// - maps
/// - a type, by every path to it
///
/// An alias counts as another type, so both peers have to use the same name.
#[proc_macro_attribute]
pub fn group(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

/// Expands the attribute. Tests can call this function, unlike a procedural macro.
fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = GroupArgs::parse(args, &mut errors);
    let item = match syn::parse2(item.clone()) {
        Ok(Item::Trait(item)) => item,
        Ok(_) => {
            match keyword(item.clone()) {
                Some(keyword) => {
                    errors.on(
                        &keyword,
                        format!("a group is a trait; `#[sockets::group]` cannot be applied to `{keyword}`"),
                    );
                }
                None => errors.on(&item, "a group is a trait; apply `#[sockets::group]` to a trait"),
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

/// Returns the keyword of an item.
fn keyword(item: TokenStream) -> Option<Ident> {
    const KEYWORDS: &[&str] =
        &["struct", "enum", "union", "fn", "mod", "impl", "type", "const", "static", "use", "extern", "macro_rules"];
    item.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if KEYWORDS.iter().any(|keyword| ident == keyword) => Some(ident),
        _ => None,
    })
}
