//! Unix sockets.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

use super::{ConnectInfo, Incoming, Link, PeerCredentials, over_stream};
use crate::lock::event;

/// Pause before the next attempt to connect if the server's accept queue is full. The client has to
/// retry, because the system does not notify the client when the queue has capacity again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A listener at a path. Dropping it removes the file.
pub(crate) struct UnixAcceptor {
    listener: UnixListener,
    path: PathBuf,
    file: FileId,
}

/// The identity of a file: its device and its inode number.
type FileId = (u64, u64);

impl UnixAcceptor {
    /// Listens at `path`. If no process listens at an existing socket file, replaces the file.
    pub(super) async fn bind(path: PathBuf) -> io::Result<Self> {
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path).await => {
                fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(describe_in_use(error, &path)),
            bound => bound?,
        };
        let file = file_id(&path)?;
        Ok(Self { listener, path, file })
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        let (stream, _) = ready!(self.listener.poll_accept(cx))?;
        let peer = stream.peer_cred()?;
        let credentials = PeerCredentials { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
        let info = ConnectInfo { credentials: Some(credentials), ..ConnectInfo::over("unix") };
        Poll::Ready(Ok(Incoming::Open(link(stream), info)))
    }
}

impl Drop for UnixAcceptor {
    fn drop(&mut self) {
        // If the file was removed, another server may have bound its own socket at the same path.
        if file_id(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            event!(debug, %error, path = %self.path.display(), "could not remove the file of a Unix socket");
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Returns `true` if there is a socket file at which no process listens.
async fn is_stale(path: &Path) -> bool {
    // The system refuses connections to files of other kinds, too.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Adds the cause and the remedy to the error of a path that is in use.
fn describe_in_use(error: io::Error, path: &Path) -> io::Error {
    let description = match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => "another server listens there; stop it or choose another path",
        Ok(_) => "the file there is not a socket; remove it or choose another path",
        Err(_) => return error,
    };
    io::Error::new(error.kind(), description)
}

pub(super) async fn connect(path: &Path) -> io::Result<Link> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE_PAUSE).await,
            connected => return connected.map(link),
        }
    }
}

fn link(stream: UnixStream) -> Link {
    let (read, write) = stream.into_split();
    over_stream(read, write)
}
