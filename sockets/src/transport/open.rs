//! The side of a transport that connects.

use std::io;

use tokio::net::TcpStream;

use super::{Address, Authority, ClientOptions, Link, over_stream, unix};
use crate::{connect_error::ConnectError, limits::Limits};

/// Opens a connection, TLS and the upgrade to WebSocket included. Its caller limits the time.
pub(crate) async fn open(address: Address, _options: &ClientOptions, _limits: &Limits) -> Result<Link, ConnectError> {
    match address {
        Address::Tcp(authority) => {
            let (read, write) = connect(&authority).await?.into_split();
            Ok(over_stream(read, write))
        }
        Address::Unix(path) => Ok(unix::connect(&path).await?),
        #[cfg(feature = "tls")]
        Address::Tls(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        #[cfg(feature = "ws")]
        Address::Web(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
    }
}

async fn connect(authority: &Authority) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority.pair()).await?;
    // Messages are gathered before they are written; the system must not wait for more.
    stream.set_nodelay(true)?;
    Ok(stream)
}
