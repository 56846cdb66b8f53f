//! Which pages of browsers may connect.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};

use super::fields;

/// The origins of pages that may connect. Whoever sends no `Origin` is no browser, and is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Those that come from the host that they connect to.
    #[default]
    Same,
    /// These alone.
    Only(Vec<String>),
}

impl Origins {
    pub(crate) fn allow_list<O: Into<String>>(origins: impl IntoIterator<Item = O>) -> Self {
        Self::Only(origins.into_iter().map(|origin| normal(&origin.into())).collect())
    }

    /// Checks the headers of a request for this host.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the page may not connect.
    pub(super) fn check(&self, headers: &HeaderMap, host: &str, peer: Option<SocketAddr>) -> Result<(), &'static str> {
        if !headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        let origin = normal(fields::single(headers, header::ORIGIN).ok_or("the request has no legible Origin")?);
        match self {
            Self::Only(origins) if origins.contains(&origin) => Ok(()),
            Self::Only(_) => Err("pages of this Origin may not connect"),
            Self::Same => {
                is_same(&origin, host).then_some(()).ok_or("pages of another origin may not connect")?;
                let from_here = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
                if from_here && !is_here(host) {
                    return Err(
                        "a page of a name that means this machine may connect only if the server allows its origin",
                    );
                }
                Ok(())
            }
        }
    }
}

/// As origins are compared: in lower case, without a port that is the usual one.
fn normal(origin: &str) -> String {
    let origin = origin.trim_end_matches('/').to_ascii_lowercase();
    let usual = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    origin.strip_suffix(usual).unwrap_or(&origin).to_owned()
}

/// Whether a page comes from the host that it connects to. The scheme may differ: a proxy may have taken TLS away.
fn is_same(origin: &str, host: &str) -> bool {
    match origin.split_once("://") {
        Some((scheme @ ("http" | "https"), _)) => origin == normal(&format!("{scheme}://{host}")),
        _ => false,
    }
}

/// Whether a host can mean nothing but the machine or address that it names. Any other name may have been made to mean
/// this machine by its owner, whose page the browser then takes to be ours (DNS rebinding).
fn is_here(host: &str) -> bool {
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

    fn passes(origins: &Origins, origin: &'static str, host: &'static str) -> bool {
        let peer = Some(([192, 0, 2, 1], 5000).into());
        origins.check(&request(origin), host, peer).is_ok()
    }

    #[test]
    fn one_who_names_no_origin_is_no_browser() {
        assert_eq!(Origins::allow_list(["https://example.com"]).check(&HeaderMap::new(), "example.com", None), Ok(()));
    }

    #[test]
    fn a_page_of_the_same_host_passes_and_others_do_not() {
        let same = Origins::default();
        assert!(passes(&same, "https://example.com", "example.com"));
        assert!(passes(&same, "https://example.com", "Example.COM:443"));
        assert!(passes(&same, "http://example.com:7000", "example.com:7000"));
        assert!(passes(&same, "http://[2001:db8::1]:7000", "[2001:db8::1]:7000"));
        assert!(!passes(&same, "https://evil.example", "example.com"));
        assert!(!passes(&same, "https://example.com.evil.example", "example.com"));
        assert!(!passes(&same, "http://example.com:8080", "example.com:7000"));
        assert!(!passes(&same, "null", "example.com"));
        assert!(!passes(&same, "file://", ""));
        assert!(!passes(&same, "", ""));
    }

    #[test]
    fn a_list_is_all_that_passes() {
        let listed = Origins::allow_list(["https://Example.com/", "http://localhost:3000"]);
        assert!(passes(&listed, "https://example.com", "api.example.com"));
        assert!(passes(&listed, "https://example.com:443", "api.example.com"));
        assert!(passes(&listed, "http://localhost:3000", "localhost:7000"));
        assert!(!passes(&listed, "http://example.com", "example.com"), "another scheme");
        assert!(!passes(&listed, "https://api.example.com", "api.example.com"), "not even the same host");
    }

    #[test]
    fn a_name_that_was_made_to_mean_this_machine_does_not_pass() {
        let here = Some(([127, 0, 0, 1], 5000).into());
        let rebound = request("http://evil.example:7000");
        assert!(Origins::default().check(&rebound, "evil.example:7000", here).is_err());
        assert!(Origins::allow_list(["http://localhost:7000"]).check(&rebound, "evil.example:7000", here).is_err());
        for host in ["localhost:7000", "127.0.0.1:7000", "[::1]:7000", "app.localhost:7000"] {
            let honest = request(&format!("http://{host}"));
            assert_eq!(Origins::default().check(&honest, host, here), Ok(()));
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut twice = request("http://localhost:7000");
        twice.append(header::ORIGIN, HeaderValue::from_static("http://localhost:7000"));
        assert!(Origins::default().check(&twice, "localhost:7000", None).is_err());
    }
}
