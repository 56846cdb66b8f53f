//! Output to the terminal.

use std::io::{Write, stderr, stdout};

/// Prints a line without its control characters, since the text of other users must not control the
/// terminal. The function ignores errors, because a closed terminal is no reason to panic.
pub fn print(line: &str) {
    let _ = writeln!(stdout(), "{}", plain(line));
}

/// Prints an error, as [`print`] does.
pub fn print_error(line: &str) {
    let _ = writeln!(stderr(), "{}", plain(line));
}

/// Returns the error for an invalid address. The library's own error describes URLs, but users of
/// the chat do not type URLs.
pub fn bad_address(addr: &str) -> String {
    format!("{addr} is not an address. Write host:port, for example 127.0.0.1:7000.")
}

/// Removes the characters that control a terminal or disguise the text. These are control
/// characters, line separators, and marks that change the direction of text.
fn plain(text: &str) -> String {
    let harmless = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(harmless).collect()
}
