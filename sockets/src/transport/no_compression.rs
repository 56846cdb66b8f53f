//! Stub for builds without the feature `compression`.

use super::Link;

#[derive(Clone, Default)]
pub(crate) struct Compression(());

#[expect(clippy::unused_self, reason = "with the feature, it is used")]
impl Compression {
    pub(crate) fn is_enabled(&self) -> bool {
        false
    }

    pub(crate) fn wrap(&self, link: Link, _peer_compresses: bool) -> Link {
        link
    }
}
