//! The refusal of a client by a server.

use std::time::Duration;

/// The maximum length of a message, in bytes.
const MESSAGE_MAX: usize = 16 * 1024;

/// The refusal of a client, by the authentication or by the `connected` hook.
///
/// The client's first `connect` fails with [`ConnectError::Refused`](crate::ConnectError::Refused),
/// which contains the refusal. If a client that reconnects receives a final refusal, its session
/// ends with [`DisconnectReason::Refused`](crate::DisconnectReason::Refused). After any other
/// refusal, the client tries again.
///
/// ```
/// use std::time::Duration;
/// use sockets::Refusal;
///
/// let banned = Refusal::new("this account is closed");
/// let busy = Refusal::retry("the database does not answer").after(Duration::from_secs(5));
/// assert_eq!((banned.retry_after(), busy.retry_after()), (None, Some(Duration::from_secs(5))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    message: String,
    retry: Option<Duration>,
}

impl Refusal {
    /// Returns a final refusal. The client makes no other attempt after it.
    ///
    /// A message of more than 16 KiB is truncated.
    pub fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate((0..=MESSAGE_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0));
        Self { message, retry: None }
    }

    /// Returns a refusal of this attempt only. A client that reconnects tries again.
    ///
    /// A message of more than 16 KiB is truncated.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { retry: Some(Duration::ZERO), ..Self::new(message) }
    }

    /// Sets the minimum delay before the client's next attempt. Default: zero.
    ///
    /// The server sends the delay in milliseconds. Clients wait for at most seven days. If the
    /// refusal is final, the delay has no effect.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { retry: self.retry.map(|_| wait), ..self }
    }

    /// Returns the message for the client.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the minimum delay before the client's next attempt, or `None` if the refusal is
    /// final.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_over_the_limit_is_truncated() {
        assert_eq!(Refusal::new("no").message(), "no");
        for refusal in [Refusal::new("ä".repeat(MESSAGE_MAX)), Refusal::retry("ä".repeat(MESSAGE_MAX))] {
            assert_eq!(refusal.message(), "ä".repeat(MESSAGE_MAX / 2));
        }
        assert_eq!(Refusal::new(format!("a{}", "ä".repeat(MESSAGE_MAX))).message().len(), MESSAGE_MAX - 1);
    }

    #[test]
    fn delay_of_a_final_refusal_has_no_effect() {
        let second = Duration::from_secs(1);
        assert_eq!(Refusal::new("no").after(second), Refusal::new("no"));
        assert_eq!(Refusal::retry("no").retry_after(), Some(Duration::ZERO));
        assert_eq!(Refusal::retry("no").after(second).retry_after(), Some(second));
    }
}
