//! Limits on the resources that a peer can use.

use std::{fmt::Debug, time::Duration};

use sockets_proto::{KeepAliveConfig, Settings};

/// Limits on the resources of a connection, and on the number of connections of a server.
///
/// The two rates, `calls_per_second` and `bytes_per_second`, are disabled unless they are set. All
/// other limits have a default value and cannot be disabled. A method panics if its value is below
/// the minimum of the limit.
///
/// ```
/// use std::time::Duration;
/// use sockets::{Limits, Server};
///
/// let limits = Limits::new().calls_in_flight(64).call_timeout(Duration::from_secs(5));
/// let server = Server::builder().limits(limits);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "limits have no effect until a builder receives them"]
pub struct Limits {
    pub(crate) max_frame: u32,
    pub(crate) max_decoded: u32,
    pub(crate) calls_in_flight: u32,
    pub(crate) bytes_in_flight: u32,
    pub(crate) outgoing_queue: u32,
    pub(crate) authentication: Duration,
    pub(crate) login_bytes: u32,
    pub(crate) connected: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) max_detached_handlers: u32,
    pub(crate) shutdown_grace: Duration,
    pub(crate) stall: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) silence: Duration,
    pub(crate) connections: u32,
    pub(crate) handshakes: u32,
    pub(crate) rooms_per_socket: u32,
    pub(crate) names_per_peer: u32,
    pub(crate) resume_within: Duration,
    pub(crate) resume_bytes: u32,
    pub(crate) resume_sessions: u32,
    pub(crate) resume_sessions_bytes: u32,
    pub(crate) calls_per_second: Option<u32>,
    pub(crate) bytes_per_second: Option<u32>,
}

impl Limits {
    /// Returns the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum size of a received message, in bytes. Default: 4 MiB.
    ///
    /// If a peer announces a larger message, the receiver disconnects the peer before it allocates
    /// memory for the message. If a call is too large for its receiver, the call fails with
    /// [`CallError::TooLarge`](crate::CallError::TooLarge).
    ///
    /// The arguments of an emit can have at most `max_frame` minus 9 bytes. The arguments of a
    /// request can have at most `max_frame` minus 29 bytes. Both maximums apply to calls to a
    /// single peer and to an audience. If no member of an audience accepts the size of an emit, the
    /// emit fails. Otherwise, the emit skips the members that do not accept its size.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 256.
    #[track_caller]
    pub fn max_frame(self, value: u32) -> Self {
        Self { max_frame: at_least("max_frame", value, 256), ..self }
    }

    /// Sets the maximum memory of a message's decoded arguments or decoded reply, in bytes.
    /// Default: 64 MiB.
    ///
    /// A decoded value may take much more memory than its encoding. For example, an element of a
    /// `Vec` of enums may take 32 bytes of memory and 1 received byte. If a value exceeds the
    /// limit, the call fails with [`CallError::Decode`](crate::CallError::Decode). The message of
    /// this error names the limit.
    ///
    /// Before the receiver decodes elements, it estimates their memory from their number and their
    /// size. The estimate does not include the spare capacity of collections: a `Vec` may reserve
    /// twice the memory that its elements need.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 256.
    #[track_caller]
    pub fn max_decoded(self, value: u32) -> Self {
        Self { max_decoded: at_least("max_decoded", value, 256), ..self }
    }

    /// Sets the maximum number of calls and emits in flight on a connection, in each direction.
    /// Default: 1,024.
    ///
    /// If the two peers have different limits, the smaller limit applies. Further calls are
    /// pending. The number of pending calls has the same limit, and their bytes are limited by
    /// [`outgoing_queue`](Self::outgoing_queue). If a call exceeds the limits of pending calls, the
    /// call fails with [`CallError::Overloaded`](crate::CallError::Overloaded).
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn calls_in_flight(self, value: u32) -> Self {
        Self { calls_in_flight: at_least("calls_in_flight", value, 1), ..self }
    }

