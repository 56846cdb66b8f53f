//! The errors of calls.

use std::{
    convert::Infallible,
    error::Error,
    fmt::{self, Debug, Display},
};

use crate::{disconnect_reason::DisconnectReason, method::Method, session::Session};
use sockets_proto::{
    CallResult, FailureCode, SendOutcome,
    name::{InvalidName, full_name},
};

/// The error of a call or an emit.
///
/// `E` is the error type of the method's `Result`. If a handler does not return a `Result`, it
/// cannot fail, and `E` is its default [`Infallible`]. [`widen`](CallError::widen) converts such an
/// error for a function that also makes calls with an `E`.
///
/// The [`source`](Error::source) of the error is the typed cause, if the variant has one. The
/// message of the error includes the message of the cause. A handler's own error has no source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E = Infallible> {
    /// The handler completed with this error.
    Handler(E),
    /// The deadline passed before the reply arrived. The peer may have started the handler. If so,
    /// the peer stops the handler at the handler's next suspension.
    Timeout,
    /// The session ended before the reply arrived.
    Disconnected {
        /// `true` if the caller had passed the call to the transport. The peer may have executed
        /// such a call.
        maybe_executed: bool,
        /// The reason for the end of the session. If the client has a new session with its server,
        /// it is the reason for which the former session lost its connection.
        reason: DisconnectReason,
    },
    /// The peer has no handler and no listener for this method.
    NoSuchMethod,
    /// The two peers disagree about the method's types, or about whether the method is a request or
    /// an emit. The callee has not executed the call.
    ///
    /// If the callee has already announced its methods, a call by a stub fails before the caller
    /// sends it.
    SignatureMismatch(SignatureMismatch),
    /// The caller could not encode the arguments, or the callee could not encode the reply.
    Encode(EncodeError),
    /// The callee could not decode the arguments, or the caller could not decode the reply.
    Decode(DecodeError),
    /// A message exceeds the limit of its receiver.
    TooLarge(TooLarge),
    /// Too many calls are in flight or pending. Try again later.
    ///
    /// If a handler makes a call that stays pending, the call also fails with this error after a
    /// second without progress. The reason is that the handlers of both peers may be waiting for
    /// each other.
    Overloaded,
    /// The call was denied by a layer of the peer or of the caller, with this message.
    Denied(String),
    /// A layer of the peer or of the caller failed with this error. See the feature `middleware`.
    Failed(String),
    /// The name or the path of a dynamic call is invalid.
    InvalidName(InvalidName),
    /// The peer is shutting down and accepts no new calls.
    ShuttingDown,
    /// The handler panicked.
    Panicked,
}

impl CallError {
    /// Converts the error of a call that has no error of its own, for a function that returns the
    /// error of another method.
    ///
    /// ```
    /// # #[derive(Debug, serde::Serialize, serde::Deserialize)]
    /// # pub struct SoldOut;
    /// # #[sockets::group("Shop")]
    /// # pub trait Shop {
    /// #     async fn price(&self, item: &str) -> u32;
    /// #     async fn buy(&self, item: &str, price: u32) -> Result<(), SoldOut>;
    /// # }
    /// use sockets::{CallError, Client};
    ///
    /// async fn buy(client: &Client, item: &str) -> Result<u32, CallError<SoldOut>> {
    ///     let shop = ShopClient::new(client);
    ///     let price = shop.price(item).await.map_err(CallError::widen)?;
    ///     shop.buy(item, price).await?;
    ///     Ok(price)
    /// }
    /// ```
    pub fn widen<E>(self) -> CallError<E> {
        match self {
            CallError::Handler(never) => match never {},
            CallError::Timeout => CallError::Timeout,
            CallError::Disconnected { maybe_executed, reason } => CallError::Disconnected { maybe_executed, reason },
            CallError::NoSuchMethod => CallError::NoSuchMethod,
            CallError::SignatureMismatch(mismatch) => CallError::SignatureMismatch(mismatch),
            CallError::Encode(error) => CallError::Encode(error),
            CallError::Decode(error) => CallError::Decode(error),
            CallError::TooLarge(error) => CallError::TooLarge(error),
            CallError::Overloaded => CallError::Overloaded,
            CallError::Denied(message) => CallError::Denied(message),
            CallError::Failed(message) => CallError::Failed(message),
            CallError::InvalidName(error) => CallError::InvalidName(error),
            CallError::ShuttingDown => CallError::ShuttingDown,
            CallError::Panicked => CallError::Panicked,
        }
    }

