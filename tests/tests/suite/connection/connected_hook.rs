//! The `connected` hook. Both `connect` and the calls of the client wait until the hook has
//! completed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{Client, Limits, Peer, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::unbounded_channel;

use super::is_retry;

every_transport! {
    async fn connect_waits_until_the_hook_has_called_the_client(net: Transport) {
        let finished = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&finished);
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let finished = Arc::clone(&set);
            async move {
                assert_eq!(socket.request::<u32>("color", &1_u32).await, Ok(2));
                tokio::time::sleep(Duration::from_millis(50)).await;
                finished.store(true, Ordering::SeqCst);
            }
        })).await;
        let client = net.connect(&server, Client::builder().first_session(|peer| async move {
            peer.listen("color", |n: u32| async move { n + 1 });
        })).await;
        assert!(finished.load(Ordering::SeqCst));
        assert!(client.is_connected());
    }

    async fn client_calls_wait_for_the_hook_and_keep_their_order(net: Transport) {
        let (ready, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (set, counted) = (Arc::clone(&ready), Arc::clone(&received));
        let limits = Limits::new().calls_in_flight(4);
        let server = net.serve(Server::builder().limits(limits).connected(move |socket: Socket| {
            let (ready, received) = (Arc::clone(&set), Arc::clone(&counted));
            async move {
                let opened = Arc::clone(&ready);
                socket.listen("early", move |n: usize| {
                    assert!(opened.load(Ordering::SeqCst), "the call was not held");
                    assert_eq!(received.fetch_add(1, Ordering::SeqCst), n);
                    async move { n }
                });
                // The client sends its own calls while it answers this request.
                assert_eq!(socket.request::<()>("hello", &()).await, Ok(()));
                tokio::time::sleep(Duration::from_millis(100)).await;
                ready.store(true, Ordering::SeqCst);
            }
        })).await;
        let (sender, early) = tokio::sync::oneshot::channel();
        let client = net.connect(&server, Client::builder().first_session(|peer| async move {
            peer.listen("hello", |(): ()| async {});
            for n in 0..20_usize {
                peer.emit("early", &n).await.unwrap();
            }
            sender.send(peer.request::<usize>("early", &20_usize).await).unwrap();
        })).await;
        assert_eq!(early.await.unwrap(), Ok(20));
        assert_eq!(client.request::<usize>("early", &21_usize).await, Ok(21));
    }
}

tcp_and_memory! {
    async fn hook_panic_ends_only_its_connection(net: Transport) {
        let count = AtomicUsize::new(0);
        let server = Server::builder().connected(move |_: Socket| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            async move { assert!(!first, "the test requests a panic") }
        });
        let server = net.serve(server).await;
        let outcome = within(net.try_connect(&server, Client::builder())).await;
        assert!(is_retry(&outcome), "{outcome:?}");
        let client = net.connect(&server, Client::builder()).await;
        assert!(client.is_connected());
    }

    async fn hook_that_cannot_join_a_room_is_a_retry(net: Transport) {
        let server = net.serve(Server::builder().connected(|socket: Socket| async move {
            socket.join("secret//room")?;
            Ok(())
        })).await;
        let outcome = within(net.try_connect(&server, Client::builder())).await;
        assert!(is_retry(&outcome), "{outcome:?}");
        let error = outcome.unwrap_err().to_string();
        assert!(!error.contains("secret"), "the client receives no internals: {error}");
    }

    async fn connect_waits_for_the_hook(net: Transport) {
        let server = net.serve(players().connected(|socket: Socket<Player>| async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            socket.join("late").unwrap();
        })).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(server.room("late").sockets().len(), 1);
    }

    async fn hook_requests_a_connecting_client(net: Transport) {
        let (votes, mut voted) = unbounded_channel();
        let server = net.serve(players().connected(move |socket: Socket<Player>| {
            let votes = votes.clone();
            async move {
                let vote = LobbyClient::new(&socket).vote(vec!["tea".into()]).await;
                votes.send(vote).unwrap();
            }
        })).await;
        let (voter, _heard) = Voter::new("tea");
        let _client = net.join(&server, "ada", Client::builder().serve(LobbyServer::new(voter))).await;
        assert_eq!(voted.try_recv().unwrap(), Ok("tea".into()));
    }

    async fn client_hook_listens_before_the_first_message(net: Transport) {
        let server = net.serve(players().connected(|socket: Socket<Player>| async move {
            socket.emit("welcome", &("first",)).await.unwrap();
        })).await;
        let (received, mut receives) = unbounded_channel();
        let client = Client::builder().first_session(move |peer: Peer| {
            peer.listen("welcome", move |(text,): (String,)| {
                received.send(text).unwrap();
                async {}
            });
            async {}
        });
        let _client = net.join(&server, "ada", client).await;
        assert_eq!(receives.recv().await.as_deref(), Some("first"));
    }
}
