//! Unix sockets: their files and the credentials of peers.

use std::{
    fs, io,
    os::unix::{
        fs::MetadataExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process,
};

use sockets::{BindError, Client, ConnectError, ConnectInfo, PeerCredentials, Refusal, Server};
use sockets_tests::*;

fn url(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Starts a server at a new path.
async fn serve() -> (Server, PathBuf) {
    let path = unique_path();
    (Server::builder().bind(&url(&path)).await.unwrap(), path)
}

fn is_in_use(failed: &BindError) -> bool {
    matches!(failed, BindError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

#[tokio::test]
async fn unix_path_is_accepted_with_and_without_slashes() {
    let (server, path) = serve().await;
    for url in [format!("unix:{}", path.display()), format!("unix://{}", path.display())] {
        drop(Client::builder().connect(&url).await.unwrap());
    }
    drop(server);
}

#[tokio::test]
async fn authentication_receives_peer_credentials() {
    let path = unique_path();
    let server = Server::builder().authenticate(|(): (), handshake: ConnectInfo| async move {
        assert_eq!(handshake.transport(), "unix");
        assert_eq!(handshake.remote_addr(), None);
        handshake.credentials().map(Seen).ok_or(Refusal::new("who?"))
    });
    let server = server.bind(&url(&path)).await.unwrap();
    let _client = Client::builder().connect(&url(&path)).await.unwrap();
    let PeerCredentials { uid, pid, .. } = server.sockets()[0].identity().0;
    let own = fs::metadata(&path).unwrap();
    assert_eq!(uid, own.uid());
    assert!(pid.is_none_or(|pid| pid == i32::try_from(process::id()).unwrap()));
}

#[tokio::test]
async fn socket_file_is_removed_with_the_server() {
    let (server, path) = serve().await;
    assert!(path.exists());
    server.shutdown().await;
    eventually("the file is removed", || !path.exists()).await;
    let failed = Client::builder().connect(&url(&path)).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Unreachable(_)), "{failed:?}");
}

#[tokio::test]
async fn path_in_use_is_not_bound() {
    let (server, path) = serve().await;
    let failed = Server::builder().bind(&url(&path)).await.unwrap_err();
    assert!(is_in_use(&failed), "{failed:?}");
    assert!(failed.to_string().contains(&url(&path)), "{failed}");
    drop(Client::builder().connect(&url(&path)).await.unwrap());
    drop(server);
}

#[tokio::test]
async fn file_of_a_dead_server_is_replaced() {
    let path = unique_path();
    // This leaves a file, as a killed process does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::builder().bind(&url(&path)).await.unwrap();
    drop(Client::builder().connect(&url(&path)).await.unwrap());
    drop(server);
}

#[tokio::test]
async fn regular_file_is_left_alone() {
    let path = unique_path();
    fs::write(&path, "dear diary").unwrap();
    let failed = Server::builder().bind(&url(&path)).await.unwrap_err();
    assert!(is_in_use(&failed), "{failed:?}");
    let text = failed.to_string();
    assert!(text.contains("not a socket") && text.contains("remove"), "{text}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
    fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn file_of_a_successor_is_left_alone() {
    let (first, path) = serve().await;
    // A client can reach the first server by this second name while the first server listens.
    let other_name = unique_path();
    fs::hard_link(&path, &other_name).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Server::builder().bind(&url(&path)).await.unwrap();
    first.shutdown().await;
    eventually("the first one listens no more", || UnixStream::connect(&other_name).is_err()).await;
    drop(Client::builder().connect(&url(&path)).await.unwrap());
    drop(second);
    fs::remove_file(&other_name).unwrap();
}

#[tokio::test]
async fn client_waits_for_a_full_accept_queue() {
    const CLIENTS: usize = 8;
    let path = unique_path();
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let listener = socket.listen(1).unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let url = url(&path);
            tokio::spawn(async move { Client::builder().connect(&url).await })
        })
        .collect();
    // All clients try to connect, and most of them find that the accept queue is full.
    tokio::task::yield_now().await;
    let server = Server::builder().build();
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(server.accept(stream));
        }
    };
    let connecting = async {
        for client in clients {
            drop(client.await.unwrap().unwrap());
        }
    };
    tokio::select! {
        () = accepting => unreachable!(),
        () = connecting => {}
    }
    fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn path_above_the_length_limit_is_an_error() {
    let path = unique_path().join("x".repeat(200));
    let failed = Server::builder().bind(&url(&path)).await.unwrap_err();
    assert!(failed.to_string().contains("path must be shorter"), "{failed}");
    let failed = Client::builder().connect(&url(&path)).await.unwrap_err();
    assert!(failed.to_string().contains("path must be shorter"), "{failed}");
}
