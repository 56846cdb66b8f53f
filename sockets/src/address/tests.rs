use super::*;

fn authority(host: &str, port: u16) -> Authority {
    Authority { host: host.to_owned(), port }
}

fn error_of(url: &str) -> String {
    Address::parse(url).unwrap_err().to_string()
}

#[test]
fn host_and_port_are_parsed() {
    assert_eq!(Address::parse("tcp://127.0.0.1:7000"), Ok(Address::Tcp(authority("127.0.0.1", 7000))));
    assert_eq!(Address::parse("tcp://localhost:0/"), Ok(Address::Tcp(authority("localhost", 0))));
    assert_eq!(Address::parse("tcp://[::1]:7000"), Ok(Address::Tcp(authority("::1", 7000))));
    assert_eq!(authority("::1", 7000).to_string(), "[::1]:7000");
    assert_eq!(authority("localhost", 7000).to_string(), "localhost:7000");
}

#[test]
fn unix_path_is_parsed_with_and_without_empty_host() {
    let path = Ok(Address::Unix("/run/shop.sock".into()));
    assert_eq!(Address::parse("unix:///run/shop.sock"), path);
    assert_eq!(Address::parse("unix:/run/shop.sock"), path);
}

#[test]
fn errors_state_the_correction() {
    assert_eq!(
        error_of("localhost:7000"),
        r#"the address "localhost:7000" has no scheme: write tcp://host:port, or one of tcp, unix, tls, ws and wss"#
    );
    assert_eq!(
        error_of("carrier://pigeon"),
        r#"the scheme "carrier" is unknown: write one of tcp, unix, tls, ws and wss"#
    );
    for url in ["tcp://localhost", "tcp://localhost:", "tcp://localhost:http", "tcp://localhost:65536", "tcp://[::1]"] {
        let expected =
            format!("the address {url:?} has no valid port: write tcp://host:port, with a port from 0 to 65535");
        assert_eq!(error_of(url), expected);
    }
    for url in ["tcp://:7000", "tcp://[]:7000"] {
        assert_eq!(error_of(url), format!("the address {url:?} has no host: write tcp://host:port"));
    }
    assert_eq!(
        error_of("tcp://localhost:7000/live"),
        r#"the address "tcp://localhost:7000/live" has a path or a query: write a host and a port only"#
    );
    for url in ["unix:", "unix://", "unix://run/shop.sock", "unix:shop.sock", "unix:///run/", "unix:///a\0b"] {
        let expected =
            format!("the address {url:?} has no usable path: write unix:///path/to/socket, with an absolute path");
        assert_eq!(error_of(url), expected);
    }
}

#[test]
#[cfg(not(feature = "tls"))]
fn error_without_feature_tls_names_it() {
    assert_eq!(
        error_of("tls://localhost:7000"),
        r#"the scheme "tls" is not enabled: enable the feature `tls` of the crate `sockets`"#
    );
}

#[test]
#[cfg(not(feature = "ws"))]
fn error_without_feature_ws_names_it() {
    assert_eq!(
        error_of("ws://localhost:7000"),
        r#"the scheme "ws" is not enabled: enable the feature `ws` of the crate `sockets`"#
    );
}

#[test]
#[cfg(not(all(feature = "ws", feature = "tls")))]
fn wss_needs_both_features() {
    assert_eq!(
        error_of("wss://localhost:7000"),
        r#"the scheme "wss" is not enabled: enable the features `ws` and `tls` of the crate `sockets`"#
    );
}

#[test]
#[cfg(feature = "ws")]
fn websocket_address_has_default_port_and_path() {
    let web = |authority, path: &str| {
        Ok(Address::Web(WebAddress { secure: false, authority, path: path.to_owned(), credentials: None }))
    };
    assert_eq!(Address::parse("ws://localhost"), web(authority("localhost", 80), "/"));
    assert_eq!(Address::parse("ws://[::1]:7000/live?room=1"), web(authority("::1", 7000), "/live?room=1"));
    assert_eq!(Address::parse("ws://localhost?room=1"), web(authority("localhost", 80), "/?room=1"));
    assert_eq!(
        error_of("ws://localhost:http/live"),
        r#"the address "ws://localhost:http/live" has no valid port: write ws://host:port, with a port from 0 to 65535"#
    );
}

#[test]
#[cfg(all(feature = "ws", feature = "tls"))]
fn wss_is_websocket_over_tls() {
    let secure = WebAddress {
        secure: true,
        authority: authority("localhost", 443),
        path: "/live".to_owned(),
        credentials: None,
    };
    assert_eq!(Address::parse("wss://localhost/live"), Ok(Address::Web(secure)));
}

#[test]
#[cfg(feature = "ws")]
fn listener_accepts_plain_paths_only() {
    assert!(Address::to_listen("ws://localhost:80/live/2").is_ok());
    for url in ["ws://localhost:80/live?room=1", "ws://localhost:80?", "ws://localhost:80/a b", "ws://localhost:80/ä"]
    {
        let shown = redacted(url);
        let expected = format!(
            "cannot listen on {shown:?}: remove the query, and characters that need percent-encoding, from the path"
        );
        assert_eq!(Address::to_listen(url).unwrap_err().to_string(), expected);
        assert!(Address::parse(url).is_ok(), "a client may connect to it");
    }
}

