//! Layers of the crate tower, and the errors of layers.

use std::{
    convert::Infallible,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use sockets::{
    Call, CallError, Client, Server,
    layer::{CallLayer, Next, Request, Response, Service, authorize, concurrency, layer_fn, timeout},
};
use sockets_tests::*;
use tokio::sync::{Semaphore, mpsc::unbounded_channel};
use tower::{
    BoxError, ServiceBuilder, buffer::BufferLayer, limit::RateLimitLayer, load_shed::LoadShedLayer, service_fn,
    timeout::TimeoutLayer,
};

#[sockets::group("Works")]
trait Works {
    async fn double(&self, n: u32) -> u32;
    /// Waits for a permit.
    async fn wait(&self) -> u32;
    /// Returns the value that a layer has added to the call.
    async fn added(&self, call: &Call) -> Option<String>;
    #[emit]
    async fn note(&self, n: u32);
}

#[derive(Clone)]
struct Worker {
    permits: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    noted: Arc<Mutex<Vec<u32>>>,
}

impl Worker {
    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), running: Arc::default(), noted: Arc::default() }
    }

    async fn runs(&self, count: usize) {
        eventually("the handlers run", || self.running.load(Ordering::Relaxed) == count).await;
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Works for Worker {
    async fn double(&self, n: u32) -> u32 {
        2 * n
    }

    async fn wait(&self) -> u32 {
        self.running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(Arc::clone(&self.running));
        self.permits.acquire().await.unwrap().forget();
        7
    }

    async fn added(&self, call: &Call) -> Option<String> {
        call.extensions().get::<String>().cloned()
    }

    async fn note(&self, n: u32) {
        self.noted.lock().unwrap().push(n);
    }
}

/// Connects a client to a server with a layer.
async fn layered(net: Transport, layer: impl CallLayer, worker: &Worker) -> (Server, Client) {
    let server = net.serve(Server::builder().layer(layer).serve(WorksServer::new(worker.clone()))).await;
    let client = net.connect(&server, Client::builder()).await;
    (server, client)
}

/// A layer that calls `f` with the response of each call.
fn on_response(f: impl Fn(Response) -> Result<Response, BoxError> + Clone + Send + Sync + 'static) -> impl CallLayer {
    ServiceBuilder::new().map_result(move |result: Result<Response, Infallible>| match result {
        Ok(response) => f(response),
        Err(never) => match never {},
    })
}

fn fails(error: impl Fn() -> BoxError + Clone + Send + Sync + 'static) -> impl CallLayer {
    layer_fn(move |_| {
        let error = error.clone();
        service_fn(move |_: Request| std::future::ready(Err::<Response, _>(error())))
    })
}

tcp_and_memory! {
    async fn elapsed_timeout_layer_stops_the_handler(net: Transport) {
        let worker = Worker::new();
        let soon = Duration::from_millis(20);
        let (_server, client) = layered(net, TimeoutLayer::new(soon), &worker).await;
        let works = WorksClient::new(&client);
        assert_eq!(works.wait().await, Err(CallError::Timeout));
        worker.runs(0).await;
        assert_eq!(works.double(4).await, Ok(8));

        let (server, _) = layered(net, timeout(Duration::from_secs(60)), &worker).await;
        let client = net.connect(&server, Client::builder().layer_outgoing(timeout(soon))).await;
        assert_eq!(WorksClient::new(&client).wait().await, Err(CallError::Timeout));
        worker.runs(0).await;
    }

    async fn shed_load_is_overloaded(net: Transport) {
        let worker = Worker::new();
        let stack = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(Duration::from_secs(60));
        let (_server, client) = layered(net, stack, &worker).await;
        let works = WorksClient::new(&client);
        let waiting = tokio::spawn({ let works = works.clone(); async move { works.wait().await } });
        worker.runs(1).await;
        assert_eq!(works.double(4).await, Err(CallError::Overloaded));
        worker.permits.add_permits(1);
        assert_eq!(waiting.await.unwrap(), Ok(7));
        eventually_ok(|| works.double(4)).await;
    }

    async fn concurrency_limit_lets_calls_wait(net: Transport) {
        let worker = Worker::new();
        let (_server, client) = layered(net, concurrency(2), &worker).await;
        let works = WorksClient::new(&client);
        let calls: Vec<_> = (0..5).map(|_| {
            let works = works.clone();
            tokio::spawn(async move { works.wait().await })
        }).collect();
        for finished in 0..5_usize {
            worker.runs(2.min(5 - finished)).await;
            worker.permits.add_permits(1);
            worker.runs(2.min(4 - finished)).await;
        }
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(7));
        }
    }

    async fn rate_limit_in_a_buffer_delays_calls(net: Transport) {
        let worker = Worker::new();
        let stack = ServiceBuilder::new()
            .layer(BufferLayer::<Request>::new(8))
            .layer(RateLimitLayer::new(2, Duration::from_secs(3600)));
        let (_server, client) = layered(net, stack, &worker).await;
        let works = WorksClient::new(&client);
        assert_eq!((works.double(1).await, works.double(2).await), (Ok(2), Ok(4)));
        let late = works.clone().with_timeout(Duration::from_millis(50)).double(3).await;
        assert_eq!(late, Err(CallError::Timeout));
    }

    async fn error_of_a_layer_reaches_the_caller(net: Transport) {
        let worker = Worker::new();
        let failed = || CallError::Failed("the disk is full".into());
        let full = || -> BoxError { io::Error::other("the disk is full").into() };
        let (_server, client) = layered(net, fails(full), &worker).await;
        assert_eq!(WorksClient::new(&client).double(1).await, Err(failed()));
        assert_eq!(WorksClient::new(&client).note(1).await, Ok(()));

        let own = || -> BoxError { CallError::<Infallible>::ShuttingDown.into() };
        let (server, client) = layered(net, fails(own), &worker).await;
        assert_eq!(WorksClient::new(&client).double(1).await, Err(CallError::ShuttingDown));
        let client = net.connect(&server, Client::builder().layer_outgoing(fails(full))).await;
        assert_eq!(WorksClient::new(&client).double(1).await, Err(failed()));
        assert_eq!(WorksClient::new(&client).note(1).await, Err(failed()));
        assert!(worker.noted.lock().unwrap().is_empty());
    }

    async fn mapped_error_of_a_layer_reaches_the_caller(net: Transport) {
        let worker = Worker::new();
        let stack = ServiceBuilder::new()
            .map_err(|error: BoxError| {
                assert!(error.is::<tower::timeout::error::Elapsed>());
                CallError::<Infallible>::Overloaded
            })
            .timeout(Duration::from_millis(20));
        let (_server, client) = layered(net, stack, &worker).await;
        assert_eq!(WorksClient::new(&client).wait().await, Err(CallError::Overloaded));
    }

    async fn layer_may_fail_a_call_after_its_handler(net: Transport) {
        let worker = Worker::new();
        let (_server, client) = layered(net, on_response(|_| Err("no luck".into())), &worker).await;
        let works = WorksClient::new(&client);
        assert_eq!(works.double(1).await, Err(CallError::Failed("no luck".into())));
        works.note(5).await.unwrap();
        eventually("the emit is handled", || *worker.noted.lock().unwrap() == [5]).await;
    }

    async fn layer_sees_arguments_reply_and_error(net: Transport) {
        let worker = Worker::new();
        let (sees, mut seen) = unbounded_channel();
        let responses = on_response(move |response| {
            sees.send((response.reply().map(|reply| reply.to_vec()), response.error().cloned())).unwrap();
            Ok(response)
        });
        let (asks, mut asked) = unbounded_channel();
        let requests = authorize(move |request: &Request| {
            asks.send((request.arguments().to_vec(), request.deadline())).unwrap();
            Ok::<_, String>(())
        });
        let server = net.serve(Server::builder().layer(requests).layer(responses).serve(WorksServer::new(worker))).await;
        let client = net.connect(&server, Client::builder()).await;
        let works = WorksClient::new(&client).with_timeout(Duration::from_secs(100));
        assert_eq!(works.double(33).await, Ok(66));
        assert_eq!(seen.recv().await.unwrap(), (Some(vec![66]), None));
        let (arguments, deadline) = asked.recv().await.unwrap();
        assert_eq!(arguments, [33]);
        let remaining = deadline - Instant::now();
        assert!(remaining > Duration::from_secs(90) && remaining <= Duration::from_secs(100), "{remaining:?}");

        let error = client.group("Works").request::<u32>("double", &"text").await.unwrap_err();
        assert!(matches!(error, CallError::Decode(_)), "{error:?}");
        assert_eq!(seen.recv().await.unwrap(), (None, Some(error)));
    }

    async fn handler_reads_the_extensions_of_layers(net: Transport) {
        let worker = Worker::new();
        let adds = ServiceBuilder::new().map_request(|mut request: Request| {
            assert_eq!(request.extensions().get::<u8>(), Some(&1));
            request.extensions_mut().insert(String::from("from a layer"));
            request
        });
        let outer = ServiceBuilder::new().map_request(|mut request: Request| {
            request.extensions_mut().insert(1_u8);
            request
        });
        let server = Server::builder().layer(adds).layer(outer).serve(WorksServer::new(worker));
        let server = net.serve(server).await;
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(WorksClient::new(&client).added().await, Ok(Some("from a layer".into())));
    }

    async fn request_of_another_identity_panics(net: Transport) {
        let (asks, mut asked) = unbounded_channel();
        let layer = authorize(move |request: &Request| {
            let panic = catch_unwind(AssertUnwindSafe(|| request.socket::<u64>()));
            asks.send(panic.unwrap_err().downcast_ref::<String>().cloned()).unwrap();
            Err("not allowed")
        });
        let (_server, client) = layered(net, layer, &Worker::new()).await;
        WorksClient::new(&client).double(1).await.unwrap_err();
        assert_eq!(asked.recv().await.unwrap().unwrap(), "the server's identity is `()`, not `u64`");
    }

    async fn clone_that_was_ready_is_called(net: Transport) {
        let worker = Worker::new();
        let (_server, client) = layered(net, layer_fn(|next| Readying { polls: 0, next }), &worker).await;
        assert_eq!(WorksClient::new(&client).double(1).await, Ok(2));
        assert_eq!(WorksClient::new(&client).double(2).await, Ok(4));
    }

    async fn audience_request_passes_the_layers_per_member(net: Transport) {
        let worker = Worker::new();
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let layer = authorize(move |request: &Request| {
            counts.fetch_add(1, Ordering::Relaxed);
            let player = request.socket::<Player>().unwrap().identity();
            if player.name == "ben" { Err("not you") } else { Ok(()) }
        });
        let server = net.serve(players().layer_outgoing(layer)).await;
        let mut clients = Vec::new();
        for name in ["ada", "ben", "cem"] {
            clients.push(net.join(&server, name, Client::builder().serve(WorksServer::new(worker.clone()))).await);
        }
        let mut replies = WorksClient::new(&server.all()).double(4);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert_eq!(replies.open(), 3);
        let mut found = Vec::new();
        while let Some((member, reply)) = replies.next().await {
            found.push((member.identity().name.clone(), reply));
        }
        found.sort_by(|(first, _), (second, _)| first.cmp(second));
        let expected = [("ada", Ok(8)), ("ben", Err(CallError::Denied("not you".into()))), ("cem", Ok(8))];
        assert_eq!(found, expected.map(|(name, reply)| (name.to_owned(), reply)));

        let replies = WorksClient::new(&server.all()).wait();
        worker.runs(2).await;
        drop(replies);
        worker.runs(0).await;
    }

    async fn suspended_layer_lets_later_calls_overtake(net: Transport) {
        let worker = Worker::new();
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        // Only odd numbers wait.
        let layer = layer_fn(move |next: Next| {
            let gate = Arc::clone(&gate);
            service_fn(move |request: Request| {
                let (mut next, gate) = (next.clone(), Arc::clone(&gate));
                async move {
                    if request.arguments()[0] % 2 == 1 {
                        gate.acquire().await.unwrap().forget();
                    }
                    next.call(request).await
                }
            })
        });
        let (_server, client) = layered(net, layer, &worker).await;
        for n in 1..=4 {
            WorksClient::new(&client).note(n).await.unwrap();
        }
        eventually("two emits are handled", || *worker.noted.lock().unwrap() == [2, 4]).await;
        opened.add_permits(2);
        eventually("all emits are handled", || worker.noted.lock().unwrap().len() == 4).await;
    }

    async fn layers_without_suspension_keep_the_order(net: Transport) {
        let worker = Worker::new();
        let stack = ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(concurrency(1000))
            .layer(timeout(Duration::from_secs(60)))
            .layer(authorize(|_: &Request| Ok::<_, String>(())));
        let (_server, client) = layered(net, stack, &worker).await;
        for n in 0..200 {
            WorksClient::new(&client).note(n).await.unwrap();
        }
        eventually("all emits are handled", || worker.noted.lock().unwrap().len() == 200).await;
        assert_eq!(*worker.noted.lock().unwrap(), (0..200).collect::<Vec<_>>());
    }
}

/// A service that is ready at its second poll, and whose clones are not ready.
struct Readying<S> {
    polls: u32,
    next: S,
}

impl<S: Clone> Clone for Readying<S> {
    fn clone(&self) -> Self {
        Self { polls: 0, next: self.next.clone() }
    }
}

impl<S: Service<Request>> Service<Request> for Readying<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.next.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        assert_eq!(self.polls, 2, "the service was not ready");
        self.next.call(request)
    }
}

/// Repeats a call until it succeeds.
async fn eventually_ok<T, Fut: Future<Output = Result<T, CallError>>>(call: impl Fn() -> Fut) {
    within(async {
        while call().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