    /// Returns the error of a message that was not sent.
    pub(crate) fn from_send_outcome(outcome: SendOutcome) -> Self {
        match outcome {
            SendOutcome::TooLarge { length, limit } => Self::TooLarge(TooLarge::new(length, limit)),
            SendOutcome::ShuttingDown => Self::ShuttingDown,
            SendOutcome::Sent | SendOutcome::Pending | SendOutcome::Full | SendOutcome::Dropped => Self::Overloaded,
        }
    }

    /// Returns the bytes of the reply, or the caller's error. `method` returns the method's full
    /// name.
    pub(crate) fn from_call_result(
        result: CallResult,
        session: &Session,
        method: impl FnOnce() -> String,
    ) -> Result<bytes::Bytes, Self> {
        Err(match result {
            CallResult::Reply(payload) => return Ok(payload),
            CallResult::TimedOut => Self::Timeout,
            CallResult::Overloaded => Self::Overloaded,
            CallResult::Disconnected { maybe_executed } => {
                Self::Disconnected { maybe_executed, reason: session.loss() }
            }
            CallResult::Failure { code, text } => match code {
                FailureCode::NoSuchMethod => Self::NoSuchMethod,
                FailureCode::SignatureMismatch => {
                    Self::SignatureMismatch(SignatureMismatch::new(method(), "a request".into(), text))
                }
                FailureCode::Decode => Self::Decode(DecodeError::new(text)),
                FailureCode::Encode => Self::Encode(EncodeError::new(text)),
                FailureCode::TooLarge => {
                    Self::TooLarge(TooLarge::from_failure(&text, session.limits().max_frame as usize))
                }
                FailureCode::Overloaded => Self::Overloaded,
                FailureCode::Denied => Self::Denied(text),
                FailureCode::Failed => Self::Failed(text),
                FailureCode::ShuttingDown => Self::ShuttingDown,
                FailureCode::Panicked => Self::Panicked,
                FailureCode::Timeout => Self::Timeout,
                // The callee sends this code in two cases: the caller cancelled the call, or the
                // end of the session stopped the handler. In both cases, the handler may have run
                // in part.
                FailureCode::Cancelled => Self::Disconnected { maybe_executed: true, reason: session.loss() },
            },
        })
    }

    /// Returns the failure that the caller receives for an error of a layer or of a handler with
    /// layers.
    #[cfg(feature = "middleware")]
    pub(crate) fn into_failure(self) -> (FailureCode, String) {
        let code = match self {
            Self::Handler(never) => match never {},
            Self::Timeout => FailureCode::Timeout,
            Self::NoSuchMethod => FailureCode::NoSuchMethod,
            Self::SignatureMismatch(error) => return (FailureCode::SignatureMismatch, error.theirs),
            Self::Encode(error) => return (FailureCode::Encode, error.message),
            Self::Decode(error) => return (FailureCode::Decode, error.message),
            Self::TooLarge(error) => return (FailureCode::TooLarge, error.bytes.to_string()),
            Self::Overloaded => FailureCode::Overloaded,
            Self::Denied(message) => return (FailureCode::Denied, message),
            Self::Failed(message) => return (FailureCode::Failed, message),
            Self::ShuttingDown => FailureCode::ShuttingDown,
            Self::Panicked => FailureCode::Panicked,
            // These concern another call, which the layer has made.
            error @ (Self::Disconnected { .. } | Self::InvalidName(_)) => {
                return (FailureCode::Failed, error.to_string());
            }
        };
        (code, String::new())
    }
}

