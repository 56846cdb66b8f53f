//! Errors of calls. Each error has its own variant, and the connection continues after every error.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sockets::{CallError, Client, DisconnectReason, Limits, Peer, Server, Socket};
use sockets_tests::*;
use tokio::sync::{Semaphore, mpsc};

#[sockets::group("Faults")]
trait Faults {
    async fn number(&self, n: u32) -> u32;
    async fn size(&self, text: &str) -> usize;
    async fn give(&self, size: usize) -> String;
    async fn wait(&self) -> Result<u32, String>;
    async fn fragile(&self) -> Fragile;
    #[emit]
    async fn note(&self, text: &str);
}

/// The same group, in which each request is an emit and each emit is a request.
mod misunderstood {
    #[sockets::group("Faults")]
    pub(crate) trait Faults {
        async fn note(&self, text: &str) -> u32;
        async fn unserved(&self) -> u32;
        #[emit]
        async fn number(&self, n: u32);
        #[emit]
        async fn unserved_emit(&self);
    }
}

#[derive(Clone)]
struct Desk {
    permits: Arc<Semaphore>,
    entered: mpsc::UnboundedSender<()>,
    notes: mpsc::UnboundedSender<String>,
}

impl Faults for Desk {
    async fn number(&self, n: u32) -> u32 {
        n
    }

    async fn size(&self, text: &str) -> usize {
        text.len()
    }

