//! The overflow policies of `#[emit(overflow = "…")]`.

/// An overflow policy. The string is the name of the policy in the runtime crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow(pub(crate) &'static str);

/// The name of each policy in the attribute, and the name of the same policy in the runtime crate.
const POLICIES: [(&str, &str); 4] =
    [("disconnect", "Disconnect"), ("drop_newest", "DropNewest"), ("drop_oldest", "DropOldest"), ("latest", "Latest")];

pub(crate) const EXPECTED: &str = "\"disconnect\" (the default), \"drop_newest\", \"drop_oldest\" or \"latest\"";

impl Default for Overflow {
    fn default() -> Self {
        Self(POLICIES[0].1)
    }
}

impl Overflow {
    /// The policy of `#[emit(volatile)]`.
    pub(crate) const VOLATILE: Self = Self("Volatile");

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let found = POLICIES.iter().find(|(written, _)| *written == text);
        found.map(|(_, name)| Self(name)).ok_or_else(|| format!("`{text}` is not a policy; expected {EXPECTED}"))
    }
}
