//! The errors of calls.

use crate::method::Method;
use std::{
    convert::Infallible,
    fmt::{self, Debug, Display},
};

use sockets_proto::{
    CallResult, FailureCode, SendOutcome,
    name::{InvalidName, full_name},
};

/// The error of a call or an emit.
///
/// `E` is the error type of the method's `Result`. If a handler does not return a `Result`, it
/// cannot fail, and `E` is its default [`Infallible`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E = Infallible> {
    /// The handler completed with this error.
    Handler(E),
    /// The deadline passed before the reply arrived. The peer may have started the handler. If so,
    /// the peer stops the handler at the handler's next suspension.
    Timeout,
    /// The connection ended before the reply arrived.
    Disconnected {
        /// `true` if the caller had passed the call to the transport. The peer may have executed
        /// such a call.
        maybe_executed: bool,
    },
    /// The peer has no handler and no listener for this method.
    NoSuchMethod,
    /// The two peers disagree about the method's types, or about whether the method is a request or
    /// an emit. The callee has not executed the call.
    ///
    /// If the callee has already announced its methods, a call by a stub fails before the caller
    /// sends it.
    SignatureMismatch {
        /// The path and name of the method, and both signatures. A signature is the beginning of a
        /// hash of the method's types.
        message: String,
    },
    /// The caller could not encode the arguments, or the callee could not encode the reply. The
    /// message names the method, the argument or the reply, its type and the peer that failed.
    Encode(String),
    /// The callee could not decode the arguments, or the caller could not decode the reply. The
    /// message names the method, the argument or the reply, its type and the peer that failed.
    Decode(String),
    /// A message exceeds the limit of its receiver.
    TooLarge {
        /// The message that is too large, and the limit.
        message: String,
    },
    /// Too many calls are in flight or pending. Try again later.
    ///
    /// If a handler makes a call that stays pending, the call also fails with this error after a
    /// second without progress. The reason is that the handlers of both peers may be waiting for
    /// each other.
    Overloaded,
    /// The call was denied by a layer of the peer or of the caller.
    Denied,
    /// A layer of the peer or of the caller failed with this error. See the feature `middleware`.
    Failed(String),
    /// The peer is shutting down and accepts no new calls.
    ShuttingDown,
    /// The handler panicked.
    Panicked,
    /// The name or the path of a dynamic call is invalid.
    InvalidName(String),
}

impl CallError {
    /// Converts the error to the error of a method with a handler that can fail.
    pub(crate) fn widen<F>(self) -> CallError<F> {
        match self {
            CallError::Handler(never) => match never {},
            CallError::Timeout => CallError::Timeout,
            CallError::Disconnected { maybe_executed } => CallError::Disconnected { maybe_executed },
            CallError::NoSuchMethod => CallError::NoSuchMethod,
            CallError::SignatureMismatch { message } => CallError::SignatureMismatch { message },
            CallError::Encode(message) => CallError::Encode(message),
            CallError::Decode(message) => CallError::Decode(message),
            CallError::TooLarge { message } => CallError::TooLarge { message },
            CallError::Overloaded => CallError::Overloaded,
            CallError::Denied => CallError::Denied,
            CallError::Failed(message) => CallError::Failed(message),
            CallError::ShuttingDown => CallError::ShuttingDown,
            CallError::Panicked => CallError::Panicked,
            CallError::InvalidName(message) => CallError::InvalidName(message),
        }
    }
}

