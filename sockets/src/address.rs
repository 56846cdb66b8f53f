//! Addresses as users write them, such as `tcp://host:port`.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

#[cfg(feature = "ws")]
mod credentials;
#[cfg(test)]
mod tests;

#[cfg(feature = "ws")]
use self::credentials::Credentials;

/// An address to listen on or to connect to.
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
    /// A name or an IP address. An IPv6 address has no brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// `ws://host:port/path`, or `wss://` for the same over TLS.
#[cfg(feature = "ws")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebAddress {
    pub(crate) secure: bool,
    pub(crate) authority: Authority,
    /// The path with its leading `/`, and the query.
    pub(crate) path: String,
    pub(crate) credentials: Option<Credentials>,
}

/// The cause of an [`AddressError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseAddressError {
    #[error("the address {0:?} has no scheme: write tcp://host:port, or one of {SCHEMES}")]
    NoScheme(String),
    #[error("the scheme {0:?} is unknown: write one of {SCHEMES}")]
    UnknownScheme(String),
    #[error("the scheme {scheme:?} is not enabled: enable {needs} of the crate `sockets`")]
    NotEnabled { scheme: String, needs: &'static str },
    #[error("the address {url:?} has no host: write {scheme}://host:port")]
    NoHost { url: String, scheme: String },
    #[error("the address {0:?} has characters that are not allowed in a host: write a name in ASCII, or an IP address")]
    InvalidHost(String),
    #[error("the address {0:?} has an IPv6 address without brackets: write [address]:port")]
    NoBrackets(String),
    #[error("the address {url:?} has no valid port: write {scheme}://host:port, with a port from 0 to 65535")]
    NoPort { url: String, scheme: String },
    #[error("the address {0:?} has a path or a query: write a host and a port only")]
    PathNotAllowed(String),
    #[error("the address {0:?} has a user or a password, which only clients of ws and wss can send: remove it")]
    UserInfo(String),
    #[error("the address {0:?} has a user or a password with wrong escapes: write %40 for @, %3A for :, %25 for %")]
    #[cfg(feature = "ws")]
    InvalidUserInfo(String),
    #[error("the address {0:?} has a fragment, which WebSockets do not have: remove it, or write %23 for #")]
    #[cfg(feature = "ws")]
    Fragment(String),
    #[error("cannot listen on {0:?}: remove the query, and characters that need percent-encoding, from the path")]
    #[cfg(feature = "ws")]
    InvalidListenPath(String),
    #[error("the address {0:?} has no usable path: write unix:///path/to/socket, with an absolute path")]
    NoPath(String),
    #[error("the path {0:?} or its query has special characters; percent-encode them")]
    #[cfg(feature = "ws")]
    InvalidPath(String),
    #[error("a TLS certificate cannot name the host {0:?}; use a DNS name or an IP address")]
    #[cfg(feature = "tls")]
    NoCertificateName(String),
}

/// An address is invalid, or cannot be used. The message states the correction.
///
/// The error and its message contain the address without its user, password and query, since these
/// may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct AddressError {
    address: String,
    cause: ParseAddressError,
}

impl AddressError {
    pub(crate) fn new(url: &str, cause: ParseAddressError) -> Self {
        Self { address: redacted(url), cause }
    }

    /// Returns the address, without its user, password and query.
    pub fn address(&self) -> &str {
        &self.address
    }
}

const SCHEMES: &str = "tcp, unix, tls, ws and wss";

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        Self::parse_any(url).map_err(|cause| AddressError::new(url, cause))
    }

    fn parse_any(url: &str) -> Result<Self, ParseAddressError> {
        let (scheme, rest) = split_scheme(url).ok_or_else(|| ParseAddressError::NoScheme(redacted(url)))?;
        let scheme = &*scheme;
        if scheme == "unix" {
            return unix_path(rest).map(Self::Unix).ok_or_else(|| ParseAddressError::NoPath(redacted(url)));
        }
        // `localhost:7000` contains a colon, but no scheme.
        let Some(rest) = rest.strip_prefix("//") else { return Err(ParseAddressError::NoScheme(redacted(url))) };
        if let Some(needs) = missing_features(scheme) {
            return Err(ParseAddressError::NotEnabled { scheme: scheme.to_owned(), needs });
        }
        match scheme {
            "tcp" => Ok(Self::Tcp(Authority::parse_without_path(url, scheme, rest)?)),
            #[cfg(feature = "tls")]
            "tls" => Ok(Self::Tls(Authority::parse_without_path(url, scheme, rest)?)),
            #[cfg(feature = "ws")]
            "ws" | "wss" => Ok(Self::Web(WebAddress::parse(url, scheme, rest)?)),
            _ => Err(ParseAddressError::UnknownScheme(scheme.to_owned())),
        }
    }
}

