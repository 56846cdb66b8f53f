//! The builder of a server: methods that accumulate, and clones.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sockets::{Admission, Client, ConnectError, Refusal, Server, Socket};
use sockets_tests::*;

tcp_and_memory! {
    async fn connected_hooks_run_in_the_order_of_their_addition(net: Transport) {
        let server = net.serve(players()
            .connected(|socket: Socket<Player>| async move {
                tokio::task::yield_now().await;
                socket.join("first").unwrap();
            })
            .connected(|socket: Socket<Player>| async move {
                assert_eq!(socket.rooms(), ["first"]);
                socket.join("second").unwrap();
            })).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(server.rooms(), ["first", "second"]);
    }

    async fn connected_hook_after_a_refusal_does_not_run(net: Transport) {
        let later = Arc::new(AtomicUsize::new(0));
        let ran = Arc::clone(&later);
        let server = net.serve(Server::builder()
            .connected(|_| async { Err(Refusal::new("not today")) })
            .connected(move |_| {
                ran.fetch_add(1, Ordering::Relaxed);
                async {}
            })).await;
        let refused = net.try_connect(&server, Client::builder()).await;
        assert_eq!(refused.err(), Some(ConnectError::Refused(Refusal::new("not today"))));
        assert_eq!(later.load(Ordering::Relaxed), 0);
    }

    async fn authentication_may_return_an_admission(net: Transport) {
        let builder = Server::builder().authenticate(|id: u32| async move { Ok(Admission::new(id)) });
        let server = net.serve(builder).await;
        let _client = net.connect(&server, Client::builder().auth(7_u32)).await;
        assert!(server.socket(&7).is_some_and(|socket| *socket.identity() == 7));
    }

    async fn clone_of_a_builder_builds_an_independent_server(net: Transport) {
        let builder = players().connected(|socket: Socket<Player>| async move { Ok(socket.join("all")?) });
        let (first, second) = (net.serve(builder.clone()).await, net.serve(builder).await);
        let _ada = net.join(&first, "ada", Client::builder()).await;
        assert_eq!((first.room("all").sockets().len(), second.sockets().len()), (1, 0));
        let _ben = net.join(&second, "ben", Client::builder()).await;
        assert_eq!((first.sockets().len(), second.room("all").sockets().len()), (1, 1));
    }
}
