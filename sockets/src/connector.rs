//! Opens connections to a server. The name of the server may have several addresses.
//!
//! The client tries the addresses as in RFC 8305, alternating between IPv6 and IPv4. When an
//! attempt has failed or 250 ms have passed, the next attempt starts. Up to eight attempts run in
//! parallel.
//!
//! An attempt succeeds when the server has responded. An open connection is not enough: a proxy or
//! a stuck process may accept a connection and never send anything. The handshakes of TLS and
//! WebSocket are such a response. Over plain TCP, the client sends a probe, which contains no
//! login, and the server responds to the probe.
//!
//! A login may be valid only once, so it must reach only a single server. The client therefore
//! sends its hello only over the connection with the first response.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{sleep, timeout};

use crate::{
    address::Address,
    connect_error::ConnectError,
    handshake::{self, ProbeResult},
    hooks,
    limits::Limits,
    peer_label::PeerLabel,
    transport::{ClientOptions, Link, open_at, resolve},
};

/// The delay before the next address is tried, as RFC 8305 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The maximum number of parallel attempts. If a further attempt starts, the oldest is dropped.
const MAX_PARALLEL: usize = 8;

/// The server to which a client connects.
#[derive(Clone)]
pub(crate) enum Destination {
    Address(Address),
    /// A user's function that opens a stream for each connection.
    Connector(Arc<Connector>),
}

pub(crate) type Connector = dyn Fn() -> BoxFuture<'static, io::Result<Link>> + Send + Sync;

impl Destination {
    /// Opens a connection within [`Limits::authentication`].
    pub(crate) async fn open(&self, options: &ClientOptions, limits: &Limits) -> Result<Link, ConnectError> {
        match self {
            Self::Address(address) => open(address, options, limits).await,
            Self::Connector(connector) => {
                let opening = hooks::run_future("connect_with", PeerLabel::Server, || connector());
                let opened = timeout(limits.authentication, opening).await;
                let opened = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                Ok(opened.unwrap_or_else(|| Err(io::Error::other("the connector panicked")))?)
            }
        }
    }
}

/// Opens a connection within [`Limits::authentication`]. This time includes TLS and the upgrade to
/// WebSocket.
async fn open(address: &Address, options: &ClientOptions, limits: &Limits) -> Result<Link, ConnectError> {
    let opening = async {
        let targets = resolve(address).await?;
        open_any(address, &interleaved(targets), options).await
    };
    let opened = timeout(limits.authentication, opening).await;
    opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Opens a connection to the first of these targets that responds.
async fn open_any(
    address: &Address,
    targets: &[Option<SocketAddr>],
    options: &ClientOptions,
) -> Result<Link, ConnectError> {
    if let [target] = targets {
        return open_at(address, *target, options).await;
    }
    let attempts = targets.iter().map(|target| {
        if matches!(address, Address::Tcp(_)) {
            open_and_probe(address, *target, options).boxed()
        } else {
            open_at(address, *target, options).boxed()
        }
    });
    race(attempts.collect()).await
}

/// Opens a connection to any of several targets, and waits until the server responds.
async fn open_and_probe(
    address: &Address,
    target: Option<SocketAddr>,
    options: &ClientOptions,
) -> Result<Link, ConnectError> {
    let mut link = open_at(address, target, options).await?;
    match handshake::probe(&mut link).await? {
        ProbeResult::Available => Ok(link),
        // The server does not support probes: it has responded to the probe by closing the
        // connection. So the client opens another connection for its hello.
        ProbeResult::Unsupported => open_at(address, target, options).await,
    }
}

/// Runs up to [`MAX_PARALLEL`] attempts in parallel. When an attempt has failed or
/// [`ATTEMPT_DELAY`] has passed, the next attempt starts. The first success cancels the other
/// attempts.
async fn race<T>(attempts: Vec<BoxFuture<'_, Result<T, ConnectError>>>) -> Result<T, ConnectError> {
    let mut attempts = attempts.into_iter();
    let mut running = VecDeque::new();
    let mut failure: Option<ConnectError> = None;
    loop {
        if let Some(next) = attempts.next() {
            if running.len() == MAX_PARALLEL {
                running.pop_front();
            }
            running.push_back(next);
        }
        tokio::select! {
            outcome = poll_fn(|cx| poll_first(&mut running, cx)) => match outcome {
                Some(Ok(won)) => return Ok(won),
                Some(Err(error)) => failure = Some(more_informative(failure, error)),
                None => return Err(failure.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())),
            },
            () = sleep(ATTEMPT_DELAY), if attempts.len() > 0 => {}
        }
    }
}

