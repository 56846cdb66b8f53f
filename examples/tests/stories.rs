//! Tests that compare the exact output of examples.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

#[test]
fn at_a_glance_prints_its_lines_in_order() {
    for _ in 0..20 {
        assert_eq!(common::run("at_a_glance"), "Ada has connected\nAda said Howdy\n10\nAda has disconnected\n");
    }
}

#[test]
fn targets_prints_calls_of_both_peers() {
    let expected = "the client calls the server\n\
        the server calls Ada\n\
        the server receives: hello\n\
        Ada receives: hello\n";
    assert_eq!(common::run("targets"), expected);
}

#[test]
fn permissions_prints_allowed_and_denied_calls() {
    let expected = "Ada learns that a sword costs 10\n\
        Ada learns that 5 of sword are on their way\n\
        Ben learns that a sword costs 10\n\
        Ben orders none: the call is not allowed: only staff may order\n";
    assert_eq!(common::run("permissions"), expected);
}

#[test]
fn timing_prints_the_times_of_both_peers() {
    let expected = "server: 3 of Oracle.guess, the longest took less than 500 ms\n\
        server: 1 of Oracle.think, the longest took more than 500 ms\n\
        client: 3 of Oracle.guess, the longest took less than 500 ms\n\
        client: 1 of Oracle.think, the longest took more than 500 ms\n";
    assert_eq!(common::run("timing"), expected);
}

#[test]
fn shop_prints_its_expected_lines() {
    let output = common::run("shop");
    let expected = include_str!("shop.expected").replace('\r', "");
    assert!(output == expected, "the output differs from tests/shop.expected:\n{output}");
}

#[test]
fn auction_prints_its_expected_lines() {
    let output = common::run("auction");
    let expected = include_str!("auction.expected").replace('\r', "");
    assert!(output == expected, "the output differs from tests/auction.expected:\n{output}");
}
