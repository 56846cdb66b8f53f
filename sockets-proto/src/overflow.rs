//! What happens to an emit to an audience for a member whose queue is full.

/// The policy of a method, for the members of an audience whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The member is disconnected.
    #[default]
    Disconnect,
    /// The new message is dropped.
    DropNewest,
    /// The oldest messages of the method that wait are dropped, until there is room for the new one.
    DropOldest,
    /// All messages of the method that wait are dropped; the new one is kept in any case.
    Latest,
    /// Not for audiences alone: a message is sent at once or not at all, and not kept for another connection.
    Volatile,
}

/// What a member whose queue is full does with a message to an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Applies the method's policy.
    ApplyPolicy,
    /// Accepts it beyond the limit, unless the policy is [`Overflow::Latest`], which needs no room: emitters wait for
    /// this member, so that no more come than have been sent already.
    Accept,
}

impl Overflow {
    /// Returns `true` if an emitter waits for members whose queues are full. The other policies lose only what is
    /// outdated or may be lost at any time.
    pub fn waits(self) -> bool {
        matches!(self, Self::Disconnect | Self::DropNewest | Self::DropOldest)
    }

    /// Whether messages that wait may be dropped later, so that they must not be out of reach.
    pub(super) fn is_evictable(self) -> bool {
        matches!(self, Self::DropOldest | Self::Latest)
    }
}
