//! Outcomes. Each request has a single outcome, and a failed call does not disturb the connection.

use std::sync::{Arc, atomic::Ordering};

use sockets::{CallError, Client, Server};
use sockets_tests::*;

use super::worker::{WorkClient, WorkServer, Worker};

every_transport! {
    /// Fault 18 of RELIABILITY.md.
    async fn reply_error_and_panic_reach_the_caller(net: Transport) {
        let server = net.serve(Server::builder().serve(WorkServer::new(Worker::default()))).await;
        let client = net.connect(&server, Client::builder()).await;
        let work = WorkClient::new(&client);
        assert_eq!(work.double(21).await, Ok(42));
        assert_eq!(work.refuse("no").await, Err(CallError::Handler("no".to_owned())));
        assert_eq!(work.panics_at_once().await, Err(CallError::Panicked));
        assert_eq!(work.panics_later().await, Err(CallError::Panicked));
        assert_eq!(work.double(1).await, Ok(2));
    }
}

tcp_and_memory! {
    async fn failed_calls_leave_the_connection_usable(net: Transport) {
        let worker = Worker::default();
        let noted = Arc::clone(&worker.noted);
        let server = net.serve(Server::builder().serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder()).await;
        let (group, work) = (client.group("Work"), WorkClient::new(&client));
        assert_eq!(group.request::<u32>("nothing", &1_u32).await, Err(CallError::NoSuchMethod));
        assert_eq!(client.request::<u32>("double", &1_u32).await, Err(CallError::NoSuchMethod));
        assert_eq!(WorkClient::new(&server.sockets()[0]).double(1).await, Err(CallError::NoSuchMethod));
        match group.request::<()>("note", &1_u32).await {
            Err(CallError::SignatureMismatch(mismatch)) => assert_eq!(mismatch.method(), "Work/note"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(group.request::<u32>("double", &"words").await, Err(CallError::Decode(_))));
        assert!(matches!(group.request::<String>("double", &1_u32).await, Err(CallError::Decode(_))));
        for _ in 0..5000 {
            group.emit("nothing", &1_u32).await.unwrap();
            group.emit("double", &1_u32).await.unwrap();
            group.emit("note", &(1_u8, 2_u8)).await.unwrap();
        }
        work.note(3).await.unwrap();
        assert_eq!(work.double(1).await, Ok(2));
        eventually("the emit is received", || noted.load(Ordering::SeqCst) == 3).await;
    }
}
