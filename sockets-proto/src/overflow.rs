//! Overflow policies of emits to audiences.

/// A method's policy for members of an audience with full queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The member is disconnected.
    #[default]
    Disconnect,
    /// The new message is dropped.
    DropNewest,
    /// The oldest pending messages of the method are dropped until the new message fits.
    DropOldest,
    /// All pending messages of the method are dropped. The new message is always kept.
    Latest,
    /// A message is sent at once or dropped, also without an audience. It is not retransmitted on
    /// another connection.
    Volatile,
}

/// Selects the treatment of a message for a member with a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Applies the method's policy.
    ApplyPolicy,
    /// Accepts the message beyond the limit. The emitter waits for this member, so at most the
    /// messages that were already sent exceed the limit. [`Overflow::Latest`] still applies, since
    /// it needs no capacity.
    Accept,
}

impl Overflow {
    /// Returns `true` if an emitter waits for members with full queues. The other policies drop
    /// only messages that are outdated or may be lost at any time.
    pub fn waits(self) -> bool {
        matches!(self, Self::Disconnect | Self::DropNewest | Self::DropOldest)
    }

    /// Returns `true` if pending messages may be dropped later. Such messages must not move to the
    /// send buffer early.
    pub(super) fn is_evictable(self) -> bool {
        matches!(self, Self::DropOldest | Self::Latest)
    }
}
