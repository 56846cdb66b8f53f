//! Helper functions that send emits to any target, and make requests to any single peer.

use sockets::{CallError, Client, IntoTarget, Peer, Server};

/// The server and its clients both serve this contract.
#[sockets::group("Chat")]
trait Chat {
    async fn name(&self) -> String;
    #[emit]
    async fn say(&self, text: &str);
}

struct Participant(&'static str);

impl Chat for Participant {
    async fn name(&self) -> String {
        self.0.to_owned()
    }

    async fn say(&self, text: &str) {
        println!("{} receives: {text}", self.0);
    }
}

/// Takes a client, a socket, a peer, a member or an audience.
async fn greet(target: impl IntoTarget) -> Result<(), CallError> {
    ChatClient::new(&target).say("hello").await
}

/// Takes a client, a socket, a peer or a member. An audience would return several names.
async fn name_of(target: impl IntoTarget<Target = Peer>) -> Result<String, CallError> {
    ChatClient::new(&target).name().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().serve(ChatServer::new(Participant("the server"))).build();
    let ada = Client::builder().serve(ChatServer::new(Participant("Ada"))).connect_local(&server).await?;
    let sockets = server.sockets();

    println!("the client calls {}", name_of(&ada).await?);
    println!("the server calls {}", name_of(&sockets[0]).await?);
    greet(&ada).await?;
    greet(server.all()).await?;
    // The emits precede these requests.
    name_of(&ada).await?;
    name_of(&sockets[0]).await?;
    Ok(())
}
