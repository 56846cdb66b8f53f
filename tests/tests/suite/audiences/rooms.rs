//! Rooms. Sockets join and leave rooms, the server lists rooms, and an empty room ends.

#![allow(clippy::cloned_ref_to_slice_refs, reason = "`[socket.clone()]` is what a reader expects a list to be")]

use sockets::{Client, DisconnectReason, JoinError, Limits, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::unbounded_channel;

tcp_and_memory! {
    async fn room_exists_while_it_has_members(net: Transport) {
        let server = net.serve(players()).await;
        let _ada = net.join(&server, "ada", Client::builder()).await;
        let _bob = net.join(&server, "bob", Client::builder()).await;
        let ada = server.socket("ada").unwrap();
        let bob = server.socket("bob").unwrap();
        assert!(server.rooms().is_empty() && server.room("r").sockets().is_empty());

        ada.join("r").unwrap();
        ada.join("r").unwrap();
        ada.join("other").unwrap();
        bob.join("r").unwrap();
        assert_eq!(server.rooms(), ["other", "r"]);
        assert_eq!(ada.rooms(), ["other", "r"]);
        assert!(ada.is_in("r") && ada.is_in("other") && bob.is_in("r") && !bob.is_in("other"));
        assert_eq!(server.room("r").sockets().len(), 2);
        assert_eq!(server.room("other").sockets(), std::slice::from_ref(&ada));

        ada.leave("r");
        ada.leave("r");
        ada.leave("never joined");
        assert_eq!(ada.rooms(), ["other"]);
        assert!(!ada.is_in("r"));
        assert_eq!(server.room("r").sockets(), [bob.clone()]);
        bob.leave("r");
        assert_eq!(server.rooms(), ["other"]);
    }

    async fn disconnected_socket_leaves_its_rooms(net: Transport) {
        let server = net.serve(players().connected(|socket: Socket<Player>| async move {
            socket.join("r").unwrap();
        })).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let ada = server.socket("ada").unwrap();
        drop(client);
        ada.disconnected().await;
        eventually("the room is removed", || server.rooms().is_empty()).await;
        assert_eq!(ada.rooms(), ["r"], "its last rooms");
        assert!(ada.is_in("r") && !ada.is_in("s"));
        assert!(server.room("r").sockets().is_empty());
        assert_eq!(ada.join("r"), Err(JoinError::Disconnected));
        ada.leave("r");
        assert!(server.rooms().is_empty(), "an ended socket joins no room");
        assert_eq!(ada.rooms(), ["r"], "an ended socket leaves no room");
        assert!(server.socket("ada").is_none());
    }

    async fn room_emit_reaches_only_its_members(net: Transport) {
        let server = net.serve(players()).await;
        let (ada, mut ada_received) = Voter::new("");
        let (bob, mut bob_received) = Voter::new("");
        let _ada = net.join(&server, "ada", Client::builder().serve(LobbyServer::new(ada))).await;
        let _bob = net.join(&server, "bob", Client::builder().serve(LobbyServer::new(bob))).await;
        server.socket("ada").unwrap().join("r").unwrap();
        LobbyClient::new(&server.room("r")).message("to the room").await.unwrap();
        LobbyClient::new(&server.room("empty")).message("to no member").await.unwrap();
        LobbyClient::new(&server.all()).message("to all").await.unwrap();
        assert_eq!(ada_received.recv().await.as_deref(), Some("to the room"));
        assert_eq!(ada_received.recv().await.as_deref(), Some("to all"));
        assert_eq!(bob_received.recv().await.as_deref(), Some("to all"));
    }

    async fn room_accepts_any_legal_path_as_name(net: Transport) {
        let server = net.serve(players()).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        let ada = server.socket("ada").unwrap();
        for name in ["r", "a b", "chess/7", "Ünïcode ✓", "*", ">", "%2f"] {
            ada.join(name).unwrap();
            assert_eq!(ada.rooms(), [name]);
            assert_eq!(server.room(name).sockets(), [ada.clone()]);
            ada.leave(name);
            assert!(server.rooms().is_empty());
        }
    }
}

/// Connects three clients to a server.
async fn three(limits: Limits) -> (Server<Player>, [Client; 3], [Socket<Player>; 3]) {
    let server = players().limits(limits).build();
    let client = |name| Client::builder().auth(Login::new(name)).connect_local(&server);
    let clients = [client("ada").await.unwrap(), client("bob").await.unwrap(), client("eve").await.unwrap()];
    let sockets = ["ada", "bob", "eve"].map(|name| server.socket(name).unwrap());
    (server, clients, sockets)
}

#[tokio::test]
async fn audience_joins_and_leaves_a_room() {
    let (server, _clients, [ada, bob, eve]) = three(Limits::new()).await;
    server.users(["ada", "bob"]).join("team").unwrap();
    assert_eq!(server.room("team").sockets(), [ada.clone(), bob.clone()]);
    server.room("team").join("team/chat").unwrap();
    assert!(ada.is_in("team/chat") && bob.is_in("team/chat") && !eve.is_in("team/chat"));
    server.room("team").except(&ada).leave("team");
    assert!(ada.is_in("team") && !bob.is_in("team"));
    server.all().leave("team/chat");
    server.room("team").leave("team");
    assert!(server.rooms().is_empty());
}

#[tokio::test]
async fn audience_with_a_full_member_joins_without_it() {
    let (server, _clients, [ada, bob, eve]) = three(Limits::new().rooms_per_socket(1)).await;
    bob.join("other").unwrap();
    assert_eq!(server.all().join("team"), Ok(()));
    assert_eq!(server.room("team").sockets(), [ada, eve]);
    assert!(matches!(server.all().join("a//b"), Err(JoinError::InvalidName(_))));
    assert!(matches!(server.room("empty").join(""), Err(JoinError::InvalidName(_))), "also without members");
    assert_eq!(server.rooms(), ["other", "team"]);
}

#[tokio::test]
async fn disconnected_audience_receives_the_message() {
    let (server, [ada, bob, eve], _) = three(Limits::new()).await;
    let second = Client::builder().auth(Login::new("ada")).connect_local(&server).await.unwrap();
    server.users(["ada"]).disconnect("banned");
    for client in [&ada, &second] {
        assert_eq!(within(client.disconnected()).await, DisconnectReason::Kicked("banned".into()));
    }
    assert!(bob.is_connected() && eve.is_connected());
    server.all().disconnect("closing time");
    for client in [&bob, &eve] {
        assert_eq!(within(client.disconnected()).await.message(), Some("closing time"));
    }
    eventually("all sockets have left", || server.sockets().is_empty()).await;
}

#[tokio::test]
async fn disconnect_hook_reads_the_rooms_of_the_socket() {
    let (sender, mut received) = unbounded_channel();
    let server = players()
        .connected(move |socket: Socket<Player>| {
            let sender = sender.clone();
            async move {
                socket.join("lobby").unwrap();
                socket.join("left before").unwrap();
                socket.join("team").unwrap();
                socket.leave("left before");
                let leaving = socket.clone();
                socket.on_disconnect(|_| async move {
                    let is_in = ["lobby", "left before"].map(|room| leaving.is_in(room));
                    let members = leaving.server().room("lobby").sockets().len();
                    sender.send((leaving.rooms(), is_in, members)).unwrap();
                });
            }
        })
        .build();
    // The client closes the session, and then the server does.
    for ends_by_server in [false, true] {
        let client = Client::builder().auth(Login::new("ada")).connect_local(&server).await.unwrap();
        if ends_by_server {
            server.room("lobby").disconnect("bye");
        } else {
            drop(client);
        }
        let rooms = vec!["lobby".to_owned(), "team".to_owned()];
        assert_eq!(within(received.recv()).await, Some((rooms, [true, false], 0)));
    }
    assert!(server.rooms().is_empty());
}
