//! The IDs of sockets.

use std::fmt;

/// The ID of a session, returned by [`Socket::id`](crate::Socket::id).
///
/// The ID is unique among all servers, and is not used again. It consists of a random number of the
/// server and the number of the session, so the IDs of a server are ordered by the time of
/// connecting. An ID can be guessed: it identifies a session, but proves nothing about its holder.
///
/// The text of an ID has 32 lowercase hexadecimal digits.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sockets::{Client, Server};
///
/// // A user with two devices has two sockets.
/// let server = Server::builder().authenticate(|name: String| async move { Ok(name) }).build();
/// let _phone = Client::builder().auth("ada").connect_local(&server).await?;
/// let _laptop = Client::builder().auth("ada").connect_local(&server).await?;
/// let devices: Vec<_> = server.sockets_of("ada").iter().map(|device| device.id().to_string()).collect();
/// assert!(devices[0] < devices[1]);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u128);

impl SocketId {
    pub(super) fn new(server: u64, session: u64) -> Self {
        Self((u128::from(server) << 64) | u128::from(session))
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_displayed_as_server_and_session() {
        assert_eq!(SocketId::new(0xab, 7).to_string(), "00000000000000ab0000000000000007");
        assert_eq!(SocketId::new(u64::MAX, u64::MAX).to_string(), "f".repeat(32));
    }

    #[test]
    fn ids_of_a_server_are_ordered_by_session() {
        assert!(SocketId::new(1, 9) < SocketId::new(1, 10) && SocketId::new(1, u64::MAX) < SocketId::new(2, 0));
    }
}
