//! Why a session ended.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    time::Duration,
};

use sockets_proto::{Farewell, clamp_timeout};

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
    /// The server shut down, and asked this client to come back: see
    /// [`Server::shutdown_for_restart`](crate::Server::shutdown_for_restart) and
    /// [`Server::shutdown_with_redirect`](crate::Server::shutdown_with_redirect).
    Restarting {
        /// In how much time.
        after: Duration,
        /// Where, if that is somewhere else.
        at: Option<String>,
    },
    /// The link broke without a goodbye.
    Lost(String),
    /// The other side did not take what was sent to it: too much was waiting, or nothing moved for too long.
    TooSlow,
    /// One side heard nothing of the other for too long: see [`Limits::silence`](crate::Limits::silence).
    Silent,
    /// The server's `connected` hook did not finish in time.
    NotReady,
    /// Somebody else has gone on with this session, over another connection, with the token that this client had.
    Superseded,
    /// One side broke the protocol; this says which, and how.
    ProtocolViolation(String),
}

impl DisconnectReason {
    /// What the server said in `disconnect("…")`, if that is how the session ended.
    ///
    /// ```
    /// # use sockets::DisconnectReason;
    /// assert_eq!(DisconnectReason::Kicked("be nice".into()).message(), Some("be nice"));
    /// assert_eq!(DisconnectReason::PeerClosed.message(), None);
    /// ```
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Kicked(message) => Some(message),
            _ => None,
        }
    }

    /// What the other side's goodbye means to this one.
    pub(crate) fn told(reason: Farewell, text: String) -> Self {
        match reason {
            Farewell::Closed => Self::PeerClosed,
            Farewell::Kicked => Self::Kicked(text),
            Farewell::ShuttingDown => Self::ShuttingDown,
            Farewell::Restarting => {
                let (millis, at) = text.split_once(' ').map_or((&*text, None), |(millis, at)| (millis, Some(at)));
                let after = clamp_timeout(Duration::from_millis(millis.parse().unwrap_or(0)));
                Self::Restarting { after, at: at.map(str::to_owned) }
            }
            Farewell::Violation => Self::ProtocolViolation(format!("the other side says: {text}")),
            Farewell::TooSlow => Self::TooSlow,
            Farewell::NotReady => Self::NotReady,
            Farewell::Silent => Self::Silent,
            Farewell::Superseded => Self::Superseded,
        }
    }

    /// How the other side is told, unless it is gone or has said it itself.
    pub(crate) fn farewell(&self) -> Option<(Farewell, Cow<'_, str>)> {
        let text = Cow::Borrowed;
        match self {
            Self::Closed => Some((Farewell::Closed, text(""))),
            Self::Kicked(message) => Some((Farewell::Kicked, text(message))),
            Self::ShuttingDown => Some((Farewell::ShuttingDown, text(""))),
            Self::Restarting { after, at } => {
                let at = at.iter().flat_map(|at| [" ", at]);
                Some((Farewell::Restarting, Cow::Owned(after.as_millis().to_string() + &at.collect::<String>())))
            }
            Self::ProtocolViolation(what) => Some((Farewell::Violation, text(what))),
            Self::TooSlow => Some((Farewell::TooSlow, text(""))),
            Self::NotReady => Some((Farewell::NotReady, text(""))),
            Self::Silent => Some((Farewell::Silent, text(""))),
            Self::Superseded => Some((Farewell::Superseded, text(""))),
            Self::PeerClosed | Self::Lost(_) => None,
        }
    }
}

impl Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("this side closed the connection"),
            Self::PeerClosed => f.write_str("the other side closed the connection"),
            Self::Kicked(message) => write!(f, "the server disconnected the client: {message}"),
            Self::ShuttingDown => f.write_str("the server shut down"),
            Self::Restarting { at: None, .. } => f.write_str("the server shut down, and is expected back"),
            Self::Restarting { at: Some(at), .. } => write!(f, "the server shut down, and is followed by {at}"),
            Self::Lost(what) => write!(f, "the connection was lost: {what}"),
            Self::TooSlow => f.write_str("a side did not take what was sent to it"),
            Self::Silent => f.write_str("a side heard nothing of the other for too long"),
            Self::Superseded => f.write_str("the session goes on over another connection"),
            Self::NotReady => f.write_str("the server did not get ready for the client in time"),
            Self::ProtocolViolation(what) => write!(f, "the protocol was broken: {what}"),
        }
    }
}