    async fn give(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn wait(&self) -> Result<u32, String> {
        let _ = self.entered.send(());
        self.permits.acquire().await.unwrap().forget();
        Ok(1)
    }

    async fn fragile(&self) -> Fragile {
        Fragile
    }

    async fn note(&self, text: &str) {
        let _ = self.notes.send(text.into());
    }
}

struct Office {
    server: Server<Player>,
    client: Client,
    permits: Arc<Semaphore>,
    entered: mpsc::UnboundedReceiver<()>,
    notes: mpsc::UnboundedReceiver<String>,
}

impl Office {
    async fn open(net: Transport, limits: Limits) -> Self {
        let ((entered, enters), (notes, noted)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let permits = Arc::new(Semaphore::new(0));
        let desk = Desk { permits: Arc::clone(&permits), entered, notes };
        let server = net.serve(players().limits(limits.clone()).serve(FaultsServer::new(desk.clone()))).await;
        let client = once().limits(limits).serve(FaultsServer::new(desk));
        let client = net.join(&server, "ada", client).await;
        Self { server, client, permits, entered: enters, notes: noted }
    }

    fn socket(&self) -> Socket<Player> {
        self.server.socket("ada").unwrap()
    }

    /// Returns both peers, so that a test can call in both directions.
    fn peers(&self) -> [Peer; 2] {
        [Peer::clone(self.client.as_peer()), Peer::clone(self.socket().as_peer())]
    }

    async fn is_unharmed(&self) {
        for peer in self.peers() {
            assert_eq!(FaultsClient::new(&peer).number(5).await, Ok(5));
        }
    }
}

every_transport! {
    async fn message_above_max_frame_fails_as_too_large(net: Transport) {
        let office = Office::open(net, Limits::new().max_frame(1024)).await;
        let (large, fits) = ("x".repeat(1025), "x".repeat(900));
        for peer in office.peers() {
            let faults = FaultsClient::new(&peer);
            let error = faults.size(&large).await.unwrap_err();
            assert!(matches!(error, CallError::TooLarge(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("1024 bytes") && text.contains("`Limits::max_frame`"), "{text}");
            let error = faults.note(&large).await.unwrap_err();
            assert!(matches!(error, CallError::TooLarge(_)), "{error:?}");
            let error = faults.give(1025).await.unwrap_err();
            let CallError::TooLarge(reply) = &error else { panic!("a reply: {error:?}") };
            assert!((1026..1050).contains(&reply.bytes()) && reply.limit() == 1024, "{reply:?}");
            let text = error.to_string();
            assert!(text.contains("1024 bytes") && text.contains("`Limits::max_frame`"), "{text}");
            assert_eq!(faults.size(&fits).await, Ok(900));
            assert_eq!(faults.give(900).await, Ok(fits.clone()));
        }
        let all = FaultsClient::new(&office.server.all());
        let error = all.note(&large).await.unwrap_err();
        assert!(matches!(error, CallError::TooLarge(_)), "{error:?}");
        let (_, outcome) = all.size(&large).next().await.unwrap();
        assert!(matches!(outcome, Err(CallError::TooLarge(_))), "{outcome:?}");
        office.is_unharmed().await;
    }

    async fn large_message_below_max_frame_arrives(net: Transport) {
        let office = Office::open(net, Limits::default()).await;
        let large = "x".repeat(4_000_000);
        for peer in office.peers() {
            assert_eq!(FaultsClient::new(&peer).size(&large).await, Ok(large.len()));
            assert_eq!(FaultsClient::new(&peer).give(large.len()).await.map(|text| text.len()), Ok(large.len()));
        }
    }
}

tcp_and_memory! {
    async fn unserved_method_fails_as_no_such_method(net: Transport) {
        let mut office = Office::open(net, Limits::default()).await;
        for peer in office.peers() {
            let faults = misunderstood::FaultsClient::new(&peer);
            assert_eq!(faults.unserved().await, Err(CallError::NoSuchMethod));
            assert_eq!(faults.unserved_emit().await, Ok(()), "an emit without a handler is dropped");
            assert_eq!(PurchasesClient::new(&peer).buy("axe", 1).await, Err(CallError::NoSuchMethod));
            assert_eq!(peer.request::<u32>("number", &1_u32).await, Err(CallError::NoSuchMethod));
            peer.group("Nowhere").emit("nothing", &(1, 2)).await.unwrap();
            FaultsClient::new(&peer).note("received").await.unwrap();
            assert_eq!(office.notes.recv().await.as_deref(), Some("received"));
        }
        office.is_unharmed().await;
    }

    async fn request_of_an_emit_fails_as_signature_mismatch(net: Transport) {
        let mut office = Office::open(net, Limits::default()).await;
        for peer in office.peers() {
            let faults = misunderstood::FaultsClient::new(&peer);
            let mismatch = faults.note("a request?").await.unwrap_err();
            assert!(matches!(mismatch, CallError::SignatureMismatch(_)), "{mismatch:?}");
            assert!(mismatch.to_string().contains("note"), "it names the method: {mismatch}");
            assert!(mismatch.to_string().contains("Faults"), "and its group: {mismatch}");
            let mismatch = faults.number(5).await.unwrap_err();
            assert!(matches!(mismatch, CallError::SignatureMismatch(_)), "an emit that is a request: {mismatch:?}");
            peer.group("Faults").emit("number", &5_u32).await.expect("an emit reports no mismatch");
            match peer.group("Faults").request::<()>("note", "by name").await.unwrap_err() {
                CallError::SignatureMismatch(mismatch) => {
                    assert_eq!(mismatch.method(), "Faults/note");
                    assert_eq!((mismatch.ours(), mismatch.theirs()), ("a request", "an emit"));
                }
                other => panic!("{other:?}"),
            }
        }
        office.is_unharmed().await;
        assert!(office.notes.try_recv().is_err(), "a request that was refused has not been executed");
    }

    async fn undecodable_argument_or_reply_fails_as_decode(net: Transport) {
        let office = Office::open(net, Limits::default()).await;
        for peer in office.peers() {
            let faults = peer.group("Faults");
            let decode = |error: CallError| assert!(matches!(error, CallError::Decode(_)), "{error:?}");
            decode(faults.request::<u32>("number", &()).await.unwrap_err());
            decode(faults.request::<u32>("number", &(1_u32, 2_u32)).await.unwrap_err());
            decode(faults.request::<usize>("size", &[255_u8, 1, 2][..]).await.unwrap_err());
            decode(faults.request::<String>("number", &1_u32).await.unwrap_err());
            decode(faults.request::<()>("number", &1_u32).await.unwrap_err());
            decode(faults.request::<(u32, u32)>("number", &1_u32).await.unwrap_err());
            faults.emit("note", &(u64::MAX, 1)).await.unwrap();
        }
        office.is_unharmed().await;
    }

    async fn unencodable_argument_or_reply_fails_as_encode(net: Transport) {
        let office = Office::open(net, Limits::default()).await;
        for peer in office.peers() {
            let broken = peer.request::<u32>("anything", &Fragile).await.unwrap_err();
            assert!(matches!(broken, CallError::Encode(_)), "{broken:?}");
            let broken = peer.emit("anything", &(1, Fragile)).await.unwrap_err();
            assert!(matches!(broken, CallError::Encode(_)), "{broken:?}");
            let broken = FaultsClient::new(&peer).fragile().await.unwrap_err();
            assert!(matches!(broken, CallError::Encode(_)), "{broken:?}");
        }
        let broken = office.server.all().emit("anything", &Fragile).await.unwrap_err();
        assert!(matches!(broken, CallError::Encode(_)), "{broken:?}");
        let (_, broken) = office.server.all().request::<u32>("anything", &Fragile).next().await.unwrap();
        assert!(matches!(broken, Err(CallError::Encode(_))), "{broken:?}");
        office.is_unharmed().await;
    }

    async fn requests_beyond_window_and_pending_fail_as_overloaded(net: Transport) {
        let office = Office::open(net, Limits::new().calls_in_flight(4)).await;
        for peer in office.peers() {
            let faults = FaultsClient::new(&peer);
            let calls: Vec<_> = (0..40)
                .map(|_| {
                    let faults = faults.clone();
                    tokio::spawn(async move { faults.wait().await })
                })
                .collect();
            let finished = || calls.iter().filter(|call| call.is_finished()).count();
            eventually("the rest is turned away", || finished() >= 20).await;
            office.permits.add_permits(40);
            let outcomes: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
            let fine = outcomes.iter().filter(|outcome| **outcome == Ok(1)).count();
            let turned_away = outcomes.iter().filter(|outcome| **outcome == Err(CallError::Overloaded)).count();
            assert_eq!(fine + turned_away, 40, "{outcomes:?}");
            assert!((4..=20).contains(&fine), "{outcomes:?}");
            office.permits.forget_permits(40);
        }
        office.is_unharmed().await;
    }

    async fn request_during_shutdown_fails_as_shutting_down(net: Transport) {
        let mut office = Office::open(net, Limits::default()).await;
        let client = office.client.clone();
        let under_way = tokio::spawn(async move { FaultsClient::new(&client).wait().await });
        office.entered.recv().await.unwrap();
        let server = office.server.clone();
        let shutdown = tokio::spawn(async move { server.shutdown().await });
        let refused = loop {
            match FaultsClient::new(&office.client).number(1).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, CallError::ShuttingDown);
        assert!(!shutdown.is_finished());
        office.permits.add_permits(1);
        assert_eq!(under_way.await.unwrap(), Ok(1), "a running handler completes");
        let promptly = tokio::time::timeout(Duration::from_secs(5), shutdown).await;
        promptly.expect("nothing is left to wait for").unwrap();
        assert!(matches!(office.client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: true, .. }));
    }

    async fn request_after_the_end_fails_as_disconnected(net: Transport) {
        let mut office = Office::open(net, Limits::default()).await;
        let client = office.client.clone();
        let under_way = tokio::spawn(async move { FaultsClient::new(&client).wait().await });
        office.entered.recv().await.unwrap();
        let [peer, socket] = office.peers();
        office.socket().disconnect("out");
        let cut = under_way.await.unwrap().unwrap_err();
        let reason = DisconnectReason::Kicked("out".into());
        let lost = CallError::Disconnected { maybe_executed: true, reason: reason.clone() };
        assert_eq!(cut, lost, "it was being executed");
        peer.disconnected().await;
        socket.disconnected().await;
        for peer in [peer, socket] {
            let gone = CallError::Disconnected { maybe_executed: false, reason: reason.clone() };
            assert_eq!(FaultsClient::new(&peer).number(1).await, Err(gone.clone()));
            assert_eq!(FaultsClient::new(&peer).note("x").await, Err(gone.clone()));
            assert_eq!(peer.request::<u32>("number", &1_u32).await, Err(gone));
            assert!(!peer.is_connected());
        }
    }
}

#[test]
fn overloaded_names_the_limits_that_can_apply() {
    let text = CallError::<u8>::Overloaded.to_string();
    for limit in ["`Limits::calls_in_flight`", "`Limits::bytes_in_flight`", "`Limits::outgoing_queue`"] {
        assert!(text.contains(limit), "{text}");
    }
}

#[test]
fn disconnect_reasons_display_their_messages() {
    let reasons = [
        DisconnectReason::Closed,
        DisconnectReason::PeerClosed,
        DisconnectReason::Lost("reset".into()),
        DisconnectReason::TooSlow,
        DisconnectReason::ProtocolViolation("nonsense".into()),
    ];
    let mut texts: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    assert!(reasons.iter().all(|reason| reason.message().is_none()));
    assert!(texts[2].contains("reset") && texts[4].contains("nonsense"));
    texts.dedup();
    assert_eq!(texts.len(), reasons.len());
    assert_eq!(DisconnectReason::Kicked(String::new()).message(), Some(""));
    assert_eq!(DisconnectReason::Refused(sockets::Refusal::new("no")).message(), Some("no"));
}
