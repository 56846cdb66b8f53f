//! A handler that reports the context of its calls.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sockets::{Call, Server};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) x: i64,
    pub(super) y: i64,
}

#[sockets::group("Calls")]
pub(super) trait Calls {
    async fn who(&self, call: &Call) -> Option<String>;
    #[allow(unused_qualifications, reason = "a `Call` is recognised in both forms")]
    async fn room_mates(&self, call: &sockets::Call, room: &str) -> Vec<String>;
    async fn time_left(&self, call: &Call) -> Duration;
    /// Asks for a socket with another identity. Returns the message of the panic.
    async fn strangers(&self, call: &Call) -> Option<String>;
    async fn ask_back(&self, call: &Call, question: String) -> String;
    #[emit]
    async fn greet_back(&self, call: &Call, name: &str);
    async fn hang(&self);
    #[request(timeout = "50ms")]
    async fn hang_briefly(&self);
    #[request(timeout = "2s")]
    async fn time_of_its_own(&self, call: &Call) -> Duration;
    async fn break_down(&self) -> u32;
    #[allow(clippy::too_many_arguments)]
    async fn many(
        &self,
        text: &str,
        bytes: &[u8],
        point: &Point,
        maybe: Option<Point>,
        list: Vec<(u8, String)>,
        map: BTreeMap<String, u64>,
        letter: char,
    ) -> (usize, Point, Option<Point>, Vec<(u8, String)>, BTreeMap<String, u64>, char);
    async fn nothing(&self);
    async fn nested(&self, fine: bool) -> Result<Result<u8, String>, Option<PurchaseError>>;
}

pub(super) struct Answers {
    pub(super) ended: UnboundedSender<&'static str>,
}

struct Guard<'a>(&'a UnboundedSender<&'static str>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Calls for Answers {
    async fn who(&self, call: &Call) -> Option<String> {
        Some(call.socket::<Player>()?.identity().name.clone())
    }

    async fn room_mates(&self, call: &Call, room: &str) -> Vec<String> {
        call.socket::<Player>().unwrap().join(room).unwrap();
        let server: Server<Player> = call.server().unwrap();
        server.room(room).sockets().iter().map(|socket| socket.identity().name.clone()).collect()
    }

    async fn time_left(&self, call: &Call) -> Duration {
        call.deadline().saturating_duration_since(Instant::now())
    }

    async fn strangers(&self, call: &Call) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(|| call.socket::<u64>().is_none() && call.server::<()>().is_none()));
        panic.err()?.downcast_ref().cloned()
    }

    async fn ask_back(&self, call: &Call, question: String) -> String {
        LobbyClient::new(call.peer()).vote(vec![question]).await.unwrap()
    }

    async fn greet_back(&self, call: &Call, name: &str) {
        LobbyClient::new(call.peer()).message(&format!("hello, {name}")).await.unwrap();
    }

    async fn hang(&self) {
        let _guard = Guard(&self.ended);
        self.ended.send("started").unwrap();
        std::future::pending::<()>().await;
    }

    async fn hang_briefly(&self) {
        self.hang().await;
    }

    async fn time_of_its_own(&self, call: &Call) -> Duration {
        self.time_left(call).await
    }

    async fn break_down(&self) -> u32 {
        panic!("this is meant to happen")
    }

    async fn many(
        &self,
        text: &str,
        bytes: &[u8],
        point: &Point,
        maybe: Option<Point>,
        list: Vec<(u8, String)>,
        map: BTreeMap<String, u64>,
        letter: char,
    ) -> (usize, Point, Option<Point>, Vec<(u8, String)>, BTreeMap<String, u64>, char) {
        (text.len() + bytes.len(), point.clone(), maybe, list, map, letter)
    }

    async fn nothing(&self) {}

    async fn nested(&self, fine: bool) -> Result<Result<u8, String>, Option<PurchaseError>> {
        if fine { Ok(Err("inner".into())) } else { Err(Some(PurchaseError::SoldOut)) }
    }
}

pub(super) fn answers() -> CallsServer<Answers> {
    CallsServer::new(Answers { ended: unbounded_channel().0 })
}
