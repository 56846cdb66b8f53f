//! The policies that `#[emit(overflow = "…")]` names.

/// What happens to an emit for a member of an audience whose queue is full, by its name in the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow(pub(crate) &'static str);

/// As they are written, and as the runtime calls them.
const POLICIES: [(&str, &str); 4] =
    [("disconnect", "Disconnect"), ("drop_newest", "DropNewest"), ("drop_oldest", "DropOldest"), ("latest", "Latest")];

pub(crate) const LEGAL: &str = "\"disconnect\" (the default), \"drop_newest\", \"drop_oldest\" and \"latest\"";

impl Default for Overflow {
    fn default() -> Self {
        Self(POLICIES[0].1)
    }
}

impl Overflow {
    /// What `#[emit(volatile)]` says.
    pub(crate) const VOLATILE: Self = Self("Volatile");

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let found = POLICIES.iter().find(|(written, _)| *written == text);
        found.map(|(_, name)| Self(name)).ok_or_else(|| format!("`{text}` is no policy; legal are {LEGAL}"))
    }
}
