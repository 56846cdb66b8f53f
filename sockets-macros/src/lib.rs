//! The macros of the `sockets` library, which re-exports them: the attribute `#[group]` and the derive
//! macro `Identity`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attr;
mod check;
mod errors;
mod expand;
mod fallback;
mod identity;
mod model;
mod name;
mod options;
mod signature;
#[cfg(test)]
mod tests;
mod types;
mod unsupported;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Ident, Item};

use crate::{attr::GroupArgs, errors::Errors, model::Group};

/// Makes a trait a *group*. A group is a set of methods that one peer serves and the other peer
/// calls.
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
/// If the program renames the crate `sockets`, state the new name:
/// `#[sockets::group("Purchases", crate = renamed)]`.
///
/// # Generated items
///
/// The macro generates two types for a trait `X`, with the trait's visibility:
///
/// - `XServer<H>` serves the group with a handler of type `H`. `XServer::new(handler)` takes a
///   handler, and `XServer::from_arc(handler)` takes a shared handler. `XServer<H>` is `Clone`,
///   even if the handler is not.
/// - `XClient<T>` is the stub, which calls the group. `XClient::new(&target)` creates the stub, and
///   `with_timeout(duration)` sets a deadline for its requests. The stub has the methods of the
///   trait. The target decides the return types of these methods. A request to a `Client`, a
///   `Socket` or a `Peer` returns a `Result`. A request to an `Audience` returns a stream of
///   `Replies`.
///
/// The trait keeps its methods. The futures of the methods become `Send`, and the trait receives
/// the supertraits `Send + Sync + 'static`. If a method has a body, the body is the default, and
/// handlers may override it.
///
/// # Methods
///
/// A method is an `async fn` with `&self`. A method is a *request* unless an attribute marks the
/// method as an *emit*:
///
/// - `#[emit]` declares a call without a result. The method has no return type.
///   `#[emit(overflow = "…")]` sets the overflow policy, which applies to members of an audience
///   that have a full outgoing queue. See [below](#emits-to-slow-members).
/// - `#[request(timeout = "2s")]` sets the deadline of a request. If the stub sets another
///   deadline, that deadline applies instead. The value is a whole number of `ms`, `s`, `m` or `h`.
///   The default is the timeout in the limits of the connection.
/// - `#[request(idempotent)]` states that a repeated execution has the same effect as a single
///   execution. If a client's connection breaks and its session cannot be resumed, the server may
///   have executed a call already. Such a call usually fails as `Disconnected`. If the method is
///   idempotent, the client instead repeats the call in the next session, within the call's
///   deadline.
/// - `#[request(detached)]` and `#[emit(detached)]` let the handler run to completion. See
///   [below](#detached-handlers).
/// - `#[emit(volatile)]` states that the message is of no use later. The message is sent
///   immediately or dropped. It is dropped if the queue has no capacity for it, if the connection
///   is broken, or if the connection breaks during the transfer. The counter `dropped_emits` counts
///   the messages that were not sent.
/// - `#[emit(latest)]` states that a message is outdated as soon as there is a newer one. See
///   [below](#only-the-latest-emit).
///
/// A handler runs to completion, unless the library stops it. A stopped handler ends at its next
/// suspension:
///
/// - The library stops the handler of a request at the deadline of the call. It also stops the
///   handler when the caller drops the call's future, and when the session ends. At the deadline,
///   the call ends as `CallError::Timeout`.
/// - The library stops the handler of an emit when the handler has run for the receiver's
///   `Limits::call_timeout` (30 s by default). It also stops the handler when the session ends. The
///   sender is not notified in either case.
///
/// The receiver's `stats()` count each handler that is stopped, as `timed_out_emits` or
/// `cancelled_handlers`. The only exception is a handler that is stopped at the deadline of its
/// request. Each counted handler also causes an event of `tracing`. If the arguments of an emit
/// cannot be decoded, the emit is counted as `undecodable_emits`, and also causes an event.
///
/// `#[cfg(..)]`, documentation and lint attributes have their usual meaning, in the trait and in
/// the stub. `#[deprecated]` on a method warns callers of the stub's method. `#[deprecated]` on the
/// trait warns where the program creates a server or a stub. The names `new` and `with_timeout` are
/// reserved for functions of the stub.
///
/// # Emits to slow members
///
/// An emit to a single peer waits for capacity in the peer's outgoing queue. The capacity of a
/// queue is `Limits::outgoing_queue` bytes. An emit to an audience waits at most 1 s for members
/// that have a full queue. It waits only for members that have accepted bytes within that second.
/// If the method is `latest` or `volatile`, the emit does not wait. After the wait, the method's
/// policy applies to each member that still has a full queue:
///
/// | `#[emit(overflow = "…")]` | a member with a full queue |
/// | --- | --- |
/// | `"disconnect"`, the default | is disconnected, so that it never misses a message |
/// | `"drop_newest"` | does not receive the new message |
/// | `"drop_oldest"` | receives the new message instead of this method's oldest waiting messages, as many as needed |
///
/// Messages that are not dropped arrive in order. The member's `stats()` count the dropped messages
/// as `dropped_emits`. If the transfer of a message may have begun, the library does not drop the
/// message. This protects up to half of the queue, and the bytes that the operating system has
/// taken. If messages of other methods fill the queue, an emit with `"drop_oldest"` is dropped
/// itself. Emits by name (`audience.emit("name", …)`) have the default policy.
///
/// ```
/// #[sockets::group("World")]
/// pub trait World {
///     #[emit(overflow = "drop_oldest")]
///     async fn log(&self, line: &str);
/// }
/// ```
///
/// # Detached handlers
///
/// With `#[request(detached)]` or `#[emit(detached)]`, a handler runs to completion, for example
/// because it takes a payment. It is not stopped by its deadline, by the caller that cancels the
/// call, or by the end of the session. The call itself ends as usual: its caller receives
/// `CallError::Timeout` at the deadline, although the handler continues.
///
/// ```
/// #[sockets::group("Payments")]
/// pub trait Payments {
///     #[request(detached, timeout = "5s")]
///     async fn pay(&self, order: u64) -> bool;
/// }
/// ```
///
/// - A server waits for these handlers when it shuts down. It stops them at the end of the grace,
///   or immediately when the last handle of the server is dropped. A client does not stop them.
/// - `Limits::max_detached_handlers` is the maximum number of suspended handlers of a peer. Beyond
///   that, a request fails as `CallError::Overloaded`, and an emit is dropped.
/// - A handler keeps its part of the caller's window until it has completed. Many detached handlers
///   therefore delay other calls of the same caller.
/// - `detached` cannot be combined with `idempotent`, since a repeated call could run beside the
///   handler of the first.
///
/// # Only the latest emit
///
/// With `#[emit(latest)]`, at most one message of the method waits to be sent to a peer. A newer
/// message takes its place. `#[emit(latest, key = "player")]` names an argument: one message waits
/// for each of its values. `key = "room, player"` names several arguments, and one message waits
/// for each combination of their values. Values are equal if their encodings are.
///
/// ```
/// #[sockets::group("World")]
/// pub trait World {
///     /// The position of each player.
///     #[emit(latest, key = "player")]
///     async fn moved(&self, player: u32, x: f32, y: f32);
///     #[emit(latest)]
///     async fn score(&self, red: u32, blue: u32);
/// }
/// ```
///
/// The target of the message does not matter: a message to a room replaces a message to the socket,
/// and a message to a socket replaces the message to the room for this member. This also applies
/// while the peer is away: when its session is resumed, it receives only the latest message of each
/// key.
///
/// - The newer message may arrive before messages that were sent earlier, because it takes the place
///   of an older one. A message that replaces no other keeps its order.
/// - A message that the library has begun to write cannot be replaced. The buffers of the operating
///   system hold further messages, so a peer that reads slowly may receive several of them.
/// - The counter `dropped_emits` does not count replaced messages.
/// - A message that replaces another never waits for capacity, unless it is longer. Messages of
///   further keys may exceed the capacity of the queue by the same number of bytes. Beyond that, an
///   emit to a single peer waits, and the member of an audience is disconnected.
/// - `latest` can be combined with `volatile`, but not with `overflow`. A message of
///   `#[emit(latest, volatile)]` is dropped where a volatile message would be, and is replaced until
///   it is written.
///
/// # Arguments
///
/// A method has at most 16 arguments. Each argument has a plain name, and its type implements
/// serde's `Serialize` and `Deserialize`.
///
/// | argument | value that the handler receives |
/// | --- | --- |
/// | `T` | its own value |
/// | `&str`, `&[u8]`, `&Path`, `&serde_bytes::Bytes`, `Option<&str>`, … | a borrow from the received bytes, without a copy |
/// | `Note<'_>`, `Cow<'_, str>` | a value that may borrow from the received bytes |
/// | `&T`, `&[T]` | a borrow from a value that has been decoded for it |
///
/// A reference `&T` borrows from the received bytes if `&T` implements `Deserialize`. This also
/// applies if `T` is an alias. Inside another type, only such references are possible.
///
/// With `ServerBuilder::serve_each`, a handler belongs to a single socket, which is the caller. Any
/// other handler that needs its caller takes `call: &sockets::Call` as the first argument. So does a
/// handler that needs the deadline of the call. The caller does not send this argument, and the stub
/// has no such parameter. If a program has a type `Call` of its own, write that type with a path,
/// such as `phone::Call`.
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
/// The type of a reply is owned, since the caller decodes the reply. The type implements
/// `Serialize`, `DeserializeOwned` and `Send`.
///
/// The macro recognises `Result<T, E>` by its name and its two arguments. The caller receives this
/// result as `Result<T, CallError<E>>`. An alias with a single argument hides the type of the
/// error, so the macro rejects the alias.
///
/// # Signatures
///
/// Each peer announces the types of the methods that it serves. If the caller's types differ, the
/// call fails with `CallError::SignatureMismatch` before it is sent. Types are compared by their
/// names. The types in each of the following lines have the same encoding, and count as the same
/// name:
///
/// - `&str`, `String` and `Cow<'_, str>`
/// - `&[T]`, `Vec<T>` and sets
/// - `T`, `Box<T>` and `Arc<T>`
/// - maps
/// - a type that is written with different paths
///
/// Both peers have to use the same name, because an alias counts as another type than the aliased
/// type.
#[proc_macro_attribute]
pub fn group(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

/// Derives `Identity` for a struct. The attribute `#[identity(key)]` marks the field that identifies
/// the user. If it marks several fields, the key is the tuple of these fields.
///
/// The key of an identity finds the user's sockets, and resumes the user's sessions. The other
/// fields are data, which may change when a session is resumed.
///
/// ```
/// #[derive(Clone, sockets::Identity)]
/// struct Player {
///     #[identity(key)]
///     id: u64,
///     name: String,
/// }
///
/// #[derive(Clone, sockets::Identity)]
/// struct Employee {
///     #[identity(key)]
///     company: u32,
///     #[identity(key)]
///     number: u32,
/// }
///
/// fn sockets(players: &sockets::Server<Player>, employees: &sockets::Server<Employee>) {
///     let _ = players.socket(&7);
///     let _ = employees.socket(&(3, 12));
/// }
/// ```
///
/// The struct also has to be `Clone + Send + Sync + 'static`, and its key `Eq + Hash + Clone + Send +
/// Sync + 'static`. If the program renames the crate `sockets`, state the new name on the struct:
/// `#[identity(crate = renamed)]`.
#[proc_macro_derive(Identity, attributes(identity))]
pub fn derive_identity(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    identity::expand(item.into()).into()
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
