//! Rooms span what their members are connected over.

use sockets::{Client, Server, Socket};
use sockets_tests::{LobbyClient, LobbyServer, Voter, eventually};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_room_of_a_browser_and_a_service_hears_the_same() {
    let server = Server::builder().connected(|socket: Socket| async move {
        socket.join("lobby");
    });
    let server = server.bind("ws://127.0.0.1:0").await.unwrap();
    let over_websocket = format!("ws://{}", server.local_addr());
    // The server tells the address of its first listener alone.
    let over_tcp = loop {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = format!("tcp://{free}");
        if server.bind(&address).await.is_ok() {
            break address;
        }
    };

    let (browser, mut hears_in_browser) = Voter::new("yes");
    let (service, mut hears_in_service) = Voter::new("no");
    let _browser = Client::builder().serve(LobbyServer::new(browser)).connect(&over_websocket).await.unwrap();
    let _service = Client::builder().serve(LobbyServer::new(service)).connect(&over_tcp).await.unwrap();
    eventually("both are in", || server.room("lobby").sockets().len() == 2).await;

    let lobby = LobbyClient::new(&server.room("lobby"));
    lobby.message("hello").await.unwrap();
    assert_eq!(hears_in_browser.recv().await.as_deref(), Some("hello"));
    assert_eq!(hears_in_service.recv().await.as_deref(), Some("hello"));

    let mut replies = lobby.vote(vec!["yes".into(), "no".into()]);
    let mut votes = Vec::new();
    while let Some((_, vote)) = replies.next().await {
        votes.push(vote.unwrap());
    }
    votes.sort();
    assert_eq!(votes, ["no", "yes"]);
}
