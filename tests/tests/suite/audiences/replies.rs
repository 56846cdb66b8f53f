//! Broadcast requests. The caller receives a single outcome for each member, and then the end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use sockets::{CallError, Client, Replies, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[sockets::group("Poll")]
trait Poll {
    async fn answer(&self) -> Result<u32, String>;
    async fn plain(&self) -> u32;
}

#[derive(Clone, Copy)]
enum Manner {
    Answers,
    Errs,
    Hangs,
    Panics,
}

struct Member {
    manner: Manner,
    doing: UnboundedSender<&'static str>,
}

struct Guard(UnboundedSender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Poll for Member {
    async fn answer(&self) -> Result<u32, String> {
        let _ = self.doing.send("asked");
        match self.manner {
            Manner::Answers => Ok(7),
            Manner::Errs => Err("no opinion".into()),
            Manner::Panics => panic!("this is meant to happen"),
            Manner::Hangs => {
                let _guard = Guard(self.doing.clone());
                std::future::pending().await
            }
        }
    }

    async fn plain(&self) -> u32 {
        self.answer().await.unwrap()
    }
}

/// Connects a client that answers in this manner. Returns the client and a receiver of its events.
async fn member(
    net: Transport,
    server: &Server<Player>,
    name: &str,
    manner: Manner,
) -> (Client, UnboundedReceiver<&'static str>) {
    let (doing, does) = unbounded_channel();
    let client = Client::builder().serve(PollServer::new(Member { manner, doing }));
    (net.join(server, name, client).await, does)
}

type Outcomes<T, E> = BTreeMap<String, Result<T, CallError<E>>>;

/// A timeout of calls. It is long enough for several handlers that panic at the same time and write
/// their backtraces.
const BEYOND_A_PANIC: Duration = Duration::from_millis(1500);

/// Collects all outcomes, and asserts that each socket has a single outcome.
async fn outcomes<T, E, S>(replies: S) -> Outcomes<T, E>
where
    S: Stream<Item = (Socket<Player>, Result<T, CallError<E>>)> + Unpin,
{
    let all: Vec<_> = replies.map(|(socket, outcome)| (socket.identity().name.clone(), outcome)).collect().await;
    let count = all.len();
    let outcomes: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(outcomes.len(), count, "one outcome for each socket");
    outcomes
}

tcp_and_memory! {
    async fn broadcast_request_has_one_outcome_for_each_member(net: Transport) {
        let server = net.serve(players()).await;
        let mut members = Vec::new();
        for (name, manner) in [
            ("answers", Manner::Answers),
            ("errs", Manner::Errs),
            ("hangs", Manner::Hangs),
            ("panics", Manner::Panics),
            ("leaves", Manner::Hangs),
            ("is kicked", Manner::Hangs),
        ] {
            members.push(member(net, &server, name, manner).await);
        }
        let _deaf = net.join(&server, "serves nothing", Client::builder()).await;

        let started = Instant::now();
        let asked = PollClient::new(&server.all()).with_timeout(BEYOND_A_PANIC).answer();
        let (leaver, mut leaving) = members.remove(4);
        assert_eq!(leaving.recv().await, Some("asked"));
        drop(leaver);
        server.socket("is kicked").unwrap().disconnect("out");
        // This member connects after the request was sent, so it must not be asked.
        let _late = member(net, &server, "late", Manner::Answers).await;

        let outcomes = outcomes(asked).await;
        assert_eq!(outcomes.len(), 7, "{outcomes:?}");
        assert_eq!(outcomes["answers"], Ok(7));
        assert_eq!(outcomes["errs"], Err(CallError::Handler("no opinion".into())));
        assert_eq!(outcomes["hangs"], Err(CallError::Timeout));
        assert_eq!(outcomes["panics"], Err(CallError::Panicked));
        assert_eq!(outcomes["serves nothing"], Err(CallError::NoSuchMethod));
        assert!(matches!(outcomes["leaves"], Err(CallError::Disconnected { .. })), "{outcomes:?}");
        assert!(matches!(outcomes["is kicked"], Err(CallError::Disconnected { .. })), "{outcomes:?}");
        assert!(started.elapsed() >= BEYOND_A_PANIC);
    }

    async fn infallible_broadcast_request_has_one_outcome_for_each(net: Transport) {
        let server = net.serve(players()).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let _panics = member(net, &server, "panics", Manner::Panics).await;
        let _hangs = member(net, &server, "hangs", Manner::Hangs).await;
        let asked: Replies<Player, u32> =
            PollClient::new(&server.all()).with_timeout(BEYOND_A_PANIC).plain();
        let outcomes = outcomes(asked).await;
        assert_eq!(outcomes["answers"], Ok(7));
        assert_eq!(outcomes["panics"], Err(CallError::Panicked));
        assert_eq!(outcomes["hangs"], Err(CallError::Timeout));
        assert_eq!(outcomes.len(), 3);
    }

    async fn replies_arrive_as_members_answer(net: Transport) {
        let server = net.serve(players()).await;
        let _hangs = member(net, &server, "hangs", Manner::Hangs).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let mut asked = PollClient::new(&server.all()).answer();
        let (socket, answer) = asked.next().await.unwrap();
        assert_eq!((socket.identity().name.as_str(), answer), ("answers", Ok(7)));
        never("a handler that hangs has replied", asked.next()).await;
    }

    async fn broadcast_request_is_sent_before_replies_are_polled(net: Transport) {
        let server = net.serve(players()).await;
        let (_client, mut does) = member(net, &server, "answers", Manner::Answers).await;
        let asked = PollClient::new(&server.all()).answer();
        assert_eq!(does.recv().await, Some("asked"));
        assert_eq!(outcomes(asked).await.len(), 1);
    }

    async fn dropped_replies_cancel_open_requests(net: Transport) {
        let server = net.serve(players()).await;
        let (_one, mut one) = member(net, &server, "one", Manner::Hangs).await;
        let (_two, mut two) = member(net, &server, "two", Manner::Hangs).await;
        let (_fine, _) = member(net, &server, "answers", Manner::Answers).await;
        let mut asked = PollClient::new(&server.all()).answer();
        assert_eq!(asked.next().await.unwrap().0.identity().name, "answers");
        for does in [&mut one, &mut two] {
            assert_eq!(does.recv().await, Some("asked"));
            assert!(does.try_recv().is_err());
        }
        drop(asked);
        assert_eq!(one.recv().await, Some("dropped"));
        assert_eq!(two.recv().await, Some("dropped"));
    }

    async fn reply_callback_receives_each_reply(net: Transport) {
        let server = net.serve(players()).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let _errs = member(net, &server, "errs", Manner::Errs).await;
        let mut outcomes = BTreeMap::new();
        PollClient::new(&server.all())
            .answer()
            .for_each_reply(|socket: Socket<Player>, outcome| {
                outcomes.insert(socket.identity().name.clone(), outcome);
            })
            .await;
        assert_eq!(outcomes["answers"], Ok(7));
        assert_eq!(outcomes["errs"], Err(CallError::Handler("no opinion".into())));
        assert_eq!(outcomes.len(), 2);
    }

    async fn empty_audience_returns_no_replies(net: Transport) {
        let server = net.serve(players()).await;
        assert!(PollClient::new(&server.all()).answer().next().await.is_none());
        assert!(outcomes(PollClient::new(&server.room("empty")).answer()).await.is_empty());
    }

    async fn concurrent_broadcast_requests_are_kept_apart(net: Transport) {
        let server = net.serve(players()).await;
        let mut members = Vec::new();
        for n in 0..20 {
            let manner = if n % 2 == 0 { Manner::Answers } else { Manner::Errs };
            members.push(member(net, &server, &n.to_string(), manner).await);
        }
        let poll = PollClient::new(&server.all());
        let asked: Vec<_> = (0..10).map(|_| poll.answer()).collect();
        for asked in asked {
            let outcomes = outcomes(asked).await;
            assert_eq!(outcomes.len(), 20);
            for (name, outcome) in outcomes {
                assert_eq!(outcome.is_ok(), name.parse::<u32>().unwrap() % 2 == 0);
            }
        }
    }

    async fn dynamic_broadcast_request_has_one_outcome_for_each(net: Transport) {
        let server = net.serve(players()).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let _errs = member(net, &server, "errs", Manner::Errs).await;
        let _deaf = net.join(&server, "serves nothing", Client::builder()).await;
        let asked: Replies<Player, Result<u32, String>> = server.all().group("Poll").request("answer", &());
        let outcomes = outcomes(asked).await;
        assert_eq!(outcomes["answers"], Ok(Ok(7)));
        assert_eq!(outcomes["errs"], Ok(Err("no opinion".into())));
        assert_eq!(outcomes["serves nothing"], Err(CallError::NoSuchMethod));
        assert_eq!(outcomes.len(), 3);
    }

    async fn shutdown_completes_open_broadcast_requests(net: Transport) {
        let limits = sockets::Limits::new().shutdown_grace(Duration::from_millis(50));
        let server = net.serve(players().limits(limits)).await;
        let (_hangs, mut does) = member(net, &server, "hangs", Manner::Hangs).await;
        let (_other, _does_too) = member(net, &server, "hangs too", Manner::Hangs).await;
        let asked = PollClient::new(&server.all()).answer();
        assert_eq!(does.recv().await, Some("asked"));
        server.shutdown().await;
        let outcomes = outcomes(asked).await;
        assert_eq!(outcomes.len(), 2);
        let all_disconnected = outcomes.values().all(|outcome| matches!(outcome, Err(CallError::Disconnected { .. })));
        assert!(all_disconnected, "{outcomes:?}");
    }
}
