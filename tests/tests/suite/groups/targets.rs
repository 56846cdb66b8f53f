//! Functions that are generic over the targets of stubs.

use std::{cell::Cell, future::Future};

use sockets::{CallError, Client, IntoTarget, Peer, Server, Target};
use sockets_tests::*;
use tokio::sync::mpsc::UnboundedReceiver;

#[sockets::group("Cells")]
trait Cells {
    #[emit]
    async fn fill(&self, cell: Cell<u32>);
}

/// Sends an emit to any target.
async fn announce(target: impl IntoTarget, text: &str) -> Result<(), CallError> {
    LobbyClient::new(&target).message(text).await
}

/// Sends an emit by any stub, in a task of its own.
fn announce_in_task<T: Target>(lobby: LobbyClient<T>) -> impl Future<Output = Result<(), CallError>> {
    let task = tokio::spawn(async move { lobby.message("from a task").await });
    async { task.await.unwrap() }
}

/// Sends an emit whose argument is not `Sync`, in a task of its own.
fn fill_in_task<T: Target>(cells: CellsClient<T>) -> impl Future<Output = Result<(), CallError>> {
    let task = tokio::spawn(async move { cells.fill(Cell::new(1)).await });
    async { task.await.unwrap() }
}

/// Makes a request to any target with a single peer.
async fn choice_of(target: impl IntoTarget<Target = Peer>) -> Result<String, CallError> {
    LobbyClient::new(&target).vote(vec!["tea".into(), "milk".into()]).await
}

async fn next(received: &mut UnboundedReceiver<String>) -> String {
    received.recv().await.unwrap()
}

tcp_and_memory! {
    async fn helpers_take_every_target(net: Transport) {
        let ((guest, mut guest_heard), (host, mut host_heard)) = (Voter::new("tea"), Voter::new("milk"));
        let server = net.serve(Server::builder().serve(LobbyServer::new(host))).await;
        let client = net.connect(&server, Client::builder().serve(LobbyServer::new(guest))).await;
        let socket = server.sockets()[0].clone();

        announce(&client, "client").await.unwrap();
        assert_eq!(next(&mut host_heard).await, "client");
        announce(&socket, "socket").await.unwrap();
        announce(socket.as_peer(), "peer").await.unwrap();
        let member = server.all().members().await.remove(0);
        announce(&member, "member").await.unwrap();
        announce(server.all(), "audience").await.unwrap();
        for expected in ["socket", "peer", "member", "audience"] {
            assert_eq!(next(&mut guest_heard).await, expected);
        }
        assert_eq!(choice_of(&client).await, Ok("milk".into()));
        assert_eq!(choice_of(&socket).await, Ok("tea".into()));
        assert_eq!(choice_of(&member).await, Ok("tea".into()));
        assert_eq!(choice_of(socket.as_peer().clone()).await, Ok("tea".into()));
    }

    async fn generic_emits_run_in_tasks(net: Transport) {
        let (guest, mut heard) = Voter::new("tea");
        let server = net.serve(Server::builder()).await;
        let _client = net.connect(&server, Client::builder().serve(LobbyServer::new(guest))).await;
        let socket = server.sockets()[0].clone();
        announce_in_task(LobbyClient::new(&socket)).await.unwrap();
        announce_in_task(LobbyClient::new(&server.all())).await.unwrap();
        assert_eq!([next(&mut heard).await, next(&mut heard).await], ["from a task", "from a task"]);
        assert_eq!(fill_in_task(CellsClient::new(&socket)).await, Ok(()));
        assert_eq!(fill_in_task(CellsClient::new(&server.all())).await, Ok(()));
    }
}
