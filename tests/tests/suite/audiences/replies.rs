//! Broadcast requests. The caller receives a single outcome for each member, and then the end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use sockets::{CallError, Client, Replies, Server};
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

/// Collects all outcomes, and asserts that each member has a single outcome.
async fn outcomes<T, E, S>(replies: S) -> Outcomes<T, E>
where
    S: Stream<Item = (sockets::Member<Player>, Result<T, CallError<E>>)> + Unpin,
{
    let all: Vec<_> = replies.map(|(member, outcome)| (member.identity().name.clone(), outcome)).collect().await;
    let count = all.len();
    let outcomes: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(outcomes.len(), count, "one outcome for each member");
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
        let (member, answer) = asked.next().await.unwrap();
        assert_eq!((member.identity().name.as_str(), answer), ("answers", Ok(7)));
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
            .for_each_reply(|member: sockets::Member<Player>, outcome| {
                outcomes.insert(member.identity().name.clone(), outcome);
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

    async fn first_ok_skips_errors_and_cancels_open_requests(net: Transport) {
        let server = net.serve(players()).await;
        let _errs = member(net, &server, "errs", Manner::Errs).await;
        let (_hangs, mut does) = member(net, &server, "hangs", Manner::Hangs).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let poll = PollClient::new(&server.all());
        let replies = poll.answer();
        // A request that is cancelled before its handler starts does not start it.
        assert_eq!(does.recv().await, Some("asked"));
        let (member, answer) = replies.first_ok().await.unwrap();
        assert_eq!((member.identity().name.as_str(), answer), ("answers", 7));
        assert_eq!(does.recv().await, Some("dropped"), "the open request is cancelled");

        let errs = PollClient::new(&server.users(["errs"]));
        assert!(errs.answer().first_ok().await.is_none());
        assert!(PollClient::new(&server.room("nobody")).answer().first_ok().await.is_none());
    }

    async fn quorum_returns_as_many_replies_as_asked_for(net: Transport) {
        let server = net.serve(players()).await;
        let _errs = member(net, &server, "errs", Manner::Errs).await;
        let _fine = [member(net, &server, "one", Manner::Answers).await, member(net, &server, "two", Manner::Answers).await];
        let without_hangs = server.clients(server.sockets());
        let (_hangs, mut does) = member(net, &server, "hangs", Manner::Hangs).await;
        let replies = PollClient::new(&server.all()).answer();
        assert_eq!(does.recv().await, Some("asked"));
        let two = replies.quorum(2).await;
        assert_eq!(two.iter().map(|(_, answer)| *answer).collect::<Vec<_>>(), [7, 7]);
        assert_eq!(does.recv().await, Some("dropped"), "the open request is cancelled");
        assert_eq!(PollClient::new(&without_hangs).answer().quorum(9).await.len(), 2, "there are no more");
        assert!(PollClient::new(&server.all()).answer().quorum(0).await.is_empty());
    }

    async fn outcomes_separates_replies_and_failures(net: Transport) {
        let server = net.serve(players()).await;
        let _errs = member(net, &server, "errs", Manner::Errs).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let (replies, failures) = PollClient::new(&server.all()).answer().outcomes().await;
        let [(fine, answer)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!((fine.identity().name.as_str(), *answer), ("answers", 7));
        let [(errs, error)] = &failures[..] else { panic!("{failures:?}") };
        assert_eq!(errs.identity().name, "errs");
        assert_eq!(*error, CallError::Handler("no opinion".into()));
    }

    async fn quiet_replies_end_and_cancel_open_requests(net: Transport) {
        let server = net.serve(players()).await;
        let (_hangs, mut does) = member(net, &server, "hangs", Manner::Hangs).await;
        let _fine = member(net, &server, "answers", Manner::Answers).await;
        let mut asked = PollClient::new(&server.all()).answer().until_quiet(Duration::from_millis(300));
        let (member, answer) = asked.next().await.unwrap();
        assert_eq!((member.identity().name.as_str(), answer, asked.open()), ("answers", Ok(7), 1));
        let began = Instant::now();
        assert!(asked.next().await.is_none());
        assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
        assert_eq!((asked.open(), asked.lost_nodes()), (0, 0));
        assert_eq!(does.recv().await, Some("asked"));
        assert_eq!(does.recv().await, Some("dropped"), "the open request is cancelled");
        assert!(asked.next().await.is_none());
    }

    async fn member_of_replies_is_a_target_and_can_be_excluded(net: Transport) {
        let server = net.serve(players()).await;
        let _one = member(net, &server, "one", Manner::Answers).await;
        let _two = member(net, &server, "two", Manner::Answers).await;
        let (member, _) = PollClient::new(&server.all()).answer().first_ok().await.unwrap();
        let socket = member.socket().unwrap();
        assert_eq!(socket.identity(), member.identity());
        assert_eq!(PollClient::new(&member).answer().await, Ok(7));
        let others = server.all().except(&member);
        assert_eq!(others.sockets(), server.all().except(&socket).sockets());
        assert_eq!(others.sockets().len(), 1);
        let members: Vec<_> = server.all().members().await.iter().filter_map(sockets::Member::socket).collect();
        assert_eq!(members, server.sockets());
    }
}
