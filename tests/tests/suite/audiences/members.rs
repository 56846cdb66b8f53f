//! Audiences. A message to an audience reaches each member once.

#![allow(clippy::needless_borrows_for_generic_args, reason = "each form that a user may write is tried")]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "`[socket.clone()]` is what a reader expects a list to be")]

use sockets::{Audience, Client, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::UnboundedReceiver;

/// A server with players in rooms. The hall also holds the messages that each player receives.
struct Hall {
    server: Server<Player>,
    _clients: Vec<Client>,
    received: Vec<(String, UnboundedReceiver<String>)>,
}

impl Hall {
    async fn open(net: Transport, players_and_rooms: &[(&str, &[&str])]) -> Self {
        let server = net.serve(players()).await;
        let (mut clients, mut received) = (Vec::new(), Vec::new());
        for (name, rooms) in players_and_rooms {
            let (voter, messages) = Voter::new(name);
            clients.push(net.join(&server, name, Client::builder().serve(LobbyServer::new(voter))).await);
            received.push(((*name).to_owned(), messages));
            let socket = server.sockets().pop().unwrap();
            rooms.iter().for_each(|room| socket.join(room).unwrap());
        }
        Self { server, _clients: clients, received }
    }

    fn socket(&self, name: &str) -> Socket<Player> {
        self.server.socket(name).unwrap()
    }

    /// Emits to an audience, then to all members. Returns the names of the members that receive the
    /// first emit. If a member receives the emit twice, its name occurs twice.
    async fn receivers_of(&mut self, audience: &Audience<Player>) -> Vec<String> {
        let listed: Vec<_> = audience.sockets().iter().map(|socket| socket.identity().name.clone()).collect();
        LobbyClient::new(audience).message("first").await.unwrap();
        LobbyClient::new(&self.server.all()).message("end").await.unwrap();
        let mut hearers = Vec::new();
        for (name, received) in &mut self.received {
            while received.recv().await.unwrap() != "end" {
                hearers.push(name.clone());
            }
        }
        hearers.sort_unstable();
        assert_eq!(sorted(listed), hearers, "`sockets()` returns the members that receive");

        let mut answered = Vec::new();
        let mut votes = LobbyClient::new(audience).vote(hearers.clone());
        while let Some((member, vote)) = votes.next().await {
            assert_eq!(vote.unwrap(), member.identity().name);
            answered.push(member.identity().name.clone());
        }
        assert_eq!(sorted(answered), hearers, "the members that receive reply, too");
        hearers
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

const HALL: &[(&str, &[&str])] = &[("ada", &["r", "s"]), ("bob", &["r"]), ("cleo", &["s"]), ("dan", &[])];

tcp_and_memory! {
    async fn except_removes_members_from_all_and_rooms(net: Transport) {
        let mut hall = Hall::open(net, HALL).await;
        let (all, r, s) = (hall.server.all(), hall.server.room("r"), hall.server.room("s"));
        let ada = hall.socket("ada");
        assert_eq!(hall.receivers_of(&all).await, ["ada", "bob", "cleo", "dan"]);
        assert_eq!(hall.receivers_of(&r).await, ["ada", "bob"]);
        assert_eq!(hall.receivers_of(&hall.server.room("empty")).await, [""; 0]);
        assert_eq!(hall.receivers_of(&r.except(&ada)).await, ["bob"]);
        assert_eq!(hall.receivers_of(&all.except(&s)).await, ["bob", "dan"]);
        assert_eq!(hall.receivers_of(&all.except(&ada).except(&hall.socket("dan"))).await, ["bob", "cleo"]);
        assert_eq!(hall.receivers_of(&all.except(&r.except(&ada))).await, ["ada", "cleo", "dan"]);
        assert_eq!(hall.receivers_of(&r.except(&r)).await, [""; 0]);
    }

    async fn union_delivers_once_to_a_member_of_both(net: Transport) {
        let mut hall = Hall::open(net, HALL).await;
        let (r, s) = (hall.server.room("r"), hall.server.room("s"));
        assert_eq!(hall.receivers_of(&r.union(&s)).await, ["ada", "bob", "cleo"]);
        assert_eq!(hall.receivers_of(&r.union(&r)).await, ["ada", "bob"]);
        assert_eq!(hall.receivers_of(&r.union(&hall.server.all())).await, ["ada", "bob", "cleo", "dan"]);
        assert_eq!(hall.receivers_of(&r.except(&s).union(&s.except(&r))).await, ["bob", "cleo"]);
        assert_eq!(hall.receivers_of(&r.union(&s).except(&r)).await, ["cleo"]);
        assert_eq!(hall.receivers_of(&r.union(&hall.server.clients([hall.socket("ada")]))).await, ["ada", "bob"]);
    }

    async fn audience_of_sockets_or_users_accepts_every_list_type(net: Transport) {
        let mut hall = Hall::open(net, &[("ada", &[]), ("bob", &[]), ("ada", &[]), ("cleo", &[])]).await;
        let server = hall.server.clone();
        let (ada, bob) = ("ada".to_owned(), "bob".to_owned());
        assert_eq!(hall.receivers_of(&server.users(["bob"])).await, ["bob"]);
        assert_eq!(hall.receivers_of(&server.users(&["bob"])).await, ["bob"]);
        assert_eq!(hall.receivers_of(&server.users([&bob])).await, ["bob"]);
        assert_eq!(hall.receivers_of(&server.users([&ada])).await, ["ada", "ada"], "all sockets of a user");
        assert_eq!(hall.receivers_of(&server.users([ada.clone(), bob.clone()])).await, ["ada", "ada", "bob"]);
        assert_eq!(hall.receivers_of(&server.users(vec![bob.clone()])).await, ["bob"]);
        assert_eq!(hall.receivers_of(&server.users(&vec![bob.clone(), bob.clone()])).await, ["bob"]);
        assert_eq!(hall.receivers_of(&server.users(["eve"])).await, [""; 0]);

        let first = server.sockets()[0].clone();
        let bobs = hall.socket("bob");
        assert_eq!(hall.receivers_of(&server.clients([&first])).await, ["ada"]);
        assert_eq!(hall.receivers_of(&server.clients([first.clone(), first.clone()])).await, ["ada"]);
        assert_eq!(hall.receivers_of(&server.clients(vec![&first, &bobs])).await, ["ada", "bob"]);
        assert_eq!(hall.receivers_of(&server.clients(vec![first.clone(), bobs.clone()])).await, ["ada", "bob"]);
        assert_eq!(hall.receivers_of(&server.clients(&[bobs.clone()])).await, ["bob"]);
        assert_eq!(hall.receivers_of(&server.clients(server.sockets_of(&ada))).await, ["ada", "ada"]);
        assert_eq!(hall.receivers_of(&server.clients(server.sockets().iter().skip(1))).await, ["ada", "bob", "cleo"]);
        assert_eq!(hall.receivers_of(&server.clients(Vec::<Socket<Player>>::new())).await, [""; 0]);
        assert_eq!(hall.receivers_of(&server.users(&[ada]).except(&first)).await, ["ada"]);
    }

    async fn audience_is_evaluated_at_each_call(net: Transport) {
        let mut hall = Hall::open(net, HALL).await;
        let (room, later) = (hall.server.room("r"), hall.server.users(["eve"]));
        let rest = hall.server.all().except(&room);
        assert_eq!(hall.receivers_of(&room).await, ["ada", "bob"]);
        hall.socket("dan").join("r").unwrap();
        hall.socket("ada").leave("r");
        assert_eq!(hall.receivers_of(&room).await, ["bob", "dan"]);
        assert_eq!(hall.receivers_of(&rest).await, ["ada", "cleo"]);
        assert!(later.sockets().is_empty());
        let _eve = net.join(&hall.server, "eve", Client::builder()).await;
        assert_eq!(later.sockets().len(), 1);
    }

    async fn disconnected_socket_is_in_no_audience(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.sockets()[0].clone();
        socket.join("r").unwrap();
        let audiences = [server.all(), server.room("r"), server.clients([&socket]), server.users(["ada"])];
        assert!(audiences.iter().all(|audience| audience.sockets() == [socket.clone()]));
        drop(client);
        net.wait_until_empty(&server).await;
        for audience in &audiences {
            assert!(audience.sockets().is_empty(), "{audience:?}");
            LobbyClient::new(audience).message("a question").await.unwrap();
            assert!(LobbyClient::new(audience).vote(Vec::new()).next().await.is_none());
        }
    }

    async fn socket_from_every_lookup_is_equal(net: Transport) {
        let server = net.serve(players()).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        assert_eq!(server.sockets(), [socket.clone()]);
        assert_eq!(server.all().sockets(), server.sockets_of("ada"));
        assert_eq!(socket.server().sockets(), [socket.clone()]);
    }

    async fn stub_of_a_temporary_audience_works(net: Transport) {
        let hall = Hall::open(net, HALL).await;
        let host = hall.socket("ada");
        let lobby = LobbyClient::new(&hall.server.room("r").except(&host));
        let mut votes = lobby.vote(vec!["bob".into()]);
        drop(lobby);
        assert_eq!(votes.next().await.unwrap().1, Ok("bob".into()));
        assert!(votes.next().await.is_none() && votes.next().await.is_none());
    }
}
