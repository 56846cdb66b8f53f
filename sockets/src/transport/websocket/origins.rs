//! The check of the `Origin` of web pages.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};

use super::fields;

/// The origins of web pages that may connect.
///
/// If a request has no `Origin`, it does not come from a browser, and the server accepts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Pages of the host to which they connect.
    #[default]
    Same,
    /// Pages of the listed origins.
    AllowList(Vec<String>),
}

impl Origins {
    pub(crate) fn allow_list<O: Into<String>>(origins: impl IntoIterator<Item = O>) -> Self {
        Self::AllowList(origins.into_iter().map(|origin| normalize(&origin.into())).collect())
    }

    /// Checks the headers of a request to `host`.
    ///
    /// # Errors
    ///
    /// Returns the reason if the page may not connect.
    pub(super) fn check(&self, headers: &HeaderMap, host: &str, peer: Option<SocketAddr>) -> Result<(), &'static str> {
        if !headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        let origin = normalize(
            fields::single(headers, header::ORIGIN)
                .ok_or("the request has several Origin headers, or an invalid one")?,
        );
        match self {
            Self::AllowList(origins) if origins.contains(&origin) => Ok(()),
            Self::AllowList(_) => Err("the origin of the page is not in the list of allowed origins"),
            Self::Same => {
                is_same_host(&origin, host)
                    .then_some(())
                    .ok_or("the origin of the page is not the host of the request")?;
                let is_local_peer = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
                if is_local_peer && !is_fixed_name(host) {
                    return Err(
                        "the page connects to this machine by a foreign name; add its origin to the allowed origins",
                    );
                }
                Ok(())
            }
        }
    }
}

/// Returns an origin in the form for comparison, which is in lower case and has no default port.
fn normalize(origin: &str) -> String {
    let origin = origin.trim_end_matches('/').to_ascii_lowercase();
    let default_port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    origin.strip_suffix(default_port).unwrap_or(&origin).to_owned()
}

/// Returns `true` if a page connects to the host from which it was loaded.
///
/// The schemes may differ, since a proxy may terminate TLS.
fn is_same_host(origin: &str, host: &str) -> bool {
    match origin.split_once("://") {
        Some((scheme @ ("http" | "https"), _)) => origin == normalize(&format!("{scheme}://{host}")),
        _ => false,
    }
}

/// Returns `true` if `host` is an IP address or `localhost`. DNS cannot change the address of such
/// a host.
///
/// The owner of any other name may let the name point to this machine. A browser then considers the
/// owner's page to have the same origin as this server (DNS rebinding).
fn is_fixed_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let ip = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    name == "localhost" || name.ends_with(".localhost") || ip.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_str(origin).unwrap())])
    }

    fn allows(origins: &Origins, origin: &'static str, host: &'static str) -> bool {
        let peer = Some(([192, 0, 2, 1], 5000).into());
        origins.check(&request(origin), host, peer).is_ok()
    }

    #[test]
    fn request_without_origin_is_accepted() {
        assert_eq!(Origins::allow_list(["https://example.com"]).check(&HeaderMap::new(), "example.com", None), Ok(()));
    }

    #[test]
    fn only_page_of_same_host_is_accepted_by_default() {
        let same = Origins::default();
        assert!(allows(&same, "https://example.com", "example.com"));
        assert!(allows(&same, "https://example.com", "Example.COM:443"));
        assert!(allows(&same, "http://example.com:7000", "example.com:7000"));
        assert!(allows(&same, "http://[2001:db8::1]:7000", "[2001:db8::1]:7000"));
        assert!(!allows(&same, "https://evil.example", "example.com"));
        assert!(!allows(&same, "https://example.com.evil.example", "example.com"));
        assert!(!allows(&same, "http://example.com:8080", "example.com:7000"));
        assert!(!allows(&same, "null", "example.com"));
        assert!(!allows(&same, "file://", ""));
        assert!(!allows(&same, "", ""));
    }

    #[test]
    fn only_listed_origins_are_accepted() {
        let listed = Origins::allow_list(["https://Example.com/", "http://localhost:3000"]);
        assert!(allows(&listed, "https://example.com", "api.example.com"));
        assert!(allows(&listed, "https://example.com:443", "api.example.com"));
        assert!(allows(&listed, "http://localhost:3000", "localhost:7000"));
        assert!(!allows(&listed, "http://example.com", "example.com"), "another scheme");
        assert!(!allows(&listed, "https://api.example.com", "api.example.com"), "a list excludes the same host");
    }

    #[test]
    fn origin_of_rebound_name_is_rejected_on_loopback() {
        let local = Some(([127, 0, 0, 1], 5000).into());
        let rebound = request("http://evil.example:7000");
        assert!(Origins::default().check(&rebound, "evil.example:7000", local).is_err());
        assert!(Origins::allow_list(["http://localhost:7000"]).check(&rebound, "evil.example:7000", local).is_err());
        for host in ["localhost:7000", "127.0.0.1:7000", "[::1]:7000", "app.localhost:7000"] {
            let honest = request(&format!("http://{host}"));
            assert_eq!(Origins::default().check(&honest, host, local), Ok(()));
        }
    }

    #[test]
    fn request_with_two_origins_is_rejected() {
        let mut twice = request("http://localhost:7000");
        twice.append(header::ORIGIN, HeaderValue::from_static("http://localhost:7000"));
        assert!(Origins::default().check(&twice, "localhost:7000", None).is_err());
    }
}
