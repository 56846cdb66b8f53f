//! The handler of a method with `detached` runs to completion, whatever happens to its call. Only
//! the shutdown of its server stops it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sockets::{CallError, Client, Limits, Server, ServerBuilder, Shutdown};
use sockets_tests::*;
use tokio::sync::Semaphore;

#[sockets::group("Payments")]
trait Payments {
    #[request(detached)]
    async fn pay(&self);
    #[request(detached, timeout = "50ms")]
    async fn pay_quickly(&self);
    #[emit(detached)]
    async fn log(&self);
}

#[derive(Default)]
struct State {
    started: AtomicU32,
    completed: AtomicU32,
    stopped: AtomicU32,
}

impl State {
    fn counts(&self) -> [u32; 3] {
        [&self.started, &self.completed, &self.stopped].map(|count| count.load(Ordering::SeqCst))
    }
}

/// A handler that waits for permits of the test.
struct Desk {
    state: Arc<State>,
    permits: Arc<Semaphore>,
}

/// Counts a handler that is dropped before it has completed.
struct CountStop<'a>(&'a State);

impl Drop for CountStop<'_> {
    fn drop(&mut self) {
        self.0.stopped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Desk {
    async fn work(&self) {
        let stop = CountStop(&self.state);
        self.state.started.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.expect("it is open").forget();
        std::mem::forget(stop);
        self.state.completed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Payments for Desk {
    async fn pay(&self) {
        self.work().await;
    }

    async fn pay_quickly(&self) {
        self.work().await;
    }

    async fn log(&self) {
        self.work().await;
    }
}

fn desk() -> (ServerBuilder, Arc<State>, Arc<Semaphore>) {
    let (state, permits) = (Arc::<State>::default(), Arc::new(Semaphore::new(0)));
    let desk = Desk { state: Arc::clone(&state), permits: Arc::clone(&permits) };
    (Server::builder().serve(PaymentsServer::new(desk)), state, permits)
}

tcp_and_memory! {
    async fn detached_handler_outlives_its_cancelled_call(net: Transport) {
        let (builder, state, permits) = desk();
        let server = net.serve(builder).await;
        let client = net.connect(&server, Client::builder()).await;
        let payments = PaymentsClient::new(&client);
        let call = tokio::spawn(async move { payments.pay().await });
        eventually("the handler is started", || state.counts() == [1, 0, 0]).await;
        call.abort();
        drop(call.await);
        // The server handles the cancellation before this later call.
        assert_eq!(client.request::<()>("unknown", &()).await, Err(CallError::NoSuchMethod));
        permits.add_permits(1);
        eventually("the handler has completed", || state.counts() == [1, 1, 0]).await;
    }

    async fn detached_handler_outlives_its_deadline(net: Transport) {
        let (builder, state, permits) = desk();
        let server = net.serve(builder).await;
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(PaymentsClient::new(&client).pay_quickly().await, Err(CallError::Timeout));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(state.counts(), [1, 0, 0]);
        permits.add_permits(1);
        eventually("the handler has completed", || state.counts() == [1, 1, 0]).await;
        assert_eq!(client.request::<()>("unknown", &()).await, Err(CallError::NoSuchMethod));
    }

    async fn detached_handlers_outlive_their_session(net: Transport) {
        let (builder, state, permits) = desk();
        let server = net.serve(builder).await;
        let client = net.connect(&server, Client::builder()).await;
        let payments = PaymentsClient::new(&client);
        payments.log().await.unwrap();
        let call = tokio::spawn(async move { payments.pay().await });
        eventually("the handlers are started", || state.counts() == [2, 0, 0]).await;
        client.close().await;
        assert!(matches!(call.await.unwrap(), Err(CallError::Disconnected { maybe_executed: true, .. })));
        eventually("the session has ended", || server.sockets().is_empty()).await;
        permits.add_permits(2);
        eventually("the handlers have completed", || state.counts() == [2, 2, 0]).await;
    }

    async fn detached_handlers_above_the_limit_are_refused(net: Transport) {
        let (builder, state, permits) = desk();
        let server = net.serve(builder.limits(Limits::new().max_detached_handlers(2))).await;
        let client = net.connect(&server, Client::builder()).await;
        let payments = PaymentsClient::new(&client);
        payments.log().await.unwrap();
        payments.log().await.unwrap();
        assert_eq!(payments.pay().await, Err(CallError::Overloaded));
        payments.log().await.unwrap();
        assert_eq!(client.request::<()>("unknown", &()).await, Err(CallError::NoSuchMethod));
        assert_eq!(state.counts(), [2, 0, 0], "the third emit is dropped");
        permits.add_permits(2);
        eventually("the handlers have completed", || state.counts() == [2, 2, 0]).await;
        permits.add_permits(1);
        // The permit is returned after the handler has completed.
        let paid = async {
            while payments.pay().await == Err(CallError::Overloaded) {
                tokio::task::yield_now().await;
            }
        };
        within(paid).await;
    }

    async fn shutdown_stops_detached_handlers_after_the_grace(net: Transport) {
        let (builder, state, permits) = desk();
        let server = net.serve(builder).await;
        let client = net.connect(&server, Client::builder()).await;
        let payments = PaymentsClient::new(&client);
        payments.log().await.unwrap();
        payments.log().await.unwrap();
        eventually("the handlers are started", || state.counts() == [2, 0, 0]).await;
        client.close().await;
        eventually("the session has ended", || server.sockets().is_empty()).await;
        permits.add_permits(1);
        server.shutdown_with(Shutdown::new().grace(Duration::from_millis(200))).await;
        assert_eq!(state.counts(), [2, 1, 1]);
    }
}
