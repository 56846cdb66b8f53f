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

/// How long a client waits before it tries again to get into a full queue: the system does not tell when there is room.
const FULL_QUEUE: Duration = Duration::from_millis(5);

/// Listens at a path, whose file is there for as long as this is.
pub(crate) struct UnixAcceptor {
    listener: UnixListener,
    path: PathBuf,
    file: FileId,
}

/// What makes a file that one and no other with its path: its device and its number there.
type FileId = (u64, u64);

impl UnixAcceptor {
    /// Listens at `path`. A socket file where nobody listens any more is replaced.
    pub(super) async fn bind(path: PathBuf) -> io::Result<Self> {
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_deserted(&path).await => {
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
        let handshake = ConnectInfo { credentials: Some(credentials), ..ConnectInfo::over("unix") };
        Poll::Ready(Ok(Incoming::Open(link(stream), handshake)))
    }
}

impl Drop for UnixAcceptor {
    fn drop(&mut self) {
        // Another server may have its socket there by now, if somebody has removed ours.
        if file_id(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            event!(debug, %error, path = %self.path.display(), "a socket's file could not be removed");
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Whether a socket is there that nobody listens at.
async fn is_deserted(path: &Path) -> bool {
    // The system refuses connections to files of other kinds, too.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Describes a path that is in use.
fn describe_in_use(error: io::Error, path: &Path) -> io::Error {
    let what = match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => "another server listens there; stop it or choose another path",
        Ok(_) => "the file there is not a socket; remove it or choose another path",
        Err(_) => return error,
    };
    io::Error::new(error.kind(), what)
}

pub(super) async fn connect(path: &Path) -> io::Result<Link> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE).await,
            connected => return connected.map(link),
        }
    }
}

fn link(stream: UnixStream) -> Link {
    let (read, write) = stream.into_split();
    over_stream(read, write)
}
