//! Stands for Unix sockets where there are none.
#![expect(clippy::unused_async, reason = "the functions have the signatures of those in `unix`")]

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    task::{Context, Poll},
};

use super::{Arrival, Link};

pub(crate) struct UnixAcceptor(Infallible);

impl UnixAcceptor {
    pub(super) async fn bind(_: PathBuf) -> io::Result<Self> {
        Err(none())
    }

    pub(super) fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        match self.0 {}
    }
}

pub(super) async fn connect(_: &Path) -> io::Result<Link> {
    Err(none())
}

fn none() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets")
}
