//! Addresses, as users write them.

/// Where to listen or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and a port.
    Tcp(String),
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("the address {0:?} has no scheme: write tcp://host:port")]
    NoScheme(String),
    #[error("the scheme {0:?} is unknown: the known one is tcp")]
    UnknownScheme(String),
    #[error("the address {0:?} has no legal port: write tcp://host:port")]
    NoPort(String),
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| AddressError::NoScheme(url.to_owned()))?;
        if scheme != "tcp" {
            return Err(AddressError::UnknownScheme(scheme.to_owned()));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(authority.to_owned()))
            }
            _ => Err(AddressError::NoPort(url.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_what_is_wrong() {
        assert_eq!(Address::parse("tcp://127.0.0.1:7000"), Ok(Address::Tcp("127.0.0.1:7000".into())));
        assert_eq!(Address::parse("tcp://[::1]:7000/"), Ok(Address::Tcp("[::1]:7000".into())));
        assert_eq!(Address::parse("localhost:7000"), Err(AddressError::NoScheme("localhost:7000".into())));
        assert_eq!(Address::parse("carrier://pigeon"), Err(AddressError::UnknownScheme("carrier".into())));
        assert_eq!(Address::parse("tcp://localhost"), Err(AddressError::NoPort("tcp://localhost".into())));
    }
}
