//! The limits that keep a peer from using more than its share.

use std::time::Duration;

use sockets_proto::{KeepAliveConfig, Settings};

/// The minimum of `max_frame`, in bytes.
const MAX_FRAME_MIN: u32 = 256;
/// The minimum of `max_decoded`, in bytes. With 0, no `String` or `Vec` could be received.
const MAX_DECODED_MIN: u32 = 256;
/// The minimum of the time limits.
const TIME_MIN: Duration = Duration::from_millis(1);
/// The minimum of `heartbeat`.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
/// The minimum of `silence`.
const SILENCE_MIN: Duration = Duration::from_millis(200);

/// What one connection may use, and how many of them a server has. Every limit has a sane default, and none but the two
/// rates can be switched off. The builders' `limits` panics if one is below its minimum: 256 bytes for `max_frame` and
/// `max_decoded`, 200 ms for `silence`, 50 ms for `heartbeat`, 1 ms for `authentication`, `connected`, `call_timeout` and
/// `stall`, and 1 for the other numbers. `shutdown_grace` and the limits of resumption may be 0.
///
/// ```
/// use std::time::Duration;
/// use sockets::Limits;
///
/// let limits = Limits { calls_in_flight: 64, call_timeout: Duration::from_secs(5), ..Limits::default() };
/// assert_eq!(limits.max_frame, 4 * 1024 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that is accepted, in bytes. Default: 4 MiB. A peer that announces a larger one is
    /// disconnected before any memory is set aside for it; a call that is too large to send fails with
    /// [`CallError::TooLarge`](crate::CallError::TooLarge).
    ///
    /// Arguments have 9 bytes less for an emit and 29 bytes less for a request, whether they are sent to one peer or
    /// to an audience. An emit to an audience fails if no member accepts it, and skips members that do not if others do.
    pub max_frame: u32,
    /// The most memory that the decoded arguments or reply of one message may take, in bytes. Default: 64 MiB. A value may
    /// take much more memory than its bytes on the wire: a `Vec` of an enum of 32 bytes takes 32 bytes for each byte
    /// received. A larger value fails with [`CallError::Decode`](crate::CallError::Decode), whose text names this limit.
    ///
    /// The memory is estimated by the sizes and numbers of elements, before they are decoded. Spare capacity of
    /// collections comes on top: `Vec` may reserve twice what it needs.
    pub max_decoded: u32,
    /// How many calls and emits may be in flight on a connection, in each direction. Default: 1,024. Of the two sides'
    /// numbers, the smaller one counts. As many calls again may wait for a place,
    /// within [`outgoing_queue`](Self::outgoing_queue) bytes; the next one fails with
    /// [`CallError::Overloaded`](crate::CallError::Overloaded).
    pub calls_in_flight: u32,
    /// How many bytes of calls and emits may be in flight on a connection, in each direction, counted until their handlers
    /// end. Default: 1 MiB. Of the two sides' numbers, the smaller one counts. A message that does not fit is let
    /// through while at most half of them are in use.
    pub bytes_in_flight: u32,
    /// The number of bytes that may wait to be sent to a peer. Default: 4 MiB. A queue below this limit accepts one
    /// more message of any size.
    ///
    /// An emit to a single peer waits for room. An emit to an audience waits at most 1 s, for members that have taken
    /// bytes within that second. Then the method's [policy](macro@crate::group#emits-to-slow-members) applies: by
    /// default, the member is disconnected.
    ///
    /// A reply that finds no room waits, encoded. While as many bytes of replies wait as this limit, handlers are not
    /// resumed whose method has returned replies of 4 KiB or more.
    pub outgoing_queue: u32,
    /// How long a peer may take to greet and to authenticate. Default: 10 s.
    pub authentication: Duration,
    /// How many bytes a peer's greeting, login included, may have. Default: 64 KiB.
    pub login_bytes: u32,
    /// How long the `connected` hook may take. Default: 10 s.
    pub connected: Duration,
    /// The deadline of a call that sets none of its own, and the longest that the handler of an emit may run.
    /// Default: 30 s.
    pub call_timeout: Duration,
    /// How long [`Server::shutdown`](crate::Server::shutdown) waits for calls under way. Default: 10 s.
    pub shutdown_grace: Duration,
    /// How long a peer may accept no bytes at all while some wait to be sent. Default: 30 s.
    ///
    /// It is also how long a handler may be held since too many bytes of replies wait for the peer.
    pub stall: Duration,
    /// How long this side may say nothing on an idle connection: then it sends a heartbeat, sooner if the other side
    /// bears less. Default: 20 s. A busy connection has none.
    pub heartbeat: Duration,
    /// How long the other side may say nothing: then the connection ends with
    /// [`DisconnectReason::Silent`](crate::DisconnectReason::Silent). Default: 45 s. A frame counts when it is
    /// whole, when it begins, and with each 64 KiB of it. The other side is told of this limit, and keeps it with its
    /// heartbeats; one that knows none is held to it only within a frame.
    ///
    /// A handler that blocks its thread keeps its connection from sending heartbeats.
    pub silence: Duration,
    /// How many connections a server has at once. Default: 65,536. One more is refused:
    /// [`ConnectError::Refused`](crate::ConnectError::Refused) says that the server is full. Only those who have
    /// authenticated count, with those whose connection has broken while their session is kept.
    pub connections: u32,
    /// How many peers a server greets and authenticates at once. Default: 1,024. More wait, in the system's queue of
    /// new connections, until one of those is through. One that has sent no greeting for a second is hung up on if
    /// others wait; so peers that connect and say nothing delay the others by about a second for each so many of them.
    ///
    /// Each connection needs a file descriptor. Raise the limit of open files above the sum of this limit and
    /// [`connections`](Self::connections); many systems start with 1,024. If the system has none left, the server
    /// disconnects clients that have sent nothing for a second.
    pub handshakes: u32,
    /// How many rooms a socket may be in. Default: 1,024.
    pub rooms_per_socket: u32,
    /// How many names a connection may listen to. Default: 4,096. Of about as many names of the other side the signatures
    /// are known; calls to others are not compared in advance.
    pub names_per_peer: u32,
    /// How long a server keeps the session of a client whose connection has broken, so that the client can go on with it over
    /// another one. Default: 30 s.
    pub resume_within: Duration,
    /// How many bytes that have been sent to a peer, and that it has not acknowledged, are kept to be sent again over another connection.
    /// Default: 1 MiB. One who has missed more than that cannot go on with its session. A longer message survives a break as long as
    /// nothing is sent behind it.
    pub resume_bytes: u32,
    /// How many sessions a server keeps whose connections have broken. Default: 4,096. For one more, the one that has waited longest
    /// ends. With 0, sessions end with their connections.
    pub resume_sessions: u32,
    /// The number of bytes that all of these sessions may hold together. Default: 64 MiB. While they hold more, sessions end that
    /// hold more than their part of it. A reply that would exceed it ends its session, and is not kept.
    ///
    /// This counts messages that wait, messages that are retained for another connection, replies, and received calls whose
    /// handlers have not ended. Such a call counts as twice its bytes, since its arguments are decoded, and 2 KiB.
    pub resume_sessions_bytes: u32,
    /// How many calls and emits a second are taken from a peer, if that is limited. Default: `None`. A second's worth
    /// may come at once. The others wait, in their order and with their deadlines running, where they count as in flight: so
    /// the peer is slowed down, and fails its own further calls with
    /// [`CallError::Overloaded`](crate::CallError::Overloaded). Answers are not held up.
    pub calls_per_second: Option<u32>,
    /// How many bytes of calls and emits a second are taken from a peer, if that is limited. Default: `None`. As
    /// [`calls_per_second`](Self::calls_per_second); a message of more than a second's worth is taken, and the next
    /// ones wait the longer.
    pub bytes_per_second: Option<u32>,
}

