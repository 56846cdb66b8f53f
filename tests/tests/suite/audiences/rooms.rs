//! Rooms. Sockets join and leave rooms, the server lists rooms, and an empty room ends.

#![allow(clippy::cloned_ref_to_slice_refs, reason = "`[socket.clone()]` is what a reader expects a list to be")]

use sockets::{Client, JoinError, Socket};
use sockets_tests::*;

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
        assert_eq!(server.room("r").sockets().len(), 2);
        assert_eq!(server.room("other").sockets(), std::slice::from_ref(&ada));

        ada.leave("r");
        ada.leave("r");
        ada.leave("never joined");
        assert_eq!(ada.rooms(), ["other"]);
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
        assert!(ada.rooms().is_empty());
        assert_eq!(ada.join("r"), Err(JoinError::Disconnected));
        assert!(server.rooms().is_empty(), "an ended socket joins no room");
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