impl<E: Display> Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => Display::fmt(error, f),
            Self::Timeout => f.write_str("the deadline passed before the reply arrived"),
            Self::Disconnected { maybe_executed: true, reason } => {
                write!(f, "{reason}; the reply had not arrived, and the call may have been executed")
            }
            Self::Disconnected { maybe_executed: false, reason } => {
                write!(f, "{reason}; the call was not executed")
            }
            Self::NoSuchMethod => f.write_str("the peer does not serve or listen to this method"),
            Self::SignatureMismatch(error) => Display::fmt(error, f),
            Self::Encode(error) => Display::fmt(error, f),
            Self::Decode(error) => Display::fmt(error, f),
            Self::TooLarge(error) => Display::fmt(error, f),
            Self::Overloaded => f.write_str(
                "too many calls are in flight; try again later, or raise `Limits::calls_in_flight`, \
                 `Limits::bytes_in_flight` or `Limits::outgoing_queue`",
            ),
            Self::Denied(message) if message.is_empty() => f.write_str("the call is not allowed"),
            Self::Denied(message) => write!(f, "the call is not allowed: {message}"),
            Self::Failed(message) => write!(f, "a layer failed: {message}"),
            Self::InvalidName(error) => Display::fmt(error, f),
            Self::ShuttingDown => f.write_str("the peer is shutting down and accepts no new calls"),
            Self::Panicked => f.write_str("the handler panicked"),
        }
    }
}

impl<E: Debug + Display> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Disconnected { reason, .. } => Some(reason),
            Self::SignatureMismatch(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Decode(error) => Some(error),
            Self::TooLarge(error) => Some(error),
            Self::InvalidName(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InvalidName> for CallError {
    fn from(error: InvalidName) -> Self {
        Self::InvalidName(error)
    }
}

/// The two peers disagree about a method: about its types, or about whether it is a request or an
/// emit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the two peers disagree about the method: `{method}` is {ours} at the caller and {theirs} at the callee; \
     build both with the same version of the group"
)]
pub struct SignatureMismatch {
    method: String,
    ours: String,
    theirs: String,
}

impl SignatureMismatch {
    fn new(method: String, ours: String, theirs: String) -> Self {
        Self { method, ours, theirs }
    }

    /// Returns the error of a method for which the peer has announced another signature.
    #[cold]
    pub(crate) fn of(method: &Method, theirs: u64) -> Self {
        // Shows the bytes in the order of the hash.
        let (ours, theirs) = (method.signature.swap_bytes(), theirs.swap_bytes());
        Self::new(
            full_name(method.path, method.name),
            format!("`{}` with signature {ours:016x}", method.types),
            format!("a method with signature {theirs:016x}"),
        )
    }

    /// Returns the path and the name of the method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Describes the method at the caller. The description contains the method's types and its
    /// signature, which is the beginning of a hash of the types.
    pub fn ours(&self) -> &str {
        &self.ours
    }

    /// Describes the method at the callee. The description contains the method's signature.
    pub fn theirs(&self) -> &str {
        &self.theirs
    }
}

/// A value could not be encoded.
///
/// The message names the method, the argument or the reply, its type and the peer that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EncodeError {
    message: String,
}

impl EncodeError {
    pub(crate) fn new(message: String) -> Self {
        Self { message }
    }
}

/// Received bytes could not be decoded.
///
/// The message names the method, the argument or the reply, its type and the peer that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    message: String,
}

impl DecodeError {
    pub(crate) fn new(message: String) -> Self {
        Self { message }
    }
}

/// A message exceeds the limit of its receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the message is too large: it has {bytes} bytes, and its receiver accepts {limit} bytes; \
     send less at once, or raise `Limits::max_frame` of the receiver"
)]
pub struct TooLarge {
    bytes: u64,
    limit: u64,
}

impl TooLarge {
    pub(crate) fn new(bytes: usize, limit: usize) -> Self {
        Self { bytes: bytes as u64, limit: limit as u64 }
    }

    /// Returns the error of a reply. The text of the callee's failure begins with the length of the
    /// reply.
    fn from_failure(text: &str, limit: usize) -> Self {
        let bytes = text.split_once(' ').map_or(text, |(bytes, _)| bytes).parse();
        Self::new(bytes.unwrap_or(limit.saturating_add(1)), limit)
    }

    /// Returns the size of the encoded message, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the maximum size that the receiver accepts, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}
