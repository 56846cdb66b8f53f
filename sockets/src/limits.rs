//! Limits on the resources that a peer can use.

use std::time::Duration;

use sockets_proto::{KeepAliveConfig, Settings};

/// The minimum of `max_frame`, in bytes.
const MAX_FRAME_MIN: u32 = 256;
/// The minimum of `max_decoded`, in bytes. With 0, no `String` or `Vec` could be received.
const MAX_DECODED_MIN: u32 = 256;
/// The minimum of the limits that are times.
const TIME_MIN: Duration = Duration::from_millis(1);
/// The minimum of `heartbeat`.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
/// The minimum of `silence`.
const SILENCE_MIN: Duration = Duration::from_millis(200);

/// Limits on the resources of a connection, and on the number of connections of a server.
///
/// Every limit has a default. Only the two rates, `calls_per_second` and `bytes_per_second`, can be
/// disabled, and are by default. The `limits` methods of the builders panic if a limit is below its
/// minimum:
///
/// | limit | minimum |
/// | --- | --- |
/// | `max_frame`, `max_decoded` | 256 bytes |
/// | `silence` | 200 ms |
/// | `heartbeat` | 50 ms |
/// | `authentication`, `connected`, `call_timeout`, `stall` | 1 ms |
/// | `shutdown_grace`, `resume_within`, `resume_bytes`, `resume_sessions`, `resume_sessions_bytes` | 0 |
/// | all other numbers | 1 |
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
    /// The maximum size of a received message, in bytes. Default: 4 MiB.
    ///
    /// A peer that announces a larger message is disconnected before memory is allocated for it. A
    /// call that is too large for its receiver fails with
    /// [`CallError::TooLarge`](crate::CallError::TooLarge).
    ///
    /// The arguments of an emit can have 9 bytes less, and the arguments of a request 29 bytes
    /// less. This holds for calls to a single peer and to an audience. An emit to an audience fails
    /// if no member accepts its size. Otherwise members that do not accept it are skipped.
    pub max_frame: u32,
    /// The maximum memory of the decoded arguments or reply of a message, in bytes. Default: 64
    /// MiB.
    ///
    /// A decoded value may take much more memory than its encoding: a `Vec` of an enum of 32 bytes
    /// takes 32 bytes for each received byte. A larger value fails with
    /// [`CallError::Decode`](crate::CallError::Decode). Its message names this limit.
    ///
    /// The memory is estimated from the sizes and numbers of elements, before they are decoded. It
    /// does not include spare capacity of collections: `Vec` may reserve twice the memory that it
    /// needs.
    pub max_decoded: u32,
    /// The maximum number of calls and emits in flight on a connection, in each direction. Default:
    /// 1,024.
    ///
    /// The smaller limit of the two peers applies. The same number of calls can be pending, within
    /// [`outgoing_queue`](Self::outgoing_queue) bytes. A further call fails with
    /// [`CallError::Overloaded`](crate::CallError::Overloaded).
    pub calls_in_flight: u32,
    /// The maximum size of all calls and emits in flight on a connection, in bytes and in each
    /// direction. Default: 1 MiB.
    ///
    /// A message counts until its handler has completed. The smaller limit of the two peers
    /// applies. While at most half of the limit is in use, a message of any size is sent.
    pub bytes_in_flight: u32,
    /// The maximum number of bytes that wait to be sent to a peer. Default: 4 MiB. A queue below
    /// this limit accepts another message of any size.
    ///
    /// An emit to a single peer waits for capacity. An emit to an audience waits at most 1 s, and
    /// only for members that received bytes within that second. Then the method's [overflow
    /// policy](macro@crate::group#emits-to-slow-members) applies. By default, the member is
    /// disconnected.
    ///
    /// A reply that exceeds the capacity waits in encoded form. While the bytes of waiting replies
    /// reach this limit, handlers are not resumed if their methods have returned replies of 4 KiB
    /// or more.
    pub outgoing_queue: u32,
    /// The maximum time until a client has sent its hello and is authenticated. Default: 10 s.
    ///
    /// For a client, it is the time for the login function, opening the connection and the server's
    /// authentication.
    pub authentication: Duration,
    /// The maximum size of a client's hello with its login, in bytes. Default: 64 KiB.
    pub login_bytes: u32,
    /// The maximum time of the `connected` hook. Default: 10 s.
    pub connected: Duration,
    /// The timeout of calls that set none of their own, and the maximum time of the handler of an
    /// emit. Default: 30 s.
    pub call_timeout: Duration,
    /// The time for which [`Server::shutdown`](crate::Server::shutdown) waits for calls in flight.
    /// Default: 10 s.
    pub shutdown_grace: Duration,
    /// The write timeout: the maximum time for which a peer accepts no bytes while bytes wait to be
    /// sent. Default: 30 s.
    ///
    /// It also limits the time for which a handler is held because too many bytes of replies wait
    /// for the peer.
    pub stall: Duration,
    /// The maximum time without a sent frame. Then a keep-alive frame is sent. Default: 20 s.
    ///
    /// Keep-alive frames are sent sooner if the idle timeout of the peer requires it. A busy
    /// connection has none.
    pub heartbeat: Duration,
    /// The idle timeout: the maximum time without received data. Then the connection ends with
    /// [`DisconnectReason::Silent`](crate::DisconnectReason::Silent). Default: 45 s.
    ///
    /// The timeout restarts when a frame begins, when it is complete, and with each 64 KiB of it.
    /// The peer receives this limit in the handshake, and sends keep-alive frames often enough. To
    /// a peer that does not support keep-alive frames, the limit applies only within a frame.
    ///
    /// A handler that blocks its thread delays the keep-alive frames of its connection.
    pub silence: Duration,
    /// The maximum number of connections of a server. Default: 65,536.
    ///
    /// A further client is refused: its [`ConnectError::Refused`](crate::ConnectError::Refused)
    /// reports that the server is full. Only authenticated clients count. Detached sessions count,
    /// too.
    pub connections: u32,
    /// The maximum number of clients in the handshake or in authentication at the same time.
    /// Default: 1,024.
    ///
    /// Further clients wait in the system's queue of new connections. While others wait, a client
    /// that has not sent its hello within a second is disconnected. With the default, each 1,024
    /// clients that send nothing delay the others by about a second.
    ///
    /// Each connection needs a file descriptor. Raise the limit of open files above the sum of this
    /// limit and [`connections`](Self::connections). The default of many systems is 1,024. If the
    /// system has no descriptor left, the server disconnects clients that have sent nothing for a
    /// second.
    pub handshakes: u32,
    /// The maximum number of rooms of a socket. Default: 1,024.
    pub rooms_per_socket: u32,
    /// The maximum number of names that a connection listens to. Default: 4,096.
    ///
    /// The signatures of about the same number of the peer's names are stored. Calls to other names
    /// are not compared before they are sent.
    pub names_per_peer: u32,
    /// The time for which a server keeps a detached session, which the client can resume over
    /// another connection. Default: 30 s.
    pub resume_within: Duration,
    /// The maximum number of bytes that were sent to a peer, are not acknowledged, and are retained
    /// for retransmission. Default: 1 MiB.
    ///
    /// A client that missed more than that cannot resume its session. A longer message survives a
    /// connection loss as long as nothing is sent after it.
    pub resume_bytes: u32,
    /// The maximum number of detached sessions of a server. Default: 4,096.
    ///
    /// For a further session, the session that has been detached longest ends. With 0, sessions end
    /// with their connections.
    pub resume_sessions: u32,
    /// The maximum number of bytes that all detached sessions hold together. Default: 64 MiB.
    ///
    /// While they hold more, sessions end that hold more than an equal share. A reply that would
    /// exceed the limit ends its session and is not stored.
    ///
    /// The limit counts queued messages, messages retained for retransmission, replies, and
    /// received calls with handlers that have not completed. Such a call counts as twice its bytes,
    /// since its arguments are decoded, and 2 KiB.
    pub resume_sessions_bytes: u32,
    /// The maximum rate of calls and emits from a peer, in messages per second. Default: `None`,
    /// which is no limit.
    ///
    /// A burst of the messages of a second is accepted. Further messages wait in order, while their
    /// deadlines run. They count as in flight, so the peer slows down: its further calls fail with
    /// [`CallError::Overloaded`](crate::CallError::Overloaded). Replies are not delayed.
    pub calls_per_second: Option<u32>,
    /// The maximum rate of calls and emits from a peer, in bytes per second. Default: `None`, which
    /// is no limit.
    ///
    /// It works as [`calls_per_second`](Self::calls_per_second) does. A message that is larger than
    /// the bytes of a second is accepted, and the following messages wait longer.
    pub bytes_per_second: Option<u32>,
}

impl Limits {
    /// Returns the settings that this peer announces in the handshake.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.max_frame, self.calls_in_flight, self.bytes_in_flight)
    }

    /// Returns the idle timeout and the keep-alive interval.
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
        for (name, value, minimum) in numbers {
            assert!(value >= minimum, "`Limits::{name}` is {value}: set it to at least {minimum}");
        }
        let times = [
            ("authentication", *authentication, TIME_MIN),
            ("connected", *connected, TIME_MIN),
            ("call_timeout", *call_timeout, TIME_MIN),
            ("stall", *stall, TIME_MIN),
            ("heartbeat", *heartbeat, HEARTBEAT_MIN),
            ("silence", *silence, SILENCE_MIN),
        ];
        for (name, value, minimum) in times {
            assert!(value >= minimum, "`Limits::{name}` is {value:?}: set it to at least {minimum:?}");
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
