//! The end of a session. A session ends once, with a reason, after the peer has received all
//! earlier messages.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{CallError, Client, DisconnectReason, JoinError, Limits, Peer, Server, Socket, test_util::Link};
use sockets_tests::*;
use tokio::{sync::Notify, time::Instant};

every_transport! {
    async fn disconnect_arrives_after_earlier_emits(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let received = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&received);
        let client = net.connect(&server, Client::builder().first_session(|peer| async move {
            peer.listen("tick", move |(): ()| {
                counted.fetch_add(1, Ordering::Relaxed);
                async {}
            });
        })).await;
        let socket = server.sockets().remove(0);
        for _ in 0..500 {
            socket.emit("tick", &()).await.unwrap();
        }
        socket.disconnect("be nice");
        assert_eq!(client.disconnected().await.message(), Some("be nice"));
        assert_eq!(received.load(Ordering::Relaxed), 500);
        assert_eq!(socket.disconnected().await.message(), Some("be nice"));
    }
}

tcp_and_memory! {
    /// When the window is full, broadcasts wait in the session, whereas an emit to a single socket
    /// waits in its caller.
    async fn disconnect_arrives_after_broadcasts_with_a_small_window(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let received = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&received);
        let limits = Limits::new().calls_in_flight(4);
        let client = net.connect(&server, Client::builder().limits(limits).first_session(|peer| async move {
            peer.listen("tick", move |(): ()| {
                counted.fetch_add(1, Ordering::Relaxed);
                async {}
            });
        })).await;
        let socket = server.sockets().remove(0);
        for _ in 0..100 {
            server.all().emit("tick", &()).await.unwrap();
        }
        socket.disconnect("be nice");
        assert_eq!(client.disconnected().await.message(), Some("be nice"));
        assert_eq!(received.load(Ordering::Relaxed), 100);
    }

    async fn late_hook_runs_once(net: Transport) {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let counted = Arc::clone(&counted);
            async move {
                socket.on_disconnect(|_| async move { counted.fetch_add(1, Ordering::Relaxed); });
            }
        })).await;
        let client = net.connect(&server, Client::builder()).await;
        let socket = server.sockets().remove(0);
        socket.disconnect("one");
        drop(client);
        socket.disconnect("two");
        socket.disconnected().await;
        let (late, counted) = (Arc::new(Notify::new()), Arc::clone(&runs));
        let notify = Arc::clone(&late);
        socket.on_disconnect(|_| async move {
            counted.fetch_add(10, Ordering::Relaxed);
            notify.notify_one();
        });
        late.notified().await;
        eventually("both hooks have run", || runs.load(Ordering::Relaxed) == 11).await;
    }

    /// Handlers, listeners and hooks own the values that they captured. When a session ends, it
    /// drops all of them.
    async fn ended_session_drops_handlers_and_hooks(net: Transport) {
        let kept = Arc::new(());
        let running = Arc::new(AtomicUsize::new(0));
        let (given, counted) = (Arc::clone(&kept), Arc::clone(&running));
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let (kept, running) = (Arc::clone(&given), Arc::clone(&counted));
            async move {
                for _ in 0..3 {
                    let (kept, running) = (Arc::clone(&kept), Arc::clone(&running));
                    socket.listen("forever", move |(): ()| {
                        let kept = Arc::clone(&kept);
                        running.fetch_add(1, Ordering::Relaxed);
                        async move {
                            std::future::pending::<()>().await;
                            drop(kept);
                        }
                    });
                }
                let kept = Arc::clone(&kept);
                socket.on_disconnect(|_| async move { drop(kept) });
            }
        })).await;
        let before = Arc::strong_count(&kept);
        let client = net.connect(&server, Client::builder()).await;
        client.emit("forever", &()).await.unwrap();
        eventually("the handlers run", || running.load(Ordering::Relaxed) == 3).await;
        let socket = server.sockets().remove(0);
        drop(client);
        socket.disconnected().await;
        let since = Instant::now();
        eventually("everything is dropped", || Arc::strong_count(&kept) == before).await;
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    }

    async fn join_during_disconnect_leaves_no_member(net: Transport) {
        let server = net.serve(Server::builder()).await;
        for round in 0..100 {
            let client = net.connect(&server, Client::builder()).await;
            let socket = server.sockets().pop().unwrap();
            let joining = tokio::spawn({
                let socket = socket.clone();
                async move {
                    while socket.is_connected() {
                        let _ = socket.join(&format!("room {}", round % 3));
                        tokio::task::yield_now().await;
                    }
                    let _ = socket.join("late");
                }
            });
            if round % 2 == 0 { drop(client) } else { socket.disconnect("") }
            socket.disconnected().await;
            joining.await.unwrap();
            assert_eq!(server.rooms(), Vec::<String>::new());
            let last_rooms = socket.rooms();
            assert_eq!(socket.join("after the end"), Err(JoinError::Disconnected));
            assert_eq!(socket.rooms(), last_rooms, "they do not change after the end");
            assert!(server.sockets().is_empty());
        }
    }

    async fn disconnect_message_reaches_the_client(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        socket.disconnect("be nice");
        socket.disconnect("the second time changes nothing");
        let reason = client.disconnected().await;
        assert_eq!(reason.message(), Some("be nice"));
        assert!(reason.to_string().contains("be nice"), "{reason}");
        assert!(matches!(reason, DisconnectReason::Kicked(_)));
        net.wait_until_empty(&server).await;
    }
}

