//! The error of registering handlers.

/// The error of serving a group or a name that conflicts with a group or a name served before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistrationError {
    #[error("the group {path:?} is served twice on one connection; remove one of the two handlers")]
    ServedTwice { path: String },
    #[error("the names {first:?} and {second:?} have the same key; rename one of them")]
    SameKey { first: String, second: String },
    #[error("more than {limit} names on one connection; raise `Limits::names_per_peer`")]
    TooManyNames { limit: usize },
}