impl<E: Display> Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::Timeout => f.write_str("the deadline passed before the reply arrived"),
            Self::Disconnected { maybe_executed: true } => {
                f.write_str("the connection ended before the reply arrived; the call may have been executed")
            }
            Self::Disconnected { maybe_executed: false } => {
                f.write_str("the connection had ended; the call was not executed")
            }
            Self::NoSuchMethod => f.write_str("the peer does not serve or listen to this method"),
            Self::SignatureMismatch { message } => write!(f, "the two peers disagree about the method: {message}"),
            Self::TooLarge { message } => {
                write!(f, "the message is too large: {message}; raise `Limits::max_frame` of its receiver")
            }
            Self::Overloaded => f.write_str(
                "too many calls are in flight; try again later, or raise `Limits::calls_in_flight`, \
                 `Limits::bytes_in_flight` or `Limits::outgoing_queue`",
            ),
            Self::Denied => f.write_str("the call is not allowed"),
            Self::ShuttingDown => f.write_str("the peer is shutting down and accepts no new calls"),
            Self::Panicked => f.write_str("the handler panicked"),
            Self::Failed(message) | Self::Encode(message) | Self::Decode(message) | Self::InvalidName(message) => {
                f.write_str(message)
            }
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handler(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InvalidName> for CallError {
    fn from(error: InvalidName) -> Self {
        Self::InvalidName(error.to_string())
    }
}

impl CallError {
    /// Returns the error of a method for which the peer has announced another signature.
    #[cold]
    pub(crate) fn mismatch(method: &Method, theirs: u64) -> Self {
        let name = full_name(method.path, method.name);
        // Shows the bytes in the order of the hash.
        let (ours, theirs) = (method.signature.swap_bytes(), theirs.swap_bytes());
        let types = method.types;
        Self::SignatureMismatch {
            message: format!(
                "`{name}` is `{types}` with signature {ours:016x} here, and has signature {theirs:016x} at the peer"
            ),
        }
    }

    /// Returns the error of a message that was not sent.
    pub(crate) fn from_send_outcome(outcome: SendOutcome) -> Self {
        match outcome {
            SendOutcome::TooLarge { limit } => {
                Self::TooLarge { message: format!("the peer accepts frames of at most {limit} bytes") }
            }
            SendOutcome::ShuttingDown => Self::ShuttingDown,
            SendOutcome::Sent | SendOutcome::Pending | SendOutcome::Full | SendOutcome::Dropped => Self::Overloaded,
        }
    }

    /// Returns the bytes of the reply, or the caller's error.
    pub(crate) fn from_call_result(result: CallResult) -> Result<bytes::Bytes, Self> {
        Err(match result {
            CallResult::Reply(payload) => return Ok(payload),
            CallResult::TimedOut => Self::Timeout,
            CallResult::Overloaded => Self::Overloaded,
            CallResult::Disconnected { maybe_executed } => Self::Disconnected { maybe_executed },
            CallResult::Failure { code, text } => match code {
                FailureCode::NoSuchMethod => Self::NoSuchMethod,
                FailureCode::SignatureMismatch => Self::SignatureMismatch { message: text },
                FailureCode::Decode => Self::Decode(text),
                FailureCode::Encode => Self::Encode(text),
                FailureCode::TooLarge => Self::TooLarge { message: text },
                FailureCode::Overloaded => Self::Overloaded,
                FailureCode::Denied => Self::Denied,
                FailureCode::Failed => Self::Failed(text),
                FailureCode::ShuttingDown => Self::ShuttingDown,
                FailureCode::Panicked => Self::Panicked,
                FailureCode::Timeout => Self::Timeout,
                // The callee sends this code in two cases: the caller cancelled the call, or the
                // end of the session stopped the handler. In both cases, the handler may have run
                // in part.
                FailureCode::Cancelled => Self::Disconnected { maybe_executed: true },
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
            Self::SignatureMismatch { message } => return (FailureCode::SignatureMismatch, message),
            Self::Encode(message) => return (FailureCode::Encode, message),
            Self::Decode(message) => return (FailureCode::Decode, message),
            Self::TooLarge { message } => return (FailureCode::TooLarge, message),
            Self::Overloaded => FailureCode::Overloaded,
            Self::Denied => FailureCode::Denied,
            Self::ShuttingDown => FailureCode::ShuttingDown,
            Self::Panicked => FailureCode::Panicked,
            Self::Failed(message) => return (FailureCode::Failed, message),
            // These concern another call, which the layer has made.
            error @ (Self::Disconnected { .. } | Self::InvalidName(_)) => {
                return (FailureCode::Failed, error.to_string());
            }
        };
        (code, String::new())
    }
}
