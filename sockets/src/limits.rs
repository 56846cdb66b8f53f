//! Limits on the resources that a peer can use.

use std::time::Duration;

use sockets_proto::{KeepAliveConfig, Settings};

/// The minimum of `max_frame`, in bytes.
const MAX_FRAME_MIN: u32 = 256;
/// Minimum of `max_decoded`, in bytes. With a smaller limit such as 0, a peer could receive no
/// `String` and no `Vec`.
const MAX_DECODED_MIN: u32 = 256;
/// The minimum of the limits that are times.
const TIME_MIN: Duration = Duration::from_millis(1);
/// The minimum of `heartbeat`.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
/// The minimum of `silence`.
const SILENCE_MIN: Duration = Duration::from_millis(200);

/// Limits on the resources of a connection, and on the number of connections of a server.
///
/// The two rates, `calls_per_second` and `bytes_per_second`, are disabled by default. All other
/// limits have a default value and cannot be disabled.
///
/// If a limit is below its minimum, the `limits` methods of the builders panic. These are the
/// minimums:
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
    /// If a peer announces a larger message, the receiver disconnects the peer before it allocates
    /// memory for the message. If a call is too large for its receiver, the call fails with
    /// [`CallError::TooLarge`](crate::CallError::TooLarge).
    ///
    /// The arguments of an emit can have at most `max_frame` minus 9 bytes. The arguments of a
    /// request can have at most `max_frame` minus 29 bytes. Both maximums apply to calls to a
    /// single peer and to an audience. If no member of an audience accepts the size of an emit, the
    /// emit fails. Otherwise, the emit skips the members that do not accept its size.
    pub max_frame: u32,
    /// The maximum memory of a message's decoded arguments or decoded reply, in bytes. Default: 64
    /// MiB.
    ///
    /// A decoded value may take much more memory than its encoding. For example, an element of a
    /// `Vec` of enums may take 32 bytes of memory and 1 received byte. If a value exceeds the
    /// limit, the call fails with [`CallError::Decode`](crate::CallError::Decode). The message of
    /// this error names the limit.
    ///
    /// Before the receiver decodes elements, it estimates their memory from their number and their
    /// size. The estimate does not include the spare capacity of collections: a `Vec` may reserve
    /// twice the memory that its elements need.
    pub max_decoded: u32,
    /// The maximum number of calls and emits in flight on a connection, in each direction. Default:
    /// 1,024.
    ///
    /// If the two peers have different limits, the smaller limit applies. Further calls are
    /// pending. The number of pending calls has the same limit, and their bytes are limited by
    /// [`outgoing_queue`](Self::outgoing_queue). If a call exceeds the limits of pending calls, the
    /// call fails with [`CallError::Overloaded`](crate::CallError::Overloaded).
    pub calls_in_flight: u32,
    /// The maximum total size of the calls and emits in flight on a connection, in bytes, in each
    /// direction. Default: 1 MiB.
    ///
    /// A message counts until its handler has completed. If the two peers have different limits,
    /// the smaller limit applies. While at most half of the limit is in use, a peer can send a
    /// message of any size.
    pub bytes_in_flight: u32,
    /// The maximum number of bytes that wait to be sent to a peer. Default: 4 MiB. While the queue
    /// is below this limit, it accepts another message of any size.
    ///
    /// An emit to a single peer waits until the queue has capacity. An emit to an audience waits at
    /// most 1 s, and only for members that received bytes within that second. If a queue is then
    /// still full, the method's [overflow policy](macro@crate::group#emits-to-slow-members)
    /// applies. By default, the server disconnects the member.
    ///
    /// If a reply exceeds the capacity, the encoded reply waits outside of the queue. While the
    /// waiting replies have at least this number of bytes, the callee holds handlers of methods
    /// that have returned replies of 4 KiB or more.
    pub outgoing_queue: u32,
    /// The maximum time for opening a connection and completing its handshake. Default: 10 s.
    ///
    /// On a server, the client must send its hello and be authenticated within this time. On a
    /// client, this time includes the login function, the opening of the connection and the
    /// server's authentication.
    pub authentication: Duration,
    /// The maximum size of a client's hello with its login, in bytes. Default: 64 KiB.
    pub login_bytes: u32,
    /// The maximum time of the `connected` hook. Default: 10 s.
    pub connected: Duration,
    /// The timeout of calls without a timeout of their own. It is also the maximum time of the
    /// handler of an emit. Default: 30 s.
    pub call_timeout: Duration,
    /// The maximum time for which [`Server::shutdown`](crate::Server::shutdown) waits for calls in
    /// flight. Default: 10 s.
    pub shutdown_grace: Duration,
    /// The write timeout: the maximum time for which a peer accepts no bytes while bytes wait to be
    /// sent to it. Default: 30 s.
    ///
    /// If too many bytes of replies wait for the peer, handlers are held. The write timeout is also
    /// the maximum time for which a handler is held.
    pub stall: Duration,
    /// The maximum time for which a peer sends no frame. After this time, the peer sends a
    /// keep-alive frame. Default: 20 s.
    ///
    /// If the idle timeout of the remote peer is short, the local peer sends keep-alive frames
    /// sooner. A busy connection needs no keep-alive frames.
    pub heartbeat: Duration,
    /// The idle timeout: the maximum time for which a peer receives no data. After this time, the
    /// connection ends with [`DisconnectReason::Silent`](crate::DisconnectReason::Silent). Default:
    /// 45 s.
    ///
    /// The timeout restarts when a frame begins, after each 64 KiB of the frame, and when the frame
    /// is complete. The remote peer receives this limit in the handshake, and sends keep-alive
    /// frames often enough. If the remote peer does not support keep-alive frames, the limit
    /// applies only while a frame is incomplete.
    ///
    /// If a handler blocks its thread, the keep-alive frames of its connection are delayed.
    pub silence: Duration,
    /// The maximum number of connections of a server. Default: 65,536.
    ///
    /// The server refuses each further client, which fails with
    /// [`ConnectError::Refused`](crate::ConnectError::Refused). The refusal reports that the server
    /// is full. Authenticated clients count towards the limit, and so do detached sessions. Clients
    /// that are not authenticated yet do not count.
    pub connections: u32,
    /// The maximum number of clients in the handshake or in authentication at the same time.
    /// Default: 1,024.
    ///
    /// Further clients wait in the system's queue of new connections. While clients wait, the
    /// server disconnects each client that has not sent its hello within a second. With the
    /// default, every 1,024 clients that send nothing therefore delay the waiting clients by about
    /// a second.
    ///
    /// Each connection needs a file descriptor. Set the system's limit of open files above the sum
    /// of this limit and [`connections`](Self::connections). On many systems, the default limit of
    /// open files is 1,024. If the system has no file descriptor left, the server disconnects
    /// clients that have sent nothing for a second.
    pub handshakes: u32,
    /// The maximum number of rooms of a socket. Default: 1,024.
    pub rooms_per_socket: u32,
    /// The maximum number of names to which a peer listens on a connection. Default: 4,096.
    ///
    /// A peer also stores the announced signatures for about this number of the remote peer's
    /// names. If a name has no stored signature, calls to the name are sent without a comparison of
    /// signatures.
    pub names_per_peer: u32,
    /// The time for which a server keeps a detached session. Within this time, the client can
    /// resume the session over another connection. Default: 30 s.
    pub resume_within: Duration,
    /// The maximum number of bytes that a sender retains for retransmission. These are the bytes
    /// that were sent to the peer and are not acknowledged. Default: 1 MiB.
    ///
    /// If a client has missed more bytes, it cannot resume its session. There is an exception for a
    /// longer message: it survives a connection loss as long as no message is sent after it.
    pub resume_bytes: u32,
    /// The maximum number of detached sessions of a server. Default: 4,096.
    ///
    /// If a further session is detached, the server ends the session that has been detached for the
    /// longest time. With a limit of 0, each session ends with its connection.
    pub resume_sessions: u32,
    /// The maximum number of bytes that all detached sessions hold together. Default: 64 MiB.
    ///
    /// While detached sessions exceed the limit, the server divides the limit into equal shares,
    /// and ends sessions that hold more than their share. If a reply would exceed the limit, the
    /// server ends the reply's session and does not store the reply.
    ///
    /// The limit counts queued messages, messages retained for retransmission, replies, and
    /// received calls with handlers that have not completed. Each such call counts as 2 KiB plus
    /// twice its bytes, since its arguments are decoded.
    pub resume_sessions_bytes: u32,
    /// The maximum rate of calls and emits from a peer, in messages per second. `None` disables the
    /// limit. Default: `None`.
    ///
    /// The receiver accepts a burst with the messages of a whole second. Further messages wait in
    /// their order, and their deadlines continue to run. Waiting messages count as in flight. The
    /// sender therefore slows down: its further calls fail with
    /// [`CallError::Overloaded`](crate::CallError::Overloaded). Replies are not delayed.
    pub calls_per_second: Option<u32>,
    /// The maximum rate of calls and emits from a peer, in bytes per second. `None` disables the
    /// limit. Default: `None`.
    ///
    /// The limit works as [`calls_per_second`](Self::calls_per_second) does. If a message is larger
    /// than the bytes of a whole second, the receiver accepts it, and the following messages wait
    /// longer.
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
    /// The method panics if a limit is below its minimum.
    #[track_caller]
    pub(crate) fn check(&self) {
        // The pattern has no `..`, so that each new limit needs a decision.
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
