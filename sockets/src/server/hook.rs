//! The outcome of a hook.

use crate::refusal::Refusal;

/// The return type of a hook: `()` or `Result<(), Refusal>`. Sealed.
#[diagnostic::on_unimplemented(
    message = "a hook returns `()` or `Result<(), Refusal>`, not `{Self}`",
    note = "use `?` on other errors, and return `Ok(())` at the end"
)]
pub trait HookOutcome: sealed::Outcome {}

impl HookOutcome for () {}
impl HookOutcome for Result<(), Refusal> {}

pub(super) mod sealed {
    use crate::refusal::Refusal;

    pub trait Outcome: Send + 'static {
        fn into_result(self) -> Result<(), Refusal>;
    }

    impl Outcome for () {
        fn into_result(self) -> Result<(), Refusal> {
            Ok(())
        }
    }

    impl Outcome for Result<(), Refusal> {
        fn into_result(self) -> Self {
            self
        }
    }
}