/// Removes the first completed attempt and returns its outcome. Returns `None` if `running` is
/// empty.
fn poll_first<T>(running: &mut VecDeque<BoxFuture<'_, T>>, cx: &mut Context<'_>) -> Poll<Option<T>> {
    if running.is_empty() {
        return Poll::Ready(None);
    }
    for index in 0..running.len() {
        if let Poll::Ready(outcome) = running[index].poll_unpin(cx) {
            drop(running.remove(index));
            return Poll::Ready(Some(outcome));
        }
    }
    Poll::Pending
}

/// Returns the more informative of two failures. A connection that the system refused is the less
/// informative failure, since its address may belong to an unrelated host.
fn more_informative(former: Option<ConnectError>, latter: ConnectError) -> ConnectError {
    match former {
        Some(former) if !matches!(former, ConnectError::Unreachable(_)) => former,
        _ => latter,
    }
}

/// Sorts targets so that IPv6 and IPv4 alternate, starting with the family of the first target.
/// Keeps the order within each family.
fn interleaved(targets: Vec<Option<SocketAddr>>) -> Vec<Option<SocketAddr>> {
    let is_like_first = |target: &Option<SocketAddr>| {
        target.map(|target| target.is_ipv4()) == targets[0].map(|target| target.is_ipv4())
    };
    let (mut first_family, mut other_family): (Vec<_>, Vec<_>) = targets.iter().copied().rev().partition(is_like_first);
    let mut all = Vec::with_capacity(targets.len());
    while !first_family.is_empty() || !other_family.is_empty() {
        all.extend(first_family.pop());
        all.extend(other_family.pop());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::atomic::{AtomicU32, Ordering},
    };

    use tokio::{
        net::TcpListener,
        time::{Instant, timeout},
    };

    use super::*;
    use crate::{refusal::Refusal, server::Server};

    type Attempt = BoxFuture<'static, Result<u32, ConnectError>>;

    fn never() -> Attempt {
        Box::pin(pending())
    }

    fn fails(kind: io::ErrorKind) -> Attempt {
        Box::pin(ready(Err(io::Error::from(kind).into())))
    }

    fn wins(number: u32, after: Duration) -> Attempt {
        Box::pin(async move {
            sleep(after).await;
            Ok(number)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_without_response_starts_the_next_after_the_delay() {
        let began = Instant::now();
        let won = race(vec![never(), never(), wins(3, Duration::ZERO)]).await;
        assert_eq!(won.unwrap(), 3);
        assert!(began.elapsed() < 2 * ATTEMPT_DELAY + Duration::from_millis(10), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn failed_attempt_starts_the_next_immediately() {
        let began = Instant::now();
        let attempts = [fails(io::ErrorKind::ConnectionRefused), wins(2, Duration::ZERO)];
        assert_eq!(race(attempts.into()).await.unwrap(), 2);
        assert!(began.elapsed() < ATTEMPT_DELAY, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn first_attempt_to_complete_wins() {
        let attempts = [wins(1, 2 * ATTEMPT_DELAY), wins(2, 3 * ATTEMPT_DELAY)];
        assert_eq!(race(attempts.into()).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connection_does_not_hide_handshake_failure() {
        let handshake = || -> Attempt { Box::pin(ready(Err(ConnectError::Handshake("no".into())))) };
        let failed = race(vec![handshake(), fails(io::ErrorKind::ConnectionRefused)]).await;
        assert!(matches!(failed, Err(ConnectError::Handshake(_))), "{failed:?}");
        let failed = race(Vec::<Attempt>::new()).await;
        assert!(matches!(failed, Err(ConnectError::Unreachable(_))), "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn parallel_attempts_are_limited() {
        let alive = Arc::new(());
        let attempts = (0..40).map(|_| -> Attempt {
            let alive = Arc::downgrade(&alive);
            Box::pin(async move {
                let _running = alive.upgrade();
                pending().await
            })
        });
        let mut attempts: Vec<_> = attempts.collect();
        attempts.push(wins(41, Duration::ZERO));
        let mut running = Box::pin(race(attempts));
        for _ in 0..30 {
            assert!(timeout(ATTEMPT_DELAY, &mut running).await.is_err());
            assert!(Arc::strong_count(&alive) <= 1 + MAX_PARALLEL);
        }
        assert_eq!(running.await.unwrap(), 41, "all addresses are tried");
    }

    #[cfg(feature = "ws")]
    #[tokio::test]
    async fn websocket_without_hello_needs_no_probe() {
        use crate::transport::{ConnectInfo, websocket};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let targets = [Some(listener.local_addr().unwrap()); 2];
        let silent = tokio::spawn(async move {
            let (read, write) = listener.accept().await.unwrap().0.into_split();
            let policy = Arc::new(websocket::UpgradePolicy::new(&websocket::Origins::default(), "/".to_owned()));
            let _upgraded = websocket::accept(read, write, policy, ConnectInfo::over("ws")).await;
            pending::<()>().await;
        });
        let (address, options) = (Address::parse("ws://127.0.0.1:1").unwrap(), ClientOptions::default());
        let opening = timeout(Duration::from_secs(5), open_any(&address, &targets, &options));
        assert!(opening.await.expect("a WebSocket needs no probe").is_ok());
        silent.abort();
    }

    #[test]
    fn address_families_alternate() {
        let addresses = |list: &[&str]| list.iter().map(|text| Some(text.parse().unwrap())).collect::<Vec<_>>();
        let resolved = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let expected = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(resolved), expected);
        assert_eq!(interleaved(vec![None]), [None]);
    }

    /// Returns a server that counts logins. Each authentication takes twice the delay between two
    /// attempts to connect.
    async fn counting_server(url: &str, logins: &Arc<AtomicU32>) -> Server {
        let logins = Arc::clone(logins);
        let authenticate = move |(): ()| {
            logins.fetch_add(1, Ordering::Relaxed);
            async {
                sleep(2 * ATTEMPT_DELAY).await;
                Ok::<_, Refusal>(())
            }
        };
        Server::builder().authenticate(authenticate).bind(url).await.unwrap()
    }

    /// Opens a connection to any of these targets and performs the handshake.
    async fn connect_to_any(scheme: &str, targets: &[SocketAddr]) -> Result<(), ConnectError> {
        let address = Address::parse(&format!("{scheme}://127.0.0.1:1")).unwrap();
        let (options, limits) = (ClientOptions::default(), Limits::default());
        let targets: Vec<_> = targets.iter().copied().map(Some).collect();
        let mut link = open_any(&address, &targets, &options).await?;
        let deadline = Instant::now() + Duration::from_secs(5);
        handshake::send_hello(&mut link, &limits, &options.compression, Vec::new(), None, deadline).await.map(drop)
    }

    fn schemes() -> Vec<&'static str> {
        if cfg!(feature = "ws") { vec!["tcp", "ws"] } else { vec!["tcp"] }
    }

    #[tokio::test]
    async fn unresponsive_address_does_not_delay_connection() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for scheme in schemes() {
            let logins = Arc::default();
            let server = counting_server(&format!("{scheme}://127.0.0.1:0"), &logins).await;
            let targets = [silent.local_addr().unwrap(), server.local_addr()];
            let began = Instant::now();
            timeout(Duration::from_secs(5), connect_to_any(scheme, &targets)).await.unwrap().unwrap();
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            assert_eq!(logins.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn login_is_sent_to_one_address() {
        for scheme in schemes() {
            let url = format!("{scheme}://127.0.0.1:0");
            let logins = Arc::default();
            let (first, second) = (counting_server(&url, &logins).await, counting_server(&url, &logins).await);
            connect_to_any(scheme, &[first.local_addr(), second.local_addr()]).await.unwrap();
            assert_eq!(logins.load(Ordering::Relaxed), 1, "authentication takes longer than the delay");
        }
    }

    #[tokio::test]
    async fn refusing_address_is_followed_by_the_next() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let logins = Arc::default();
        let server = counting_server("tcp://127.0.0.1:0", &logins).await;
        connect_to_any("tcp", &[closed, server.local_addr()]).await.unwrap();
        assert!(connect_to_any("tcp", &[closed, closed]).await.is_err());
    }
}
