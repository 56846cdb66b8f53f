//! Legal paths and names, and the errors of illegal paths and names.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sockets::{CallError, Client, Group, JoinError, Peer, Server, Socket};

async fn pair() -> (Server, Client, Socket) {
    let server = Server::builder().build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let socket = server.sockets()[0].clone();
    (server, client, socket)
}

fn legal() -> Vec<String> {
    let mut names: Vec<String> =
        ["a", " ", "get price", "Ünïcode ✓", "*", ">", "..", "a.b", "a::b", "%2F", "\\", "'\""].map(Into::into).into();
    names.extend(["x".repeat(128), "é".repeat(64)]);
    names
}

fn illegal() -> Vec<String> {
    let mut names: Vec<String> =
        ["", "a/b", "/", "a\nb", "\0", "\t", "a\u{7f}", "a\u{85}", "\u{1b}[31m"].map(Into::into).into();
    names.extend(["x".repeat(129), "é".repeat(65), "x".repeat(1 << 20)]);
    names
}

/// Returns a path of 512 bytes, which is the maximum. It has segments of about 127 bytes, with
/// slashes between them.
fn longest_path() -> String {
    let path = [127, 127, 127, 128].map(|length| "x".repeat(length)).join("/");
    assert_eq!(path.len(), 512);
    path
}

fn illegal_paths() -> Vec<String> {
    let mut paths: Vec<String> = ["/", "/a", "a/", "a//b", "a/\n", "a/b\0/c"].map(Into::into).into();
    paths.extend([format!("{}y", longest_path()), format!("a/{}", "x".repeat(129)), vec!["a"; 257].join("/")]);
    paths
}

fn is_about_the_name<T: std::fmt::Debug>(result: Result<T, CallError>, name: &str) {
    match result {
        Err(CallError::InvalidName(error)) => assert!(!error.name().is_empty() || name.is_empty(), "{error}"),
        other => panic!("{:.40}: {other:?}", name.escape_debug()),
    }
}

/// Asserts that a registration panics, because functions that register a handler return no error.
fn panics<T>(name: &str, f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "{:.40} must not be accepted", name.escape_debug());
}

async fn works(group: &Group, at: &Group, name: &str) {
    at.listen(name, |n: u8| async move { n + 1 });
    assert_eq!(group.request::<u8>(name, &1_u8).await, Ok(2), "{name:.40}");
}

#[tokio::test]
async fn legal_name_works_at_its_limits() {
    let (_server, client, socket) = pair().await;
    for name in legal() {
        socket.listen(&name, |n: u8| async move { n + 1 });
        assert_eq!(client.request::<u8>(&name, &1_u8).await, Ok(2), "{name:.40}");
        works(&client.group("g"), &socket.group("g"), &name).await;
        works(&client.group(&name), &socket.group(&name), "n").await;
        works(&client.group("g").group(&name), &socket.group(&format!("g/{name}")), "n").await;
    }
    let path = longest_path();
    works(&client.group(&path), &socket.group(&path), &"n".repeat(128)).await;
}

/// Fault 23 of RELIABILITY.md.
#[tokio::test]
async fn illegal_name_fails_where_it_is_used() {
    let (server, client, socket) = pair().await;
    for name in illegal() {
        for peer in [Peer::clone(client.as_peer()), Peer::clone(socket.as_peer())] {
            is_about_the_name(peer.emit(&name, &()).await, &name);
            is_about_the_name(peer.request::<u8>(&name, &()).await, &name);
            is_about_the_name(peer.group("g").emit(&name, &()).await, &name);
            is_about_the_name(peer.group("g").request::<u8>(&name, &()).await, &name);
            panics(&name, || peer.listen(&name, |(): ()| async {}));
            panics(&name, || peer.set_callback(&name, |(): ()| async {}));
            panics(&name, || peer.group("g").listen(&name, |(): ()| async {}));
        }
        is_about_the_name(server.all().emit(&name, &()).await, &name);
        let (_, outcome) = server.all().request::<u8>(&name, &()).next().await.unwrap();
        is_about_the_name(outcome, &name);
    }
    assert!(client.is_connected());
}

#[tokio::test]
async fn illegal_path_fails_where_it_is_used() {
    let (server, client, socket) = pair().await;
    for path in illegal_paths() {
        for group in [client.group(&path), socket.group(&path)] {
            is_about_the_name(group.emit("n", &()).await, &path);
            is_about_the_name(group.request::<u8>("n", &()).await, &path);
            panics(&path, || group.listen("n", |(): ()| async {}));
            panics(&path, || group.set_callback("n", |(): ()| async {}));
        }
        is_about_the_name(server.all().group(&path).emit("n", &()).await, &path);
    }
    is_about_the_name(client.group("a").group("").emit("n", &()).await, "a/");
    is_about_the_name(client.group(&longest_path()).group("y").emit("n", &()).await, "one segment too many");
}

/// Fault 23 of RELIABILITY.md.
#[tokio::test]
async fn name_error_escapes_control_characters() {
    let (_server, client, _socket) = pair().await;
    let error = client.emit("a\n\u{1b}[31mb", &()).await.unwrap_err().to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
    let error = client.emit(&"x".repeat(1 << 20), &()).await.unwrap_err().to_string();
    assert!(error.len() < 1000, "it does not repeat a megabyte");
}

#[tokio::test]
async fn room_with_an_illegal_name_is_not_joined() {
    let (server, _client, socket) = pair().await;
    for name in illegal().into_iter().filter(|name| name != "a/b").chain(illegal_paths()) {
        assert!(matches!(socket.join(&name), Err(JoinError::InvalidName(_))));
        assert!(server.rooms().is_empty() && socket.rooms().is_empty(), "{:.40}", name.escape_debug());
        socket.leave(&name);
        assert!(server.room(&name).sockets().is_empty());
    }
    socket.join(&longest_path()).unwrap();
    assert_eq!(socket.rooms(), [longest_path()]);
}

#[sockets::group("one/two three/four")]
trait Deep {
    async fn name(&self) -> u8;
}

struct One;

impl Deep for One {
    async fn name(&self) -> u8 {
        1
    }
}

#[tokio::test]
async fn trait_may_have_any_legal_path() {
    let (_server, client, socket) = pair().await;
    socket.serve(DeepServer::new(One));
    assert_eq!(DeepClient::new(&client).name().await, Ok(1));
    assert_eq!(client.group("one").group("two three/four").request::<u8>("name", &()).await, Ok(1));
}
