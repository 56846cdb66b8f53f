use super::*;

fn authority(host: &str, port: u16) -> Authority {
    Authority { host: host.to_owned(), port }
}

fn words(url: &str) -> String {
    Address::parse(url).unwrap_err().to_string()
}

#[test]
fn a_host_and_a_port_are_read() {
    assert_eq!(Address::parse("tcp://127.0.0.1:7000"), Ok(Address::Tcp(authority("127.0.0.1", 7000))));
    assert_eq!(Address::parse("tcp://localhost:0/"), Ok(Address::Tcp(authority("localhost", 0))));
    assert_eq!(Address::parse("tcp://[::1]:7000"), Ok(Address::Tcp(authority("::1", 7000))));
    assert_eq!(authority("::1", 7000).to_string(), "[::1]:7000");
    assert_eq!(authority("localhost", 7000).to_string(), "localhost:7000");
}

#[test]
fn a_path_is_read_with_and_without_an_empty_host() {
    let path = Ok(Address::Unix("/run/shop.sock".into()));
    assert_eq!(Address::parse("unix:///run/shop.sock"), path);
    assert_eq!(Address::parse("unix:/run/shop.sock"), path);
}

#[test]
fn errors_say_what_to_write_instead() {
    assert_eq!(
        words("localhost:7000"),
        r#"the address "localhost:7000" has no scheme: write tcp://host:port, or one of tcp, unix, tls, ws and wss"#
    );
    assert_eq!(
        words("carrier://pigeon"),
        r#"the scheme "carrier" is unknown: the known ones are tcp, unix, tls, ws and wss"#
    );
    for url in ["tcp://localhost", "tcp://localhost:", "tcp://localhost:http", "tcp://localhost:65536", "tcp://[::1]"] {
        let expected =
            format!("the address {url:?} has no legal port: write tcp://host:port, with a port from 0 to 65535");
        assert_eq!(words(url), expected);
    }
    for url in ["tcp://:7000", "tcp://[]:7000"] {
        assert_eq!(words(url), format!("the address {url:?} has no host: write tcp://host:port"));
    }
    assert_eq!(
        words("tcp://localhost:7000/live"),
        r#"the address "tcp://localhost:7000/live" has something behind its port: write a host and a port alone"#
    );
    for url in ["unix:", "unix://", "unix://run/shop.sock", "unix:shop.sock", "unix:///run/", "unix:///a\0b"] {
        let expected =
            format!("the address {url:?} has no usable path: write unix:///path/to/socket, from the root on");
        assert_eq!(words(url), expected);
    }
}

#[test]
#[cfg(not(feature = "tls"))]
fn without_its_feature_tls_is_named_as_missing() {
    assert_eq!(
        words("tls://localhost:7000"),
        r#"the scheme "tls" is not built in: give the crate `sockets` its feature `tls`"#
    );
}

#[test]
#[cfg(not(feature = "ws"))]
fn without_its_feature_ws_is_named_as_missing() {
    assert_eq!(
        words("ws://localhost:7000"),
        r#"the scheme "ws" is not built in: give the crate `sockets` its feature `ws`"#
    );
}

#[test]
#[cfg(not(all(feature = "ws", feature = "tls")))]
fn wss_needs_both_features() {
    assert_eq!(
        words("wss://localhost:7000"),
        r#"the scheme "wss" is not built in: give the crate `sockets` its features `ws` and `tls`"#
    );
}

#[test]
#[cfg(feature = "ws")]
fn addresses_of_the_web_have_a_usual_port_and_a_path() {
    let web = |authority, path: &str| Ok(Address::Web(WebAddress { secure: false, authority, path: path.to_owned() }));
    assert_eq!(Address::parse("ws://localhost"), web(authority("localhost", 80), "/"));
    assert_eq!(Address::parse("ws://[::1]:7000/live?room=1"), web(authority("::1", 7000), "/live?room=1"));
    assert_eq!(Address::parse("ws://localhost?room=1"), web(authority("localhost", 80), "/?room=1"));
    assert_eq!(
        words("ws://localhost:http/live"),
        r#"the address "ws://localhost:http/live" has no legal port: write ws://host:port, with a port from 0 to 65535"#
    );
}

#[test]
#[cfg(all(feature = "ws", feature = "tls"))]
fn wss_is_the_web_within_tls() {
    let secure = WebAddress { secure: true, authority: authority("localhost", 443), path: "/live".to_owned() };
    assert_eq!(Address::parse("wss://localhost/live"), Ok(Address::Web(secure)));
}

#[test]
#[cfg(feature = "ws")]
fn a_listener_has_a_plain_path() {
    assert!(Address::to_listen("ws://localhost:80/live/2").is_ok());
    for url in ["ws://localhost:80/live?room=1", "ws://localhost:80?", "ws://localhost:80/a b", "ws://localhost:80/ä"]
    {
        let expected = format!(
            "nobody can listen at {url:?}: its path has a query or needs escapes, and requests are told apart by plain paths"
        );
        assert_eq!(Address::to_listen(url).unwrap_err().to_string(), expected);
        assert!(Address::parse(url).is_ok(), "a client may say it");
    }
}
