//! Why a session ended.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    time::Duration,
};

use crate::address::without_userinfo;
use crate::refusal::Refusal;
use sockets_proto::{CloseReason, clamp_timeout};

/// Why a session ended. It displays itself as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This side closed it: its last handle was dropped.
    Closed,
    /// The other side closed it: its last handle was dropped.
    PeerClosed,
    /// The server disconnected the client, with these words.
    Kicked(String),
    /// The server shut down.
    ShuttingDown,
    /// The server shut down, and expects the client to reconnect, after a time of its own: see
    /// [`Server::shutdown_for_restart`](crate::Server::shutdown_for_restart) and
    /// [`Server::shutdown_with_redirect`](crate::Server::shutdown_with_redirect).
    Restarting {
        /// The address to which the client reconnects, if it is another one.
        at: Option<String>,
    },
    /// The link broke without a goodbye.
    Lost(String),
    /// The peer does not take bytes fast enough. Its queue was full
    /// ([`Limits::outgoing_queue`](crate::Limits::outgoing_queue)), or it accepted no bytes for
    /// [`Limits::stall`](crate::Limits::stall). A handler that waits for it to read replies is also held for `stall` at
    /// most, even if it reads a little meanwhile.
    TooSlow,
    /// One side heard nothing of the other for too long: see [`Limits::silence`](crate::Limits::silence).
    Silent,
    /// The server's authentication or its `connected` hook refused the client.
    Refused(Refusal),
    /// Somebody else has gone on with this session, over another connection, with the token that this client had.
    Superseded,
    /// One side broke the protocol; this says which, and how.
    ProtocolViolation(String),
}

impl DisconnectReason {
    /// Returns the server's message: that of `disconnect("…")`, or of a [`UnsupportedType`].
    ///
    /// ```
    /// # use sockets::DisconnectReason;
    /// assert_eq!(DisconnectReason::Kicked("be nice".into()).message(), Some("be nice"));
    /// assert_eq!(DisconnectReason::PeerClosed.message(), None);
    /// ```
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Kicked(message) => Some(message),
            Self::Refused(refusal) => Some(refusal.message()),
            _ => None,
        }
    }

    /// What the other side's goodbye means to this one.
    pub(crate) fn from_close(reason: CloseReason, text: String) -> Self {
        match reason {
            CloseReason::Closed => Self::PeerClosed,
            CloseReason::Kicked => Self::Kicked(text),
            CloseReason::ShuttingDown => Self::ShuttingDown,
            CloseReason::Restarting => Self::Restarting { at: delayed(&text).1.map(without_userinfo) },
            CloseReason::ProtocolError => Self::ProtocolViolation(format!("the other side says: {text}")),
            CloseReason::TooSlow => Self::TooSlow,
            CloseReason::NotReady => Self::Refused(Refusal::retry("the server did not prepare the session in time")),
            CloseReason::Refused => Self::Refused(Refusal::new(text)),
            CloseReason::Retry => {
                let (wait, message) = delayed(&text);
                Self::Refused(Refusal::retry(message.unwrap_or_default()).after(wait))
            }
            CloseReason::IdleTimeout => Self::Silent,
            CloseReason::Superseded => Self::Superseded,
        }
    }

    /// Returns the goodbye for the peer, unless the connection is lost or the peer has sent one. `retries` is set if the
    /// peer knows the reasons for refusals. The client of a server that restarts reconnects after `delay`.
    pub(crate) fn to_close(&self, retries: bool, delay: Duration) -> Option<(CloseReason, Cow<'_, str>)> {
        let text = Cow::Borrowed;
        match self {
            Self::Closed => Some((CloseReason::Closed, text(""))),
            Self::Kicked(message) => Some((CloseReason::Kicked, text(message))),
            Self::ShuttingDown => Some((CloseReason::ShuttingDown, text(""))),
            Self::Restarting { at } => {
                let at = at.iter().flat_map(|at| [" ", at]);
                Some((CloseReason::Restarting, Cow::Owned(delay.as_millis().to_string() + &at.collect::<String>())))
            }
            Self::ProtocolViolation(what) => Some((CloseReason::ProtocolError, text(what))),
            Self::TooSlow => Some((CloseReason::TooSlow, text(""))),
            Self::Refused(refusal) => Some(match refusal.retry_after() {
                None if retries => (CloseReason::Refused, text(refusal.message())),
                None => (CloseReason::Kicked, text(refusal.message())),
                Some(wait) if retries => {
                    (CloseReason::Retry, Cow::Owned(format!("{} {}", wait.as_millis(), refusal.message())))
                }
                Some(_) => (CloseReason::NotReady, text("")),
            }),
            Self::Silent => Some((CloseReason::IdleTimeout, text(""))),
            Self::Superseded => Some((CloseReason::Superseded, text(""))),
            Self::PeerClosed | Self::Lost(_) => None,
        }
    }
}

/// Returns the delay at the beginning of a goodbye's text, and the rest.
pub(crate) fn delayed(text: &str) -> (Duration, Option<&str>) {
    let (millis, rest) = text.split_once(' ').map_or((text, None), |(millis, rest)| (millis, Some(rest)));
    (clamp_timeout(Duration::from_millis(millis.parse().unwrap_or(0))), rest)
}

impl Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("this side closed the connection"),
            Self::PeerClosed => f.write_str("the other side closed the connection"),
            Self::Kicked(message) => write!(f, "the server disconnected the client: {message}"),
            Self::ShuttingDown => f.write_str("the server shut down"),
            Self::Restarting { at: None } => f.write_str("the server shut down, and is expected back"),
            Self::Restarting { at: Some(at) } => write!(f, "the server shut down, and is followed by {at}"),
            Self::Lost(what) => write!(f, "the connection was lost: {what}"),
            Self::TooSlow => {
                f.write_str("a peer did not read fast enough (see `Limits::outgoing_queue` and `Limits::stall`)")
            }
            Self::Silent => f.write_str("a side heard nothing of the other for too long"),
            Self::Superseded => f.write_str("the session goes on over another connection"),
            Self::Refused(refusal) => write!(f, "the server refused the client: {refusal}"),
            Self::ProtocolViolation(what) => write!(f, "the protocol was broken: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodbye_of_a_restart_has_the_delay_of_its_client() {
        for at in [None, Some("tcp://next:1".to_owned())] {
            let reason = DisconnectReason::Restarting { at };
            let (farewell, text) = reason.to_close(true, Duration::from_millis(250)).unwrap();
            assert_eq!(delayed(&text).0, Duration::from_millis(250));
            assert_eq!(DisconnectReason::from_close(farewell, text.into_owned()), reason);
        }
    }
}
