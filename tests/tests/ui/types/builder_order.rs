//! Methods that name the identity before `authenticate`.

fn main() {
    let login = |login: String| async move { Ok(login) };
    let _ = sockets::Server::builder().connected(|_| async {}).authenticate(login);
    let _ = sockets::Server::builder().layer_connecting(()).authenticate(login);
    let _ = sockets::Server::builder().authenticate(login).authenticate(login);
}