impl Limits {
    /// Returns the settings that this side announces in the handshake.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.max_frame, self.calls_in_flight, self.bytes_in_flight)
    }

    /// Returns the times by which this side detects a dead connection.
    pub(crate) fn keep_alive(&self) -> KeepAliveConfig {
        KeepAliveConfig { idle_timeout: self.silence, interval: self.heartbeat }
    }
}

impl Limits {
    /// Checks each limit against its minimum.
    ///
    /// # Panics
    ///
    /// If a limit is below its minimum.
    #[track_caller]
    pub(crate) fn check(&self) {
        // Without `..`, so that each new limit needs a decision.
        let Self {
            max_frame,
            max_decoded,
            calls_in_flight,
            bytes_in_flight,
            outgoing_queue,
            authentication,
            login_bytes,
            connected,
            call_timeout,
            shutdown_grace: _,
            stall,
            heartbeat,
            silence,
            connections,
            handshakes,
            rooms_per_socket,
            names_per_peer,
            resume_within: _,
            resume_bytes: _,
            resume_sessions: _,
            resume_sessions_bytes: _,
            calls_per_second,
            bytes_per_second,
        } = self;
        let numbers = [
            ("max_frame", *max_frame, MAX_FRAME_MIN),
            ("max_decoded", *max_decoded, MAX_DECODED_MIN),
            ("calls_in_flight", *calls_in_flight, 1),
            ("bytes_in_flight", *bytes_in_flight, 1),
            ("outgoing_queue", *outgoing_queue, 1),
            ("login_bytes", *login_bytes, 1),
            ("connections", *connections, 1),
            ("handshakes", *handshakes, 1),
            ("rooms_per_socket", *rooms_per_socket, 1),
            ("names_per_peer", *names_per_peer, 1),
            ("calls_per_second", calls_per_second.unwrap_or(1), 1),
            ("bytes_per_second", bytes_per_second.unwrap_or(1), 1),
        ];
        for (name, value, least) in numbers {
            assert!(value >= least, "`Limits::{name}` is {value}: set it to at least {least}");
        }
        let times = [
            ("authentication", *authentication, TIME_MIN),
            ("connected", *connected, TIME_MIN),
            ("call_timeout", *call_timeout, TIME_MIN),
            ("stall", *stall, TIME_MIN),
            ("heartbeat", *heartbeat, HEARTBEAT_MIN),
            ("silence", *silence, SILENCE_MIN),
        ];
        for (name, value, least) in times {
            assert!(value >= least, "`Limits::{name}` is {value:?}: set it to at least {least:?}");
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 4 << 20,
            max_decoded: 64 << 20,
            calls_in_flight: 1024,
            bytes_in_flight: 1 << 20,
            outgoing_queue: 4 << 20,
            authentication: Duration::from_secs(10),
            login_bytes: 64 << 10,
            connected: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            heartbeat: Duration::from_secs(20),
            silence: Duration::from_secs(45),
            connections: 65_536,
            handshakes: 1024,
            rooms_per_socket: 1024,
            names_per_peer: 4096,
            resume_within: Duration::from_secs(30),
            resume_bytes: 1 << 20,
            resume_sessions: 4096,
            resume_sessions_bytes: 64 << 20,
            calls_per_second: None,
            bytes_per_second: None,
        }
    }
}
