//! Stands for compression where it is not built in.

use super::Link;

#[derive(Clone, Default)]
pub(crate) struct Compression(());

#[expect(clippy::unused_self, reason = "where it is built in, it is used")]
impl Compression {
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn around(&self, link: Link, _theirs: bool) -> Link {
        link
    }
}
