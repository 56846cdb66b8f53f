//! A socket has the info of its current connection.

use sockets::{Client, ConnectInfo, Refusal, Server};
use sockets_tests::{Relay, Seen, eventually, every_transport, reconnecting, session_of, within};

every_transport! {
    async fn socket_info_is_the_info_that_authentication_received(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|(): (), info: ConnectInfo| async move {
            Ok::<_, Refusal>(Seen((info.remote_addr(), info.transport().to_owned())))
        })).await;
        let _client = net.connect(&server, Client::builder()).await;
        let socket = server.sockets().remove(0);
        let (info, (remote_addr, transport)) = (socket.info(), &socket.identity().0);
        assert_eq!((info.remote_addr(), info.transport()), (*remote_addr, &**transport));
        assert_eq!(socket.remote_addr(), *remote_addr);
        assert_eq!(socket.remote_addr().is_some(), net.has_address());
        assert!(!info.is_resumption());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_info_is_replaced_at_resumption() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let client = within(reconnecting().connect(&relay.url())).await.unwrap();
    let socket = server.sockets().remove(0);
    let (first, address) = (socket.info(), socket.remote_addr());
    assert!(!first.is_resumption() && address.is_some());
    relay.shut();
    eventually("the socket has no connection", || socket.is_away()).await;
    assert_eq!(socket.remote_addr(), address, "the info of the last connection");
    relay.cut();
    eventually("the session is resumed", || socket.info().is_resumption()).await;
    let info = socket.info();
    assert_eq!((info.transport(), info.remote_addr()), ("tcp", socket.remote_addr()));
    assert_ne!(socket.remote_addr(), address, "each connection has a port of its own");
    assert_eq!(first.remote_addr(), address, "an info does not change");
    within(client.request::<()>("unknown", &())).await.unwrap_err();
    assert_eq!(session_of(&client), Some(1));
}
