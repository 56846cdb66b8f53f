//! The examples that tell a story print it to the letter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

#[test]
fn at_a_glance_prints_its_four_lines_in_the_same_order_each_time() {
    for _ in 0..20 {
        assert_eq!(common::run("at_a_glance"), "Ada has connected\nAda said Howdy\n10\nAda has disconnected\n");
    }
}

#[test]
fn shop_prints_its_story() {
    let story = common::run("shop");
    let expected = include_str!("shop.expected").replace('\r', "");
    assert!(story == expected, "the story is another one than in tests/shop.expected:\n{story}");
}