/// Splits an address at the colon after its scheme. Returns the scheme in lower case (RFC 3986,
/// 3.1), and the rest.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// Returns an address that is safe to log, without its user, password and query.
pub(crate) fn redacted(url: &str) -> String {
    let start = match split_scheme(url) {
        Some((scheme, rest)) if scheme == "unix" && rest.strip_prefix("//").unwrap_or(rest).starts_with('/') => {
            return url.to_owned();
        }
        Some((scheme, rest)) if rest.starts_with("//") => scheme.len() + "://".len(),
        _ => 0,
    };
    let (scheme, rest) = url.split_at(start);
    // An `@` after the first `?` or `#` may end a password that is not escaped, or may be part of
    // the query. Both the password and the query are secrets, so the function shows neither.
    if rest.find(['?', '#']).is_some_and(|query| rest[query..].contains('@')) {
        return format!("{scheme}***");
    }
    let (userinfo, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (rest, query) = rest.split_once(['?', '#']).map_or((rest, ""), |(rest, _)| (rest, "?***"));
    format!("{scheme}{userinfo}{rest}{query}")
}

/// Returns an address without its user and password. If the address is invalid, the function
/// removes everything that may be a user or a password.
pub(crate) fn without_userinfo(url: &str) -> String {
    match Address::parse(url) {
        #[cfg(feature = "ws")]
        Ok(Address::Web(web)) if web.credentials.is_some() => {
            let scheme = if web.secure { "wss" } else { "ws" };
            format!("{scheme}://{}{}", web.authority, web.path)
        }
        Ok(_) => url.to_owned(),
        Err(_) => redacted(url),
    }
}

impl Address {
    /// Returns `true` if both addresses use the same transport.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        #[cfg(feature = "ws")]
        if let (Self::Web(web), Self::Web(other)) = (self, other) {
            return web.secure == other.secure;
        }
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns this address with credentials. If this address has no credentials of its own, the
    /// result has the credentials of `other`.
    pub(crate) fn with_credentials_of(self, other: &Self) -> Self {
        match (self, other) {
            #[cfg(feature = "ws")]
            (Self::Web(web), Self::Web(other)) if web.credentials.is_none() => {
                Self::Web(WebAddress { credentials: other.credentials.clone(), ..web })
            }
            (address, _) => address,
        }
    }

    /// Parses the address of a listener, for which more rules apply.
    pub(crate) fn to_listen(url: &str) -> Result<Self, AddressError> {
        let address = Self::parse(url)?;
        #[cfg(feature = "ws")]
        if let Self::Web(web) = &address {
            if web.credentials.is_some() {
                return Err(AddressError::new(url, ParseAddressError::UserInfo(redacted(url))));
            }
            if web.path.contains(|c: char| !c.is_ascii_graphic() || "?#\"<>\\^`{|}".contains(c)) {
                return Err(AddressError::new(url, ParseAddressError::InvalidListenPath(redacted(url))));
            }
        }
        Ok(address)
    }
}

/// Returns the Cargo features that a scheme needs, or `None` if they are enabled.
fn missing_features(scheme: &str) -> Option<&'static str> {
    match scheme {
        "tls" if !cfg!(feature = "tls") => Some("the feature `tls`"),
        "ws" if !cfg!(feature = "ws") => Some("the feature `ws`"),
        "wss" if !cfg!(all(feature = "ws", feature = "tls")) => Some("the features `ws` and `tls`"),
        _ => None,
    }
}

/// Returns the path of `unix:///path` or `unix:/path`. The function takes the path literally,
/// without percent-decoding.
fn unix_path(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let is_file = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
    is_file.then(|| PathBuf::from(path))
}

impl Authority {
    /// Parses `host:port`. The port may be omitted if the scheme has a default port.
    fn parse(url: &str, scheme: &str, text: &str, default_port: Option<u16>) -> Result<Self, ParseAddressError> {
        let no_port = || ParseAddressError::NoPort { url: redacted(url), scheme: scheme.to_owned() };
        // Colons in the brackets of an IPv6 address do not separate a port.
        let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].rfind(':').map(|colon| text.split_at(end + colon)) {
            Some((host, port)) => (host, &port[1..]),
            None => (text, ""),
        };
        let port = match port.bytes().all(|digit| digit.is_ascii_digit()) {
            true if port.is_empty() => default_port.ok_or_else(no_port)?,
            true => port.parse().map_err(|_| no_port())?,
            false => return Err(no_port()),
        };
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = in_brackets.unwrap_or(host);
        if host.is_empty() {
            return Err(ParseAddressError::NoHost { url: redacted(url), scheme: scheme.to_owned() });
        }
        match in_brackets {
            // In addresses, the `%` before a zone is percent-encoded (RFC 6874).
            Some(ip) if is_ipv6(ip) => Ok(Self { host: ip.replacen("%25", "%", 1), port }),
            None if host.contains(':') => Err(ParseAddressError::NoBrackets(redacted(url))),
            None if is_name(host) => Ok(Self { host: host.to_ascii_lowercase(), port }),
            Some(_) | None => Err(ParseAddressError::InvalidHost(redacted(url))),
        }
    }

    /// Parses `host:port` with an optional `/` at the end.
    fn parse_without_path(url: &str, scheme: &str, text: &str) -> Result<Self, ParseAddressError> {
        if text.contains('@') {
            return Err(ParseAddressError::UserInfo(redacted(url)));
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.contains(['/', '?', '#']) {
            return Err(ParseAddressError::PathNotAllowed(redacted(url)));
        }
        Self::parse(url, scheme, text, None)
    }

    /// Returns the host and the port in the form that the functions of tokio take.
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
    fn parse(url: &str, scheme: &str, text: &str) -> Result<Self, ParseAddressError> {
        let secure = scheme == "wss";
        let (authority, path) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
        let (userinfo, authority) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let credentials = match userinfo {
            "" | ":" => None,
            _ => Some(Credentials::parse(userinfo).ok_or_else(|| ParseAddressError::InvalidUserInfo(redacted(url)))?),
        };
        let authority = Authority::parse(url, scheme, authority, Some(if secure { 443 } else { 80 }))?;
        if path.contains('#') {
            return Err(ParseAddressError::Fragment(redacted(url)));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, authority, path, credentials })
    }
}

/// Returns `true` if the text is an IPv6 address, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    let (ip, zone) = text.split_once('%').unwrap_or((text, "0"));
    ip.parse::<Ipv6Addr>().is_ok() && is_name(zone)
}

/// Returns `true` if the text may be a host name or an IPv4 address.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}
