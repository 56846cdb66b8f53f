//! Addresses, as users write them.

use std::{fmt, path::PathBuf};

#[cfg(test)]
mod tests;

/// Where to listen or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(Authority),
    Unix(PathBuf),
    #[cfg(feature = "tls")]
    Tls(Authority),
    #[cfg(feature = "ws")]
    Web(WebAddress),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// A name, or an IP address, without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// `ws://host:port/path`, or `wss://`, which is the same within TLS.
#[cfg(feature = "ws")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebAddress {
    pub(crate) secure: bool,
    pub(crate) authority: Authority,
    /// From its `/` on, with the query.
    pub(crate) path: String,
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("the address {0:?} has no scheme: write tcp://host:port, or one of {SCHEMES}")]
    NoScheme(String),
    #[error("the scheme {0:?} is unknown: the known ones are {SCHEMES}")]
    UnknownScheme(String),
    #[error("the scheme {scheme:?} is not built in: give the crate `sockets` {needs}")]
    NotBuiltIn { scheme: String, needs: &'static str },
    #[error("the address {url:?} has no host: write {scheme}://host:port")]
    NoHost { url: String, scheme: String },
    #[error("the address {url:?} has no legal port: write {scheme}://host:port, with a port from 0 to 65535")]
    NoPort { url: String, scheme: String },
    #[error("the address {0:?} has something behind its port: write a host and a port alone")]
    NotAlone(String),
    #[error(
        "nobody can listen at {0:?}: its path has a query or needs escapes, and requests are told apart by plain paths"
    )]
    #[cfg(feature = "ws")]
    NotAPath(String),
    #[error("the address {0:?} has no usable path: write unix:///path/to/socket, from the root on")]
    NoPath(String),
}

const SCHEMES: &str = "tcp, unix, tls, ws and wss";

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = url.split_once(':') else { return Err(AddressError::NoScheme(url.to_owned())) };
        if scheme == "unix" {
            return unix_path(rest).map(Self::Unix).ok_or_else(|| AddressError::NoPath(url.to_owned()));
        }
        // `localhost:7000` has a colon, and no scheme.
        let Some(rest) = rest.strip_prefix("//") else { return Err(AddressError::NoScheme(url.to_owned())) };
        if let Some(needs) = missing_features(scheme) {
            return Err(AddressError::NotBuiltIn { scheme: scheme.to_owned(), needs });
        }
        match scheme {
            "tcp" => Ok(Self::Tcp(Authority::alone(url, scheme, rest)?)),
            #[cfg(feature = "tls")]
            "tls" => Ok(Self::Tls(Authority::alone(url, scheme, rest)?)),
            #[cfg(feature = "ws")]
            "ws" | "wss" => Ok(Self::Web(WebAddress::parse(url, scheme, rest)?)),
            _ => Err(AddressError::UnknownScheme(scheme.to_owned())),
        }
    }
}

impl Address {
    /// Whether both are over the same transport.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        #[cfg(feature = "ws")]
        if let (Self::Web(one), Self::Web(other)) = (self, other) {
            return one.secure == other.secure;
        }
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Reads the address of a listener.
    pub(crate) fn to_listen(url: &str) -> Result<Self, AddressError> {
        let address = Self::parse(url)?;
        #[cfg(feature = "ws")]
        if let Self::Web(web) = &address
            && web.path.contains(|c: char| !c.is_ascii_graphic() || "?#\"<>\\^`{|}".contains(c))
        {
            return Err(AddressError::NotAPath(url.to_owned()));
        }
        Ok(address)
    }
}

/// What has to be built in for a scheme, and is not.
fn missing_features(scheme: &str) -> Option<&'static str> {
    match scheme {
        "tls" if !cfg!(feature = "tls") => Some("its feature `tls`"),
        "ws" if !cfg!(feature = "ws") => Some("its feature `ws`"),
        "wss" if !cfg!(all(feature = "ws", feature = "tls")) => Some("its features `ws` and `tls`"),
        _ => None,
    }
}

/// The path of `unix:///path` or `unix:/path`, as it is written: nothing in it is escaped.
fn unix_path(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let is_file = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
    is_file.then(|| PathBuf::from(path))
}

impl Authority {
    /// Reads `host:port`. Where the scheme has a usual port, it need not be there.
    fn parse(url: &str, scheme: &str, text: &str, usual_port: Option<u16>) -> Result<Self, AddressError> {
        let no_port = || AddressError::NoPort { url: url.to_owned(), scheme: scheme.to_owned() };
        // The colons within the brackets of IPv6 are none before a port.
        let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].rfind(':').map(|colon| text.split_at(end + colon)) {
            Some((host, port)) => (host, port[1..].parse().map_err(|_| no_port())?),
            None => (text, usual_port.ok_or_else(no_port)?),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(AddressError::NoHost { url: url.to_owned(), scheme: scheme.to_owned() });
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// Reads `host:port`, behind which there is at most a `/`.
    fn alone(url: &str, scheme: &str, text: &str) -> Result<Self, AddressError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.contains(['/', '?', '#', '@']) {
            return Err(AddressError::NotAlone(url.to_owned()));
        }
        Self::parse(url, scheme, text, None)
    }

    /// As the functions of the system want it.
    pub(crate) fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(feature = "ws")]
impl WebAddress {
    fn parse(url: &str, scheme: &str, text: &str) -> Result<Self, AddressError> {
        let secure = scheme == "wss";
        let (authority, path) = text.split_at(text.find(['/', '?']).unwrap_or(text.len()));
        let authority = Authority::parse(url, scheme, authority, Some(if secure { 443 } else { 80 }))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, authority, path })
    }
}