#[test]
fn scheme_and_host_are_case_insensitive() {
    assert_eq!(Address::parse("TCP://LocalHost:7000"), Address::parse("tcp://localhost:7000"));
    assert_eq!(Address::parse("Unix:///Run/Shop.sock"), Ok(Address::Unix("/Run/Shop.sock".into())));
    #[cfg(feature = "ws")]
    assert_eq!(Address::parse("WS://Example.COM/Live"), Address::parse("ws://example.com:80/Live"));
    assert_eq!(error_of("Carrier://pigeon"), error_of("carrier://pigeon"));
}

#[test]
fn invalid_hosts_are_rejected() {
    for url in ["tcp://h\u{f6}st:7000", "tcp://a b:7000", "tcp://%61:7000", "tcp://[localhost]:7000", "tcp://[::1:7000"]
    {
        assert!(Address::parse(url).is_err(), "{url}");
    }
    assert!(error_of("tcp://h\u{f6}st:7000").contains("write a name in ASCII"));
    assert!(error_of("tcp://::1:7000").contains("write [address]:port"));
    assert!(error_of("tcp://localhost:+80").contains("no valid port"));
    assert_eq!(Address::parse("tcp://[fe80::1%25eth0]:7000"), Ok(Address::Tcp(authority("fe80::1%eth0", 7000))));
    #[cfg(feature = "ws")]
    {
        assert!(Address::parse("ws://host\r\nX-Injected: 1/").is_err());
        assert_eq!(Address::parse("ws://localhost:/live"), Address::parse("ws://localhost:80/live"));
    }
}

#[test]
fn errors_do_not_contain_passwords_or_queries() {
    let schemes = ["tcp", "unix", "tls", "ws", "wss", "WS", "carrier", "user"];
    let rests = [
        "user:secret@host",
        "user:secret@",
        "user:secret@host:http",
        "user:sec/secret@host",
        "user:secret?x@host:x",
        "user:secret@[::1",
        "user:%secret@host",
        "us%3Aer:secret@host:1",
        "secret@host:99999",
        "host:x/?token=secret",
        "user:secret@:80",
        "a@b:secret@h\u{f6}st",
        "user:#secret@host",
    ];
    let urls =
        schemes.iter().flat_map(|scheme| rests.map(|rest| [format!("{scheme}://{rest}"), format!("{scheme}:{rest}")]));
    for url in urls.flatten().chain(rests.map(str::to_owned)) {
        for parsed in [Address::parse(&url), Address::to_listen(&url)] {
            let shown = match parsed {
                Ok(address) => format!("{address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            // A valid address shows its path, which is not secret. In these addresses,
            // `secret@host` is a part of the path.
            let is_path = url.contains("sec/secret@host") && shown.starts_with("Web(");
            assert!(is_path || !shown.contains("secret"), "{url}: {shown}");
        }
        assert!(!without_userinfo(&url).contains(":secret@"), "{url}");
    }
}

#[test]
fn userinfo_is_accepted_for_websocket_clients_only() {
    for url in ["tcp://user:secret@localhost:7000", "tcp://user@localhost:7000"] {
        assert!(error_of(url).contains("which only clients of ws and wss can send"), "{}", error_of(url));
    }
    #[cfg(feature = "ws")]
    {
        let error = Address::to_listen("ws://user:secret@localhost:7000").unwrap_err();
        assert!(matches!(error.cause, ParseAddressError::UserInfo(_)), "{error}");
        assert!(error_of("ws://us%3Aer:secret@localhost").contains("wrong escapes"));
        let Ok(Address::Web(web)) = Address::parse("ws://user:p@ss@localhost/@alice?a@b") else { panic!() };
        assert_eq!((web.authority, &*web.path), (authority("localhost", 80), "/@alice?a@b"));
        assert!(web.credentials.is_some());
        for none in ["ws://localhost", "ws://@localhost", "ws://:@localhost"] {
            assert!(matches!(Address::parse(none), Ok(Address::Web(web)) if web.credentials.is_none()), "{none}");
        }
        assert_eq!(without_userinfo("wss://user:secret@host/live?x=1"), wss_without_userinfo());
        let address = Address::parse("ws://user:secret@localhost").unwrap();
        let redirected = Address::parse("ws://other").unwrap().with_credentials_of(&address);
        assert_eq!(redirected, Address::parse("ws://user:secret@other").unwrap());
    }
}

/// Returns the expected address without its user and password. Without the feature `tls`, the
/// address is invalid, so the function removes the query, too.
#[cfg(feature = "ws")]
fn wss_without_userinfo() -> &'static str {
    if cfg!(feature = "tls") { "wss://host:443/live?x=1" } else { "wss://***@host/live?***" }
}

#[test]
fn query_with_at_sign_is_redacted() {
    for (url, shown) in [
        ("ws://host/live?token=abc@secret#x", "ws://***"),
        ("ws://host/live#abc@secret", "ws://***"),
        ("ws://user:pass@host/live?token=abc@secret", "ws://***"),
        ("ws://user:pa?ss@host/live", "ws://***"),
        ("ws://user:pass@host/live?token=abc", "ws://***@host/live?***"),
        ("ws://host/live?token=abc#secret", "ws://host/live?***"),
        ("host/live?token=abc@secret", "***"),
    ] {
        assert_eq!(redacted(url), shown);
    }
}