/// Fault 26 of RELIABILITY.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_connection_fails_the_calls_of_both_peers() {
    let running = Arc::new(Notify::new());
    let runs = Arc::clone(&running);
    let limits = Limits::new().calls_in_flight(2);
    let server = Server::builder().limits(limits).connected(move |socket: Socket| {
        let running = Arc::clone(&runs);
        async move {
            socket.listen("forever", move |(): ()| {
                running.notify_one();
                std::future::pending::<()>()
            });
        }
    });
    let server = server.build();
    let link = Link::to(&server);
    let client = once().first_session(|peer| async move {
        peer.listen("forever", |(): ()| std::future::pending::<()>());
    });
    let client = within(link.connect(client)).await.unwrap();
    let socket = server.sockets().remove(0);
    let call = |peer: &Peer| {
        let peer = peer.clone();
        tokio::spawn(async move { peer.request::<()>("forever", &()).await })
    };
    let first = call(client.as_peer());
    within(running.notified()).await;
    let executed = [first, call(client.as_peer())];
    within(running.notified()).await;
    let (waiting, from_server) = (call(client.as_peer()), call(socket.as_peer()));
    let mut votes = server.all().request::<()>("forever", &());
    tokio::time::sleep(Duration::from_millis(100)).await;
    link.cut();
    for executed in executed {
        assert!(matches!(within(executed).await.unwrap(), Err(CallError::Disconnected { maybe_executed: true, .. })));
    }
    assert!(matches!(within(waiting).await.unwrap(), Err(CallError::Disconnected { maybe_executed: false, .. })));
    assert!(matches!(within(from_server).await.unwrap(), Err(CallError::Disconnected { maybe_executed: true, .. })));
    assert!(matches!(within(votes.next()).await, Some((_, Err(CallError::Disconnected { .. })))));
    assert!(within(votes.next()).await.is_none());
    for reason in [within(client.disconnected()).await, within(socket.disconnected()).await] {
        assert!(matches!(reason, DisconnectReason::Lost(_)), "{reason:?}");
    }
    let late = client.request::<()>("forever", &()).await;
    assert!(matches!(late, Err(CallError::Disconnected { maybe_executed: false, .. })));
    assert!(matches!(client.emit("x", &()).await, Err(CallError::Disconnected { maybe_executed: false, .. })));
}

#[tokio::test]
async fn disconnect_by_a_handler_follows_its_reply() {
    let server = Server::builder().connected(|socket: Socket| async move {
        let caller = socket.clone();
        socket.listen("leave", move |(): ()| {
            caller.disconnect("bye");
            async { 7_u32 }
        });
    });
    let server = server.build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&reasons);
    client.on_disconnect(|reason| async move { noted.lock().unwrap().push(reason) });
    assert_eq!(within(client.request::<u32>("leave", &())).await, Ok(7));
    eventually("the hook has run", || reasons.lock().unwrap().len() == 1).await;
    assert_eq!(*reasons.lock().unwrap(), [DisconnectReason::Kicked("bye".into())]);
}
