//! Overflow policies of emits to audiences.

/// A method's overflow policy. The policy applies to each member of an audience that has a full
/// queue.
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
    /// A message is sent immediately or dropped, even if the emit has no audience. After a loss of
    /// the connection, the message is not retransmitted.
    Volatile,
}

/// The treatment of a new message for a member of an audience, if the member has a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Applies the method's policy.
    ApplyPolicy,
    /// Accepts the message although the queue is full. Before its next emit, the emitter waits for
    /// this member, so that few messages exceed the limit of the queue. A message with
    /// [`Overflow::Latest`] still replaces older messages, because it then needs no additional
    /// capacity.
    Accept,
}

impl Overflow {
    /// Returns `true` if an emit with this policy waits for members that have a full queue.
    /// [`Latest`](Self::Latest) and [`Volatile`](Self::Volatile) need no wait. They drop only
    /// messages that are outdated or that may be lost at any time.
    pub fn waits(self) -> bool {
        matches!(self, Self::Disconnect | Self::DropNewest | Self::DropOldest)
    }

    /// Returns `true` if the queue may later drop pending messages with this policy. Such messages
    /// must not move to the send buffer early, because the send buffer cannot drop messages.
    pub(super) fn is_evictable(self) -> bool {
        matches!(self, Self::DropOldest | Self::Latest)
    }
}
