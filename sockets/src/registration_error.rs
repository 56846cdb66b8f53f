//! What cannot be served together.

/// What cannot be served beside what is served already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistrationError {
    #[error("the group {path:?} is served twice on one connection")]
    ServedTwice { path: String },
    #[error("the names {first:?} and {second:?} have the same key; rename one of them")]
    SameKey { first: String, second: String },
    #[error("more than {limit} names on one connection; raise `Limits::names_per_peer` if that is meant")]
    TooManyNames { limit: usize },
}
