//! The rows of the table that maps the original interface to this one, in its order, by name and without a contract.

use std::sync::Arc;

use sockets::{Client, Peer, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::unbounded_channel;

every_transport! {
    async fn a_program_in_the_manner_of_the_original(net: Transport) {
        let (log, mut logged) = unbounded_channel::<String>();
        let log = Arc::new(move |line: String| log.send(line).unwrap());

        // `sockets.Connected`, `socket.Player`, `socket.Disconnected`, `ListenerService`, `JoinRoom`
        let server_log = Arc::clone(&log);
        let server = net.serve(players().connected(move |socket: Socket<Player>| {
            let log = Arc::clone(&server_log);
            async move {
                let name = socket.identity().name.clone();
                log(format!("{name} has connected"));
                let (says, who) = (Arc::clone(&log), name.clone());
                socket.listen("Say", move |text: String| {
                    says(format!("{who} said {text}"));
                    async {}
                });
                socket.listen("Add", |(a, b): (u32, u32)| async move { a + b });
                socket.group("Shop").group("Refunds").listen("Sum", |n: u32| async move { n });
                socket.join("everyone");
                socket.on_disconnect(|_| async move { log(format!("{name} has disconnected")) });
            }
        })).await;
        let mut clients = Vec::new();
        for name in ["Ada", "Bob"] {
            let log = Arc::clone(&log);
            clients.push(net.join(&server, name, Client::builder().connected(move |peer: Peer| async move {
                peer.listen("Hear", move |text: String| {
                    log(format!("{name} heard {text}"));
                    async {}
                });
                peer.listen("Age", move |(): ()| async move { name.len() });
            })).await);
            assert_eq!(logged.recv().await.unwrap(), format!("{name} has connected"));
        }
        let ada = &clients[0];

        // `GetSocket(player)`, `GetSockets()`
        let socket = server.socket(&Player::new("Ada")).unwrap();
        assert_eq!(server.sockets().len(), 2);
        assert_eq!(server.sockets_of(&Player::new("Bob")).len(), 1);

        // `Emit(name, …)`, `Request(name, …)`, and under a group
        ada.emit("Say", "Howdy").await.unwrap();
        assert_eq!(logged.recv().await.unwrap(), "Ada said Howdy");
        assert_eq!(ada.request::<u32>("Add", &(4_u32, 6_u32)).await, Ok(10));
        assert_eq!(ada.group("Shop").group("Refunds").request::<u32>("Sum", &7_u32).await, Ok(7));

        // `Emit`, `EmitClients`, `EmitRoom`
        server.all().emit("Hear", "all").await.unwrap();
        let mut heard = [logged.recv().await.unwrap(), logged.recv().await.unwrap()];
        heard.sort_unstable();
        assert_eq!(heard, ["Ada heard all", "Bob heard all"]);
        server.clients([&socket]).emit("Hear", "one").await.unwrap();
        assert_eq!(logged.recv().await.unwrap(), "Ada heard one");
        server.users([&Player::new("Bob")]).emit("Hear", "two").await.unwrap();
        assert_eq!(logged.recv().await.unwrap(), "Bob heard two");

        // `LeaveRoom`, `Rooms[name]`
        socket.leave("everyone");
        assert_eq!(server.rooms(), ["everyone"]);
        assert_eq!(server.room("everyone").sockets(), server.sockets_of(&Player::new("Bob")));
        assert!(socket.rooms().is_empty());

        // `Request`, `RequestClients`, `RequestRoom` with a callback
        let mut ages = Vec::new();
        server
            .all()
            .request::<usize>("Age", &())
            .for_each_reply(|socket, age| ages.push((socket.identity().name.clone(), age)))
            .await;
        ages.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(ages, [("Ada".into(), Ok(3)), ("Bob".into(), Ok(3))]);
        let mut asked = 0;
        server.room("everyone").request::<usize>("Age", &()).for_each_reply(|_, _| asked += 1).await;
        assert_eq!(asked, 1);

        // `Disconnect(message)`
        socket.disconnect("until tomorrow");
        assert_eq!(ada.disconnected().await.message(), Some("until tomorrow"));
        assert_eq!(logged.recv().await.unwrap(), "Ada has disconnected");
    }
}
