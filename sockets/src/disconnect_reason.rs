//! The reason for the end of a session.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    time::Duration,
};

use crate::address::without_userinfo;
use crate::refusal::Refusal;
use sockets_proto::{CloseReason, clamp_timeout};

/// The reason for the end of a session. Its [`Display`](std::fmt::Display) form is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The local endpoint closed the session: its last handle was dropped, or it called `close`.
    Closed,
    /// The peer closed the session: its last handle was dropped, or it called `close`.
    PeerClosed,
    /// The server disconnected the client with this message.
    Kicked(String),
    /// The server shut down: see [`Server::shutdown`](crate::Server::shutdown).
    #[non_exhaustive]
    ShuttingDown {
        /// The message of [`Shutdown::for_good`](crate::Shutdown::for_good).
        words: Option<String>,
        /// `true` if the server expects its clients to reconnect.
        comes_back: bool,
        /// The address to which clients reconnect. It is `None` if the address does not change.
        redirect: Option<String>,
    },
    /// The connection broke without a close reason. The text describes the failure.
    Lost(String),
    /// The peer does not receive bytes fast enough. Either the queue of bytes for the peer was full
    /// ([`Limits::outgoing_queue`](crate::Limits::outgoing_queue)), or the peer accepted no bytes
    /// for [`Limits::stall`](crate::Limits::stall).
    ///
    /// A handler can also be held until the peer reads replies. If this hold lasts for `stall`, the
    /// session ends for this reason, even if the peer has read a few bytes in that time.
    TooSlow,
    /// The local endpoint or the peer received nothing for longer than its idle timeout: see
    /// [`Limits::silence`](crate::Limits::silence).
    Silent,
    /// The server's authentication or its `connected` hook refused the client.
    Refused(Refusal),
    /// Another connection resumed this session with the resumption token of this client. Another
    /// program may have copied the token.
    Superseded,
    /// A peer breached the protocol. The text names the peer and the error.
    ProtocolViolation(String),
}

impl DisconnectReason {
    /// Returns the message of the server: the argument of `disconnect("…")` or `for_good("…")`, or
    /// the message of a [`Refusal`].
    ///
    /// ```
    /// # use sockets::DisconnectReason;
    /// assert_eq!(DisconnectReason::Kicked("be nice".into()).message(), Some("be nice"));
    /// assert_eq!(DisconnectReason::PeerClosed.message(), None);
    /// ```
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Kicked(message) => Some(message),
            Self::ShuttingDown { words, .. } => words.as_deref(),
            Self::Refused(refusal) => Some(refusal.message()),
            _ => None,
        }
    }

    /// Returns the reason for which a server shuts down that expects its clients to reconnect.
    pub(crate) fn restarting(redirect: Option<String>) -> Self {
        Self::ShuttingDown { words: None, comes_back: true, redirect }
    }

    /// Returns the local meaning of a close reason that the peer sent.
    pub(crate) fn from_close(reason: CloseReason, text: String) -> Self {
        match reason {
            CloseReason::Closed => Self::PeerClosed,
            CloseReason::Kicked => Self::Kicked(text),
            CloseReason::ShuttingDown => Self::ShuttingDown {
                words: Some(text).filter(|text| !text.is_empty()),
                comes_back: false,
                redirect: None,
            },
            CloseReason::Restarting => Self::restarting(delayed(&text).1.map(without_userinfo)),
            CloseReason::ProtocolError => Self::ProtocolViolation(format!("the peer reports: {text}")),
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

    /// Returns the close reason for the peer. Returns `None` if the connection is lost, or if the
    /// peer has closed the session.
    ///
    /// `retries` is `true` if the peer supports the close reasons for refusals. If the server
    /// restarts, `delay` is the time after which the client reconnects.
    pub(crate) fn to_close(&self, retries: bool, delay: Duration) -> Option<(CloseReason, Cow<'_, str>)> {
        let text = Cow::Borrowed;
        match self {
            Self::Closed => Some((CloseReason::Closed, text(""))),
            Self::Kicked(message) => Some((CloseReason::Kicked, text(message))),
            Self::ShuttingDown { words, comes_back: false, .. } => {
                Some((CloseReason::ShuttingDown, text(words.as_deref().unwrap_or_default())))
            }
            Self::ShuttingDown { redirect, .. } => {
                let url = redirect.iter().flat_map(|url| [" ", url]);
                Some((CloseReason::Restarting, Cow::Owned(delay.as_millis().to_string() + &url.collect::<String>())))
            }
            Self::ProtocolViolation(error) => Some((CloseReason::ProtocolError, text(error))),
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

/// Splits the text of a close reason. Returns the delay at its beginning, and the text after it.
pub(crate) fn delayed(text: &str) -> (Duration, Option<&str>) {
    let (millis, rest) = text.split_once(' ').map_or((text, None), |(millis, rest)| (millis, Some(rest)));
    (clamp_timeout(Duration::from_millis(millis.parse().unwrap_or(0))), rest)
}

impl Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the local peer closed the connection"),
            Self::PeerClosed => f.write_str("the remote peer closed the connection"),
            Self::Kicked(message) => write!(f, "the server disconnected the client: {message}"),
            Self::ShuttingDown { words: Some(words), .. } => write!(f, "the server shut down: {words}"),
            Self::ShuttingDown { redirect: Some(url), .. } => {
                write!(f, "the server shut down; clients reconnect to {url}")
            }
            Self::ShuttingDown { comes_back: true, .. } => f.write_str("the server is restarting"),
            Self::ShuttingDown { .. } => f.write_str("the server shut down"),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
            Self::TooSlow => {
                f.write_str("a peer did not read fast enough (see `Limits::outgoing_queue` and `Limits::stall`)")
            }
            Self::Silent => f.write_str("the idle timeout expired (see `Limits::silence` and `Limits::heartbeat`)"),
            Self::Superseded => f.write_str("the session was resumed over another connection"),
            Self::Refused(refusal) => write!(f, "the server refused the client: {refusal}"),
            Self::ProtocolViolation(error) => write!(f, "protocol error: {error}"),
        }
    }
}

impl std::error::Error for DisconnectReason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_reason_of_shutdown_is_read_back() {
        for words in [None, Some("moved to another game".to_owned())] {
            let reason = DisconnectReason::ShuttingDown { words, comes_back: false, redirect: None };
            let (reason_sent, text) = reason.to_close(true, Duration::ZERO).unwrap();
            assert_eq!(DisconnectReason::from_close(reason_sent, text.into_owned()), reason);
        }
    }

    #[test]
    fn close_reason_of_restart_contains_delay() {
        for redirect in [None, Some("tcp://next:1".to_owned())] {
            let reason = DisconnectReason::restarting(redirect);
            let (reason_sent, text) = reason.to_close(true, Duration::from_millis(250)).unwrap();
            assert_eq!(delayed(&text).0, Duration::from_millis(250));
            assert_eq!(DisconnectReason::from_close(reason_sent, text.into_owned()), reason);
        }
    }
}
