//! The user's types may have any names, because the meaning of generated code does not depend on
//! these names.

#![allow(unreachable_pub, clippy::many_single_char_names, reason = "names are chosen for being in the way")]

extern crate sockets as renamed;

use renamed::{Client, Server};

/// A module without a prelude.
#[no_implicit_prelude]
mod bare {
    #[::sockets::group("Bare")]
    pub trait Bare {
        /// A request.
        async fn ask(
            &self,
            item: &str,
            list: &[u32],
            maybe: ::std::option::Option<&[u8]>,
        ) -> ::std::result::Result<u32, ::std::string::String>;
        #[request(timeout = "2s")]
        async fn default(&self, call: &::sockets::Call) -> bool {
            call.peer().is_connected()
        }
        #[emit]
        async fn tell(&self, item: &str);
    }

    pub struct Handler;

    impl Bare for Handler {
        async fn ask(
            &self,
            item: &str,
            list: &[u32],
            _: ::std::option::Option<&[u8]>,
        ) -> ::std::result::Result<u32, ::std::string::String> {
            match list.first() {
                ::std::option::Option::Some(first) => ::std::result::Result::Ok(*first),
                ::std::option::Option::None => ::std::result::Result::Err(::std::convert::From::from(item)),
            }
        }
        async fn tell(&self, _: &str) {}
    }
}

/// The user's types and functions have names that the prelude or generated code uses.
mod shadowed {
    #![allow(dead_code, non_camel_case_types, non_snake_case, reason = "they are there to be in the way")]

    use serde::{Deserialize, Serialize};

    macro_rules! shadows {
        ($($name:ident)*) => { $(
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub struct $name(pub u8);
        )* };
    }
    shadows!(String Vec Box Duration Arc Formatter Stub Place Incoming Method Service Kind Peer Audience Replies);
    shadows!(CallError IntoTarget Target Identity core std sockets H I T C E);
    pub fn Ok() {}
    pub fn Err() {}
    pub fn Some() {}
    pub fn None() {}
    pub trait Send {}
    pub trait Sync {}
    pub trait Sized {}
    pub trait Future {}
    pub trait Iterator {}
    pub trait Drop {}
    pub trait From {}

    #[::sockets::group("Shadowed")]
    pub trait Shadowed {
        async fn all(&self, a: String, b: &Vec, c: Box, d: Duration, e: &[Arc]) -> Method;
        async fn more(&self, a: H, b: I, c: T, d: C, e: E) -> ::std::result::Result<Peer, CallError>;
        #[request(timeout = "2s")]
        async fn crates(&self, a: core, b: std, c: &sockets) -> Replies;
        #[emit]
        async fn tell(&self, a: Incoming, b: &[Place], c: Service);
        async fn default(&self, a: Kind) -> Kind {
            a
        }
    }

    pub struct Handler;

    impl Shadowed for Handler {
        async fn all(&self, a: String, b: &Vec, c: Box, d: Duration, e: &[Arc]) -> Method {
            Method(a.0 + b.0 + c.0 + d.0 + e.iter().map(|e| e.0).sum::<u8>())
        }
        async fn more(&self, a: H, b: I, c: T, d: C, e: E) -> ::std::result::Result<Peer, CallError> {
            ::std::result::Result::Err(CallError(a.0 + b.0 + c.0 + d.0 + e.0))
        }
        async fn crates(&self, a: core, b: std, c: &sockets) -> Replies {
            Replies(a.0 + b.0 + c.0)
        }
        async fn tell(&self, _: Incoming, _: &[Place], _: Service) {}
    }
}

/// The user has types with the names `Option` and `Call`.
mod own_option {
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Option<T> {
        Nothing,
        Something(T),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Call(pub u8);

    /// The macro distinguishes the user's `Call` from the library's by its path.
    #[allow(unused_qualifications, reason = "`Call` alone would be ours")]
    #[sockets::group("OwnOption")]
    pub trait OwnOption {
        async fn swap(&self, of: Option<u8>, call: super::own_option::Call) -> Option<u8>;
    }

    pub struct Handler;

    impl OwnOption for Handler {
        async fn swap(&self, of: Option<u8>, call: Call) -> Option<u8> {
            match of {
                Option::Nothing => Option::Something(call.0),
                Option::Something(_) => Option::Nothing,
            }
        }
    }
}

/// In this module, the program has renamed the crate `sockets`. A test of the macro also checks
/// that generated code refers to the crate only by the name that the program states.
mod other_name {
    use super::renamed as wire;

    #[wire::group("Other", crate = wire)]
    pub trait Other {
        async fn ask(&self, call: &wire::Call) -> bool;
        #[emit]
        async fn tell(&self);
    }

    pub struct Handler;

    impl Other for Handler {
        async fn ask(&self, call: &wire::Call) -> bool {
            call.peer().is_connected()
        }
        async fn tell(&self) {}
    }
}

async fn connect(server: &Server) -> Client {
    Client::builder().connect_local(server).await.unwrap()
}

#[tokio::test]
async fn group_works_without_a_prelude() {
    let server = Server::builder().serve(bare::BareServer::new(bare::Handler)).build();
    let client = connect(&server).await;
    let stub = bare::BareClient::new(&client);
    assert_eq!(stub.ask("a", &[7], None).await, Ok(7));
    assert_eq!(stub.ask("a", &[], Some(&[1])).await, Err(sockets::CallError::Handler("a".to_owned())));
    assert_eq!(stub.default().await, Ok(true));
    stub.tell("a").await.unwrap();
}

#[tokio::test]
async fn user_types_may_shadow_prelude_and_library() {
    use shadowed as s;
    let server = Server::builder().serve(s::ShadowedServer::new(s::Handler)).build();
    let client = connect(&server).await;
    let stub = s::ShadowedClient::new(&client);
    let all = stub.all(s::String(1), &s::Vec(2), s::Box(3), s::Duration(4), &[s::Arc(5), s::Arc(6)]).await;
    assert_eq!(all, Ok(s::Method(21)));
    let more = stub.more(s::H(1), s::I(2), s::T(3), s::C(4), s::E(5)).await;
    assert_eq!(more, Err(sockets::CallError::Handler(s::CallError(15))));
    assert_eq!(stub.crates(s::core(1), s::std(2), &s::sockets(3)).await, Ok(s::Replies(6)));
    assert_eq!(stub.default(s::Kind(8)).await, Ok(s::Kind(8)));
    stub.tell(s::Incoming(1), &[s::Place(2)], s::Service(3)).await.unwrap();
}

#[tokio::test]
async fn user_option_and_call_are_ordinary_types() {
    use own_option::{Call, Option, OwnOptionClient, OwnOptionServer};
    let server = Server::builder().serve(OwnOptionServer::new(own_option::Handler)).build();
    let client = connect(&server).await;
    let stub = OwnOptionClient::new(&client);
    assert_eq!(stub.swap(Option::Nothing, Call(3)).await, Ok(Option::Something(3)));
    assert_eq!(stub.swap(Option::Something(1), Call(3)).await, Ok(Option::Nothing));
}

#[tokio::test]
async fn library_may_be_renamed() {
    let server = Server::builder().serve(other_name::OtherServer::new(other_name::Handler)).build();
    let client = connect(&server).await;
    assert_eq!(other_name::OtherClient::new(&client).ask().await, Ok(true));
    other_name::OtherClient::new(&client).tell().await.unwrap();
}
