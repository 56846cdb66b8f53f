//! Arguments and methods may have any names.

#![allow(
    clippy::similar_names,
    clippy::too_many_arguments,
    clippy::wrong_self_convention,
    reason = "names are chosen for being in the way"
)]

use sockets::{Client, Server};

/// The arguments have the names of variables in generated code.
#[sockets::group("Arguments")]
trait Arguments {
    async fn inside(&self, self_: u8, call: u8, handler: u8, place: u8, key: u8, stub: u8, reply: u8) -> Vec<u8>;
    async fn more(&self, args: u8, arg1: &str, arg0: &[u16], target: u8, timeout: u8, method: u8) -> Vec<u8>;
    async fn with_a_call(&self, caller: &sockets::Call, call: u8, handler: u8, arg0: u8) -> Vec<u8>;
    async fn raw(&self, r#type: u8, r#match: &str, r#async: &[u16]) -> Vec<u8>;
}

/// The methods have the names of methods of traits, servers and stubs.
#[sockets::group("Methods")]
trait Methods {
    async fn clone(&self) -> u8;
    async fn fmt(&self) -> u8;
    async fn start(&self, key: u64) -> u64;
    async fn path(&self) -> String;
    async fn methods(&self) -> Vec<String>;
    async fn from_arc(&self, handler: u8) -> u8;
    async fn request(&self) -> u8;
    async fn emit(&self) -> u8;
    async fn stub(&self) -> u8;
    async fn handler(&self) -> u8;
    async fn deref(&self) -> u8;
    async fn drop(&self) -> u8;
    async fn r#type(&self) -> u8;
    async fn target(&self) -> u8;
}

/// The trait itself has a raw name.
#[sockets::group("Raw")]
#[allow(non_camel_case_types, reason = "a keyword is a name, too")]
trait r#async {
    async fn ask(&self) -> u8;
}

struct Handler;

impl Arguments for Handler {
    async fn inside(&self, self_: u8, call: u8, handler: u8, place: u8, key: u8, stub: u8, reply: u8) -> Vec<u8> {
        vec![self_, call, handler, place, key, stub, reply]
    }
    async fn more(&self, args: u8, arg1: &str, arg0: &[u16], target: u8, timeout: u8, method: u8) -> Vec<u8> {
        vec![args, arg1.parse().unwrap(), arg0.len().try_into().unwrap(), target, timeout, method]
    }
    async fn with_a_call(&self, caller: &sockets::Call, call: u8, handler: u8, arg0: u8) -> Vec<u8> {
        vec![caller.peer().is_connected().into(), call, handler, arg0]
    }
    async fn raw(&self, r#type: u8, r#match: &str, r#async: &[u16]) -> Vec<u8> {
        vec![r#type, r#match.parse().unwrap(), r#async.len().try_into().unwrap()]
    }
}

impl Methods for Handler {
    async fn clone(&self) -> u8 {
        1
    }
    async fn fmt(&self) -> u8 {
        2
    }
    async fn start(&self, key: u64) -> u64 {
        key
    }
    async fn path(&self) -> String {
        "path".to_owned()
    }
    async fn methods(&self) -> Vec<String> {
        vec![]
    }
    async fn from_arc(&self, handler: u8) -> u8 {
        handler
    }
    async fn request(&self) -> u8 {
        3
    }
    async fn emit(&self) -> u8 {
        4
    }
    async fn stub(&self) -> u8 {
        5
    }
    async fn handler(&self) -> u8 {
        6
    }
    async fn deref(&self) -> u8 {
        7
    }
    async fn drop(&self) -> u8 {
        8
    }
    async fn r#type(&self) -> u8 {
        9
    }
    async fn target(&self) -> u8 {
        10
    }
}

impl r#async for Handler {
    async fn ask(&self) -> u8 {
        1
    }
}

async fn connect(server: &Server) -> Client {
    Client::builder().connect_local(server).await.unwrap()
}

#[tokio::test]
async fn argument_may_have_any_name() {
    let server = Server::builder().serve(ArgumentsServer::new(Handler)).build();
    let client = connect(&server).await;
    let stub = ArgumentsClient::new(&client);
    assert_eq!(stub.inside(1, 2, 3, 4, 5, 6, 7).await, Ok(vec![1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(stub.more(1, "2", &[0; 3], 4, 5, 6).await, Ok(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(stub.with_a_call(2, 3, 4).await, Ok(vec![1, 2, 3, 4]));
    assert_eq!(stub.raw(1, "2", &[0; 3]).await, Ok(vec![1, 2, 3]));
}

#[tokio::test]
async fn method_may_have_any_name() {
    let server = Server::builder().serve(MethodsServer::new(Handler)).serve(asyncServer::new(Handler)).build();
    let client = connect(&server).await;
    let stub = MethodsClient::new(&client);
    let numbers = [
        stub.clone().await,
        stub.fmt().await,
        stub.request().await,
        stub.emit().await,
        stub.stub().await,
        stub.handler().await,
        stub.deref().await,
        stub.drop().await,
        stub.r#type().await,
        stub.target().await,
    ];
    assert_eq!(numbers.map(Result::unwrap), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(stub.start(u64::MAX).await, Ok(u64::MAX));
    assert_eq!(stub.path().await.as_deref(), Ok("path"));
    assert_eq!(stub.methods().await, Ok(vec![]));
    assert_eq!(stub.from_arc(3).await, Ok(3));
    assert_eq!(asyncClient::new(&client).ask().await, Ok(1));
}

#[tokio::test]
async fn raw_identifier_is_plain_on_the_wire() {
    let server = Server::builder().serve(MethodsServer::new(Handler)).build();
    let client = connect(&server).await;
    assert_eq!(client.group("Methods").request::<u8>("type", &()).await, Ok(9));
}