    /// Sets the maximum total size of the calls and emits in flight on a connection, in bytes, in
    /// each direction. Default: 1 MiB.
    ///
    /// A message counts until its handler has completed. If the two peers have different limits,
    /// the smaller limit applies. While at most half of the limit is in use, a peer can send a
    /// message of any size.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn bytes_in_flight(self, value: u32) -> Self {
        Self { bytes_in_flight: at_least("bytes_in_flight", value, 1), ..self }
    }

    /// Sets the maximum number of bytes in the queue of messages to a peer. Default: 4 MiB. A queue
    /// with fewer bytes than this limit accepts another message of any size. A queue with at least
    /// as many bytes is full.
    ///
    /// An emit to a single peer waits until the queue has capacity. An emit to an audience waits at
    /// most 1 s, and only for members that received bytes within that second. If a queue is then
    /// still full, the method's [overflow policy](macro@crate::group#emits-to-slow-members)
    /// applies. By default, the server disconnects the member. Emits with
    /// [`latest`](macro@crate::group#only-the-latest-emit) may use as much again.
    ///
    /// If the queue is full, an encoded reply waits outside of the queue. While such replies have
    /// at least this number of bytes in total, the callee holds the handlers of methods that have
    /// returned replies of 4 KiB or more. The callee resumes a held handler when the caller has
    /// read enough.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn outgoing_queue(self, value: u32) -> Self {
        Self { outgoing_queue: at_least("outgoing_queue", value, 1), ..self }
    }

    /// Sets the maximum time for opening a connection and completing its handshake. Default: 10 s.
    ///
    /// On a server, the client must send its hello and be authenticated within this time. On a
    /// client, this time includes the login function, the opening of the connection and the
    /// server's authentication.
    ///
    /// # Panics
    ///
    /// The method panics if the time is less than 1 ms.
    #[track_caller]
    pub fn authentication(self, value: Duration) -> Self {
        Self { authentication: at_least("authentication", value, Duration::from_millis(1)), ..self }
    }

    /// Sets the maximum size of a client's hello with its login, in bytes. Default: 64 KiB.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn login_bytes(self, value: u32) -> Self {
        Self { login_bytes: at_least("login_bytes", value, 1), ..self }
    }

    /// Sets the maximum time of the `connected` hook. Default: 10 s.
    ///
    /// # Panics
    ///
    /// The method panics if the time is less than 1 ms.
    #[track_caller]
    pub fn connected(self, value: Duration) -> Self {
        Self { connected: at_least("connected", value, Duration::from_millis(1)), ..self }
    }

    /// Sets the timeout of calls without a timeout of their own. It is also the maximum time of the
    /// handler of an emit. Default: 30 s.
    ///
    /// # Panics
    ///
    /// The method panics if the time is less than 1 ms.
    #[track_caller]
    pub fn call_timeout(self, value: Duration) -> Self {
        Self { call_timeout: at_least("call_timeout", value, Duration::from_millis(1)), ..self }
    }

    /// Sets the maximum number of suspended handlers that a peer may have in methods with
    /// [`detached`](macro@crate::group#detached-handlers). Default: 64.
    ///
    /// If a peer calls another such method, its request fails as
    /// [`CallError::Overloaded`](crate::CallError::Overloaded), and its emit is dropped. The same
    /// happens if all sessions of a server, including those that have ended, have as many such
    /// handlers as the server may have [`connections`](Self::connections).
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn max_detached_handlers(self, value: u32) -> Self {
        Self { max_detached_handlers: at_least("max_detached_handlers", value, 1), ..self }
    }

    /// Sets the maximum time for which [`Server::shutdown`](crate::Server::shutdown) waits for
    /// calls in flight. Default: 10 s.
    pub fn shutdown_grace(self, value: Duration) -> Self {
        Self { shutdown_grace: value, ..self }
    }

    /// Sets the write timeout: the maximum time for which a peer accepts no bytes while bytes wait
    /// to be sent to it. Default: 30 s.
    ///
    /// If too many bytes of replies wait for the peer, handlers are held. The write timeout is also
    /// the maximum time for which a handler is held.
    ///
    /// # Panics
    ///
    /// The method panics if the time is less than 1 ms.
    #[track_caller]
    pub fn stall(self, value: Duration) -> Self {
        Self { stall: at_least("stall", value, Duration::from_millis(1)), ..self }
    }

    /// Sets the maximum time for which a peer sends no frame. After this time, the peer sends a
    /// keep-alive frame. Default: 20 s.
    ///
    /// If the idle timeout of the remote peer is short, the local peer sends keep-alive frames
    /// sooner. A busy connection needs no keep-alive frames.
    ///
    /// # Panics
    ///
    /// The method panics if the time is less than 50 ms.
    #[track_caller]
    pub fn heartbeat(self, value: Duration) -> Self {
        Self { heartbeat: at_least("heartbeat", value, Duration::from_millis(50)), ..self }
    }

    /// Sets the idle timeout: the maximum time for which a peer receives no data. After this time,
    /// the connection ends with [`DisconnectReason::Silent`](crate::DisconnectReason::Silent).
    /// Default: 45 s.
    ///
    /// The timeout restarts when a frame begins, after each 64 KiB of the frame, and when the frame
    /// is complete. The remote peer receives this limit in the handshake, and sends keep-alive
    /// frames often enough. If the remote peer does not support keep-alive frames, the limit
    /// applies only while a frame is incomplete.
    ///
    /// If a handler blocks its thread, the keep-alive frames of its connection are delayed.
    ///
    /// # Panics
    ///
    /// The method panics if the time is less than 200 ms.
    #[track_caller]
    pub fn silence(self, value: Duration) -> Self {
        Self { silence: at_least("silence", value, Duration::from_millis(200)), ..self }
    }

    /// Sets the maximum number of connections of a server. Default: 65,536.
    ///
    /// The server refuses each further client, which fails with
    /// [`ConnectError::Refused`](crate::ConnectError::Refused). The refusal reports that the server
    /// is full. Authenticated clients count towards the limit, and so do detached sessions. Clients
    /// that are not authenticated yet do not count.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn connections(self, value: u32) -> Self {
        Self { connections: at_least("connections", value, 1), ..self }
    }

    /// Sets the maximum number of clients in the handshake or in authentication at the same time.
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
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn handshakes(self, value: u32) -> Self {
        Self { handshakes: at_least("handshakes", value, 1), ..self }
    }

    /// Sets the maximum number of rooms of a socket. Default: 1,024.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn rooms_per_socket(self, value: u32) -> Self {
        Self { rooms_per_socket: at_least("rooms_per_socket", value, 1), ..self }
    }

    /// Sets the maximum number of names to which the local endpoint listens on a connection.
    /// Default: 4,096. The limit is checked when a group or listener is added to a session. The
    /// groups of a builder are always added.
    ///
    /// The local endpoint also stores the signatures that the peer announces, for about the same
    /// number of names. The local endpoint calls any other name of the peer without a comparison of
    /// signatures.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn names_per_peer(self, value: u32) -> Self {
        Self { names_per_peer: at_least("names_per_peer", value, 1), ..self }
    }

    /// Sets the time for which a server keeps a detached session. Within this time, the client can
    /// resume the session over another connection. Default: 30 s.
    pub fn resume_within(self, value: Duration) -> Self {
        Self { resume_within: value, ..self }
    }

    /// Sets the maximum number of bytes that a sender retains for retransmission. These are the
    /// bytes that were sent to the peer and are not acknowledged. Default: 1 MiB.
    ///
    /// If a client has missed more bytes, it cannot resume its session. There is an exception for a
    /// longer message: it survives a connection loss as long as no message is sent after it.
    pub fn resume_bytes(self, value: u32) -> Self {
        Self { resume_bytes: value, ..self }
    }

    /// Sets the maximum number of detached sessions of a server. Default: 4,096.
    ///
    /// If a further session is detached, the server ends the session that has been detached for the
    /// longest time. With a limit of 0, each session ends with its connection.
    pub fn resume_sessions(self, value: u32) -> Self {
        Self { resume_sessions: value, ..self }
    }

    /// Sets the maximum number of bytes that all detached sessions hold together. Default: 64 MiB.
    ///
    /// While detached sessions exceed the limit, the server divides the limit into equal shares,
    /// and ends sessions that hold more than their share. If a reply would exceed the limit, the
    /// server ends the reply's session and does not store the reply.
    ///
    /// The limit counts queued messages, messages retained for retransmission, replies, and
    /// received calls with handlers that have not completed. Each such call counts as 2 KiB plus
    /// twice its bytes, since its arguments are decoded.
    pub fn resume_sessions_bytes(self, value: u32) -> Self {
        Self { resume_sessions_bytes: value, ..self }
    }

    /// Sets the maximum rate of calls and emits from a peer, in messages per second.
    /// Disabled by default.
    ///
    /// The receiver accepts a burst with the messages of a whole second. Further messages wait in
    /// their order, and their deadlines continue to run. Waiting messages count as in flight. The
    /// sender therefore slows down: its further calls fail with
    /// [`CallError::Overloaded`](crate::CallError::Overloaded). Replies are not delayed.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn calls_per_second(self, value: u32) -> Self {
        Self { calls_per_second: Some(at_least("calls_per_second", value, 1)), ..self }
    }

    /// Sets the maximum rate of calls and emits from a peer, in bytes per second.
    /// Disabled by default.
    ///
    /// The receiver delays calls and emits as [`calls_per_second`](Self::calls_per_second)
    /// describes. The receiver accepts a message even if the rate permits fewer bytes in a second.
    /// The messages after it then wait longer, until the rate has permitted all its bytes.
    ///
    /// # Panics
    ///
    /// The method panics if the number is less than 1.
    #[track_caller]
    pub fn bytes_per_second(self, value: u32) -> Self {
        Self { bytes_per_second: Some(at_least("bytes_per_second", value, 1)), ..self }
    }

    /// Returns the settings that this peer announces in the handshake.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.max_frame, self.calls_in_flight, self.bytes_in_flight)
    }

    /// Returns the idle timeout and the keep-alive interval.
    pub(crate) fn keep_alive(&self) -> KeepAliveConfig {
        KeepAliveConfig { idle_timeout: self.silence, interval: self.heartbeat }
    }
}

/// Returns the value of a limit.
///
/// # Panics
///
/// The function panics if the value is below the minimum of the limit.
#[track_caller]
fn at_least<T: PartialOrd + Debug>(limit: &str, value: T, minimum: T) -> T {
    assert!(value >= minimum, "`Limits::{limit}` is {value:?}: set it to at least {minimum:?}");
    value
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
            max_detached_handlers: 64,
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
