//! Outcomes. Each request has a single outcome, and a failed call does not disturb the connection.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::join_all;
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeTuple},
};
use sockets::{CallError, Client, Server, Socket};
use sockets_tests::*;

use super::worker::{WorkClient, WorkServer, Worker};

/// A number whose `Serialize` panics or fails after its first bytes, unless the number is even.
struct Fragile(u32);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            return self.0.serialize(serializer);
        }
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element("the first bytes")?;
        assert_ne!(self.0, 1, "a panic of a reply");
        Err(S::Error::custom("a failure of a reply"))
    }
}

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
    /// Fault 66 of RELIABILITY.md.
    async fn failed_encoding_disturbs_no_other_reply(net: Transport) {
        let server = net.serve(Server::builder().connected(|socket: Socket| async move {
            socket.set_callback("number", |n: u32| async move { Fragile(n) });
        })).await;
        let client = net.connect(&server, Client::builder()).await;
        let calls: Vec<u32> = (0..20).map(|n| n % 4).collect();
        let results = join_all(calls.iter().map(|n| client.request::<u32>("number", n))).await;
        for (n, result) in calls.iter().zip(results) {
            match n {
                1 => assert_eq!(result, Err(CallError::Panicked)),
                3 => assert!(matches!(result, Err(CallError::Encode(_))), "{result:?}"),
                n => assert_eq!(result, Ok(*n)),
            }
        }
    }

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
