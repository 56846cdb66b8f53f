//! How a call fails.

use crate::method::Method;
use std::{
    convert::Infallible,
    fmt::{self, Debug, Display},
};

use sockets_proto::{
    CallResult, FailureCode, SendOutcome,
    name::{InvalidName, full_name},
};

/// Why a call or an emit failed.
///
/// `E` is the error of the method's own `Result`; a method that returns something else cannot fail in its handler,
/// and `E` is [`Infallible`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E = Infallible> {
    /// The handler ran and returned this error.
    Handler(E),
    /// The deadline passed. The handler may have run, and is stopped at its next suspension.
    Timeout,
    /// The connection ended before the answer came.
    Disconnected {
        /// Whether the call had been handed to the connection, so that the other side may have run it.
        maybe_executed: bool,
    },
    /// Nobody on the other side serves or listens to this method.
    NoSuchMethod,
    /// Both sides know the method, and disagree about its types, or whether it is a request or an emit. It has not been
    /// executed; a typed caller is told before anything is sent.
    SignatureMismatch {
        /// The method's path and name, and both signatures: that of a method is the beginning of a hash of its types.
        message: String,
    },
    /// The arguments, or the peer's reply, could not be encoded. The message names the method, the argument or the
    /// reply, its type and the side.
    Encode(String),
    /// The arguments, or the peer's reply, could not be decoded. The message names the method, the argument or the
    /// reply, its type and the side.
    Decode(String),
    /// A message is over the limit of the side that was to receive it.
    TooLarge {
        /// What was too large, and the limit.
        message: String,
    },
    /// Too many calls are in flight and waiting; try again later. A call made by a handler ends so when it has waited for a
    /// place while nothing moved for a second: both sides' handlers may be waiting for each other.
    Overloaded,
    /// The call is not allowed: by a layer of the other side, or of this one.
    Denied,
    /// The other side is shutting down and takes no new calls.
    ShuttingDown,
    /// The handler panicked.
    Panicked,
    /// The name or path of a dynamic call is not a legal one.
    InvalidName(String),
}

impl CallError {
    /// The same failure of a method whose handler can fail, too.
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
            Self::Timeout => f.write_str("the deadline passed before the answer came"),
            Self::Disconnected { maybe_executed: true } => {
                f.write_str("the connection ended before the answer came; the call may have been executed")
            }
            Self::Disconnected { maybe_executed: false } => {
                f.write_str("the connection had ended; the call was not executed")
            }
            Self::NoSuchMethod => f.write_str("nobody on the other side serves or listens to this method"),
            Self::SignatureMismatch { message } => write!(f, "the two sides disagree about the method: {message}"),
            Self::TooLarge { message } => {
                write!(f, "the message is too large: {message}; raise `Limits::max_frame` of its receiver")
            }
            Self::Overloaded => f.write_str(
                "too many calls are in flight; try again later, or raise `Limits::calls_in_flight`, \
                 `Limits::bytes_in_flight` or `Limits::outgoing_queue`",
            ),
            Self::Denied => f.write_str("the call is not allowed"),
            Self::ShuttingDown => f.write_str("the other side is shutting down and takes no new calls"),
            Self::Panicked => f.write_str("the handler panicked"),
            Self::Encode(message) | Self::Decode(message) | Self::InvalidName(message) => f.write_str(message),
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
    /// The other side has announced another signature for a method.
    #[cold]
    pub(crate) fn mismatch(method: &Method, theirs: u64) -> Self {
        let name = full_name(method.path, method.name);
        // In the order of the hash's bytes.
        let (ours, theirs) = (method.signature.swap_bytes(), theirs.swap_bytes());
        let types = method.types;
        Self::SignatureMismatch {
            message: format!(
                "`{name}` is `{types}` here, signature {ours:016x}, and there its signature is {theirs:016x}"
            ),
        }
    }

    /// What an admission that is a refusal means to the caller.
    pub(crate) fn from_send_outcome(admission: SendOutcome) -> Self {
        match admission {
            SendOutcome::TooLarge { limit } => {
                Self::TooLarge { message: format!("the peer accepts frames of at most {limit} bytes") }
            }
            SendOutcome::ShuttingDown => Self::ShuttingDown,
            SendOutcome::Sent | SendOutcome::Pending | SendOutcome::Full | SendOutcome::Dropped => Self::Overloaded,
        }
    }

    /// The bytes of the reply, or what the answer means to the caller.
    pub(crate) fn from_call_result(answer: CallResult) -> Result<bytes::Bytes, Self> {
        Err(match answer {
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
                FailureCode::ShuttingDown => Self::ShuttingDown,
                FailureCode::Panicked => Self::Panicked,
                FailureCode::Timeout => Self::Timeout,
                // We only see this for calls that we gave up, or whose handler was stopped with its session.
                FailureCode::Cancelled => Self::Disconnected { maybe_executed: true },
            },
        })
    }
}
