//! Stub for systems without Unix sockets.
#![expect(clippy::unused_async, reason = "the functions have the signatures of those in `unix`")]

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    task::{Context, Poll},
};

use super::{Incoming, Link};

pub(crate) struct UnixAcceptor(Infallible);

impl UnixAcceptor {
    pub(super) async fn bind(_: PathBuf) -> io::Result<Self> {
        Err(unsupported())
    }

    pub(super) fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        match self.0 {}
    }
}

pub(super) async fn connect(_: &Path) -> io::Result<Link> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets")
}
